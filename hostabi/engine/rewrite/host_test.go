package rewrite_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/towpath/towpath/hostabi/engine/rewrite"
)

const pages = 1024 // the memory limit of these tests

var engines = map[string]func() wazero.RuntimeConfig{
	"compiler":    wazero.NewRuntimeConfigCompiler,
	"interpreter": wazero.NewRuntimeConfigInterpreter,
}

var (
	errFuel  = errors.New("out of fuel")
	errStack = errors.New("calls nest too deeply")
)

// world is a host for one guest at a time: WASI, the module "env" with what the tests' own guests call, and yield.
type world struct {
	wazero.Runtime
	fuel   int64 // what yield may still grant
	slice  int32 // what it grants at a time
	yields int
	calls  []uint64 // what the guest passed to env.see
}

func newWorld(t testing.TB, engine string) *world {
	ctx := context.Background()
	w := &world{Runtime: wazero.NewRuntimeWithConfig(ctx, engines[engine]().WithMemoryLimitPages(pages)), fuel: 1 << 50, slice: rewrite.Slice}
	t.Cleanup(func() { w.Close(ctx) })
	wasi_snapshot_preview1.MustInstantiate(ctx, w)
	host := func(module, name string, f func(m api.Module, s []uint64), params, results []api.ValueType) {
		_, err := w.NewHostModuleBuilder(module).NewFunctionBuilder().WithGoModuleFunction(
			api.GoModuleFunc(func(_ context.Context, m api.Module, s []uint64) { f(m, s) }), params, results).Export(name).Instantiate(ctx)
		if err != nil {
			t.Fatal(err)
		}
	}
	host("env", "see", func(_ api.Module, s []uint64) { w.calls = append(w.calls, s[0]); s[0] *= 3 }, []api.ValueType{api.ValueTypeI64}, []api.ValueType{api.ValueTypeI64})
	host(rewrite.YieldModule, rewrite.YieldName, func(m api.Module, _ []uint64) {
		w.yields++
		g := m.ExportedGlobal(rewrite.CounterName).(api.MutableGlobal)
		c := rewrite.Counter(g.Get())
		if c.Stack() < 0 {
			panic(errStack)
		}
		for c.Fuel() < 0 {
			if w.fuel -= int64(w.slice); w.fuel < 0 {
				panic(errFuel)
			}
			c = c.AddFuel(w.slice)
		}
		g.Set(uint64(c))
	}, nil, nil)
	return w
}

// allowed is the import table of these tests.
var allowed = sync.OnceValue(func() map[string]rewrite.Signature {
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer r.Close(ctx)
	c, err := wasi_snapshot_preview1.NewBuilder(r).Compile(ctx)
	if err != nil {
		panic(err)
	}
	m := map[string]rewrite.Signature{"env.see": {Params: []byte{rewrite.I64}, Results: []byte{rewrite.I64}}}
	for name, f := range c.ExportedFunctions() {
		m[wasi_snapshot_preview1.ModuleName+"."+name] = rewrite.Signature{Params: f.ParamTypes(), Results: f.ResultTypes()}
	}
	return m
})

func limits() rewrite.Limits { return rewrite.Limits{MemoryPages: pages, Imports: allowed()} }

func keepData() rewrite.Limits {
	lim := limits()
	lim.KeepData = true
	return lim
}

// instance is a running guest and what it printed.
type instance struct {
	api.Module
	out bytes.Buffer
}

func (w *world) compile(t testing.TB, wasm []byte) wazero.CompiledModule {
	t.Helper()
	c, err := w.CompileModule(context.Background(), wasm)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// start instantiates a module, lays the image into its memory and runs _initialize.
func (w *world) start(t testing.TB, c wazero.CompiledModule, image []rewrite.Extent) *instance {
	t.Helper()
	ctx := context.Background()
	i := &instance{}
	m, err := w.InstantiateModule(ctx, c, wazero.NewModuleConfig().WithName("").WithStartFunctions().WithStdout(&i.out).WithStderr(&i.out))
	if err != nil {
		t.Fatal(err)
	}
	i.Module = m
	for _, e := range image {
		if !m.Memory().Write(e.Offset, e.Bytes) {
			t.Fatalf("extent at %d does not fit", e.Offset)
		}
	}
	if f := m.ExportedFunction("_initialize"); f != nil {
		if _, err := f.Call(ctx); err != nil {
			t.Fatal(err)
		}
	}
	return i
}

// built is the Go guest of testdata/guest, built once a test process.
func built(t testing.TB) []byte {
	t.Helper()
	wasm, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

var build = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "guest.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-o", file, "main.go")
	cmd.Dir = filepath.Join("testdata", "guest")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%v: %s", err, out)
	}
	return os.ReadFile(file)
})

// cost is what one call took from the counter.
type cost struct{ fuel, stack int64 }

// used runs turn_v1 and returns what it took, whatever its end.
func (w *world) used(t testing.TB, r *rewrite.Result) (cost, error) {
	t.Helper()
	ctx := context.Background()
	c := w.compile(t, r.Wasm)
	defer c.Close(ctx)
	i := w.start(t, c, r.Image)
	defer i.Close(ctx)
	before := w.fuel
	_, err := i.ExportedFunction("turn_v1").Call(ctx)
	left := rewrite.Counter(i.ExportedGlobal(r.Counter).Get())
	return cost{rewrite.Slice + before - w.fuel - int64(left.Fuel()), rewrite.StackBudget - int64(left.Stack())}, err
}
