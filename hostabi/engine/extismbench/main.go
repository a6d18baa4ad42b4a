// Extismbench measures Extism's Go SDK on the job of enginebench's turn "events" and prints rows as JSON. It is a
// module of its own, so that the product does not depend on Extism.
//
//	go run .
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	extism "github.com/extism/go-sdk"
	"github.com/tetratelabs/wazero"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "extismbench:", err)
		os.Exit(1)
	}
}

type row struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

func run(ctx context.Context) error {
	wasm, err := build(ctx)
	if err != nil {
		return err
	}
	events := 0
	emit := extism.NewHostFunctionWithStack("emit", func(_ context.Context, p *extism.CurrentPlugin, s []uint64) {
		if _, err := p.ReadBytes(s[0]); err != nil {
			panic(err)
		}
		events++
	}, []extism.ValueType{extism.ValueTypeI64}, nil)
	wait := extism.NewHostFunctionWithStack("wait", func(context.Context, *extism.CurrentPlugin, []uint64) {}, nil, nil)
	compiled, err := extism.NewCompiledPlugin(ctx,
		extism.Manifest{Wasm: []extism.Wasm{extism.WasmData{Data: wasm}}},
		extism.PluginConfig{EnableWasi: true, RuntimeConfig: wazero.NewRuntimeConfig()},
		[]extism.HostFunction{emit, wait})
	if err != nil {
		return err
	}
	defer compiled.Close(ctx)
	request := []byte(strings.Repeat(" ", 1024))

	// The instance is made, used and released inside the time, as in enginebench.
	turn := func() error {
		p, err := compiled.Instance(ctx, extism.PluginInstanceConfig{ModuleConfig: wazero.NewModuleConfig()})
		if err != nil {
			return err
		}
		defer p.Close(ctx)
		_, _, err = p.CallWithContext(ctx, "turn", request)
		return err
	}
	var took []float64
	const turns, untimed = 400, 40
	for i := range turns + untimed {
		start := time.Now()
		if err := turn(); err != nil {
			return err
		}
		if i >= untimed {
			took = append(took, float64(time.Since(start).Nanoseconds())/1e3)
		}
	}
	if events != 100*(turns+untimed) {
		return fmt.Errorf("%d events of %d turns", events, turns+untimed)
	}
	slices.Sort(took)

	const idle = 200
	before := memory()
	var waiting []*extism.Plugin
	for range idle {
		p, err := compiled.Instance(ctx, extism.PluginInstanceConfig{ModuleConfig: wazero.NewModuleConfig()})
		if err != nil {
			return err
		}
		if _, _, err := p.CallWithContext(ctx, "turn", []byte("wait")); err != nil {
			return err
		}
		waiting = append(waiting, p)
	}
	each := (memory() - before) / idle
	for _, p := range waiting {
		p.Close(ctx)
	}

	out := json.NewEncoder(os.Stdout)
	for _, r := range []row{
		{"extism_turn_100_events_p50_us", took[len(took)/2], "us"},
		{"extism_turn_100_events_p99_us", took[len(took)*99/100], "us"},
		{"extism_idle_instance_kb", each, "KiB"},
	} {
		if err := out.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// build makes the guest, a Go reactor with Extism's PDK, from the folder below the one that this is run in.
func build(ctx context.Context) ([]byte, error) {
	dir, err := os.MkdirTemp("", "extismbench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	wasm := filepath.Join(dir, "guest.wasm")
	cmd := exec.CommandContext(ctx, "go", "build", "-C", filepath.Join("testdata", "guest"), "-buildmode=c-shared", "-o", wasm, ".")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the guest: %w\n%s", err, out)
	}
	return os.ReadFile(wasm)
}

// memory is the share of this process of the machine's memory, in KiB; 0 where it is not known.
func memory() float64 {
	runtime.GC()
	debug.FreeOSMemory()
	b, err := os.ReadFile("/proc/self/smaps_rollup")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			var n float64
			fmt.Sscan(rest, &n)
			return n
		}
	}
	return 0
}
