package enginebench

import (
	"cmp"
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/towpath/towpath/hostabi/engine"
)

// Row is one figure. Baseline and Ratio (value by baseline) are 0 where nothing is compared.
type Row struct {
	Name     string  `json:"name"`
	Value    float64 `json:"value"`
	Unit     string  `json:"unit"`
	Baseline float64 `json:"baseline"`
	Ratio    float64 `json:"ratio"`
}

// Options says what to measure.
type Options struct {
	// Turns is how many turns make a median; 0: 2000.
	Turns int
	// ExtismDir is the folder of the nested module extismbench. Empty: the comparison is left out.
	ExtismDir string
	// Only is the part to measure, one of Parts. Empty: all of them.
	Only string
	// Row is told each figure as soon as it is measured. nil: nobody.
	Row func(Row)
	// Log gets a sentence for whatever is left out. nil: nobody.
	Log func(string)
}

// Parts are what can be measured by itself, in the order in which all are measured.
func Parts() (names []string) {
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

var parts = []struct {
	name    string
	measure func(*bench, context.Context) error
}{
	{"small", (*bench).small}, {"instances", (*bench).instances}, {"calls", (*bench).calls},
	{"compute", (*bench).compute}, {"idle", (*bench).idle}, {"attack", (*bench).attack},
}

// Run measures and returns the rows. It takes about a minute. The program must call engine.ChildMain first in main.
func Run(ctx context.Context, o Options) ([]Row, error) {
	b := &bench{turns: cmp.Or(o.Turns, 2000), row: o.Row, log: o.Log}
	if b.row == nil {
		b.row = func(Row) {}
	}
	if b.log == nil {
		b.log = func(string) {}
	}
	dir, err := os.MkdirTemp("", "towpath-bench-")
	if err != nil {
		return nil, fmt.Errorf("enginebench: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := b.build(ctx, dir); err != nil {
		return nil, fmt.Errorf("enginebench: %w", err)
	}
	b.engine, err = engine.New(ctx, engine.Config{MemoryBudget: 1 << 50})
	if err != nil {
		return nil, fmt.Errorf("enginebench: %w", err)
	}
	defer b.engine.Close(context.WithoutCancel(ctx))
	for _, p := range parts {
		if o.Only != "" && o.Only != p.name {
			continue
		}
		if err := p.measure(b, ctx); err != nil {
			return nil, fmt.Errorf("enginebench: %w", err)
		}
	}
	if o.ExtismDir != "" {
		if err := b.extism(ctx, o.ExtismDir); err != nil {
			b.log("the comparison with Extism is left out: " + err.Error())
		}
	}
	return b.rows, nil
}

type bench struct {
	turns  int
	row    func(Row)
	log    func(string)
	engine *engine.Engine
	guest  []byte
	native string // path of the program
	rows   []Row
}

func (b *bench) add(name string, value float64, unit string, baseline float64) {
	r := Row{Name: name, Value: value, Unit: unit, Baseline: baseline}
	if baseline != 0 {
		r.Ratio = value / baseline
	}
	b.rows = append(b.rows, r)
	b.row(r)
}

//go:embed testdata
var sources embed.FS

// build makes the guest and its native twin in dir.
func (b *bench) build(ctx context.Context, dir string) error {
	if _, err := exec.LookPath("go"); err != nil {
		return fmt.Errorf("the guests are built when they are measured, which needs Go in PATH: %w", err)
	}
	for _, name := range []string{"guest", "native"} {
		source, err := sources.ReadFile("testdata/" + name + "/main.go")
		if err != nil {
			return err
		}
		folder := filepath.Join(dir, name)
		if err := os.Mkdir(folder, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, "go.mod"), []byte("module measured\n\ngo 1.26\n"), 0o644); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, "main.go"), source, 0o644); err != nil {
			return err
		}
		args, env := []string{"build", "-o", "out", "."}, append(os.Environ(), "GOFLAGS=", "GOWORK=off")
		if name == "guest" {
			args = []string{"build", "-buildmode=c-shared", "-o", "out", "."}
			env = append(env, "GOOS=wasip1", "GOARCH=wasm")
		}
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir, cmd.Env = folder, env
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	var err error
	b.native = filepath.Join(dir, "native", "out")
	b.guest, err = os.ReadFile(filepath.Join(dir, "guest", "out"))
	return err
}

// durations are what a measurement took, each time.
type durations []time.Duration

// quantile returns microseconds.
func (d durations) quantile(q float64) float64 {
	slices.Sort(d)
	return float64(d[min(len(d)-1, int(q*float64(len(d))))].Nanoseconds()) / 1e3
}

// sample times f n times, after a tenth as often untimed.
func sample(n int, f func() error) (durations, error) {
	all := make(durations, 0, n)
	for i := -n / 10; i < n; i++ {
		start := time.Now()
		if err := f(); err != nil {
			return nil, err
		}
		if i >= 0 {
			all = append(all, time.Since(start))
		}
	}
	return all, nil
}
