package rewrite_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero/api"

	"github.com/towpath/towpath/hostabi/engine/rewrite"
)

// trace is everything that a guest shows of itself.
type trace struct {
	Out     string
	Calls   []uint64
	Results []string
	Globals []uint64
	Memory  string
}

// observe runs a guest's exports and returns its trace; the error is of a host that stopped it.
func (w *world) observe(t testing.TB, wasm []byte, image []rewrite.Extent, globals []rewrite.Global, exports ...string) (trace, error) {
	t.Helper()
	w.calls = nil
	ctx := context.Background()
	c := w.compile(t, wasm)
	defer c.Close(ctx)
	i := w.start(t, c, image)
	defer i.Close(ctx)
	var tr trace
	for _, name := range exports {
		r, err := i.ExportedFunction(name).Call(ctx)
		if errors.Is(err, errFuel) || errors.Is(err, errStack) {
			return tr, err
		}
		s := fmt.Sprint(r)
		if err != nil {
			s, _, _ = strings.Cut(err.Error(), "\n") // without the stack trace
		}
		tr.Results = append(tr.Results, s)
		if err != nil {
			break
		}
	}
	for _, g := range globals {
		if e := i.ExportedGlobal(g.Name); e != nil {
			tr.Globals = append(tr.Globals, e.Get())
		}
	}
	tr.Out, tr.Calls, tr.Memory = i.out.String(), w.calls, memoryDigest(i.Memory())
	return tr, nil
}

func memoryDigest(m api.Memory) string {
	b, _ := m.Read(0, m.Size())
	return fmt.Sprintf("%d %x", len(b), sha256.Sum256(b))
}

func rewritten(t testing.TB, wasm []byte, lim rewrite.Limits) *rewrite.Result {
	t.Helper()
	r, err := rewrite.Module(wasm, lim)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A Go plugin does the same thing as built, rewritten, and rewritten with its data inside, in both engines.
func TestGoGuestBehavesTheSame(t *testing.T) {
	wasm := built(t)
	r, kept := rewritten(t, wasm, limits()), rewritten(t, wasm, keepData())
	if len(kept.Image) != 0 || len(r.Image) == 0 || r.Unfrozen != "" || !r.Initialize {
		t.Errorf("kept %d extents, image %d, unfrozen %q, initialize %v", len(kept.Image), len(r.Image), r.Unfrozen, r.Initialize)
	}
	for engine := range engines {
		t.Run(engine, func(t *testing.T) {
			w := newWorld(t, engine)
			jobs, forms := []string{"turn_v1"}, map[string]*rewrite.Result{"image": r, "kept": kept}
			if engine == "interpreter" {
				jobs, forms = []string{"race"}, map[string]*rewrite.Result{"image": r} // as much as its slowness allows
			}
			want, err := w.observe(t, wasm, nil, nil, jobs...)
			if err != nil || !strings.Contains(want.Out, "race") {
				t.Fatal(want, err)
			}
			for name, r := range forms {
				if have, err := w.observe(t, r.Wasm, r.Image, nil, jobs...); err != nil || !reflect.DeepEqual(have, want) {
					t.Errorf("%s: have %v (%v), want %v", name, have, err, want)
				}
			}
		})
	}
}

// Random modules that use every kind of instruction the rewriter touches do the same thing rewritten.
func TestGeneratedModulesBehaveTheSame(t *testing.T) {
	n := 200
	if testing.Short() {
		n = 50
	}
	for engine := range engines {
		t.Run(engine, func(t *testing.T) {
			w := newWorld(t, engine)
			ran := 0
			for seed := range uint64(n) {
				wasm := generate(seed)
				r := rewritten(t, wasm, limits())
				w.fuel = 50_000_000
				have, err := w.observe(t, r.Wasm, r.Image, r.Globals, "turn_v1", "turn_v1")
				if err != nil {
					continue // a product of loops that is too long for a test
				}
				ran++
				want, err := w.observe(t, exportGlobals(t, wasm), nil, r.Globals, "turn_v1", "turn_v1")
				if err != nil || !reflect.DeepEqual(have, want) {
					t.Fatalf("seed %d: have %v, want %v (%v)", seed, have, want, err)
				}
				kept := rewritten(t, wasm, keepData())
				w.fuel = 50_000_000
				if have, err := w.observe(t, kept.Wasm, nil, r.Globals, "turn_v1", "turn_v1"); err != nil || !reflect.DeepEqual(have, want) {
					t.Fatalf("seed %d, kept: have %v, want %v (%v)", seed, have, want, err)
				}
			}
			if ran < n*3/4 {
				t.Errorf("only %d of %d modules ran to their end", ran, n)
			}
		})
	}
}

// exportGlobals is a generated module with its mutable globals exported under the names that a rewritten one has, so
// that both can be asked for them.
func exportGlobals(t testing.TB, wasm []byte) []byte {
	t.Helper()
	old := section(7, plugin().exports)
	var exports [][]byte
	exports = append(exports, plugin().exports...)
	for i := range genGlobals - 1 {
		exports = append(exports, cat(fmt.Sprintf("%sg%d", rewrite.Prefix, i), 3, i))
	}
	if !bytes.Contains(wasm, old) {
		t.Fatal("no export section to replace")
	}
	return bytes.Replace(wasm, old, section(7, exports), 1)
}

func TestSameInputSameOutput(t *testing.T) {
	wasm := built(t)
	a, b := rewritten(t, wasm, limits()), rewritten(t, bytes.Clone(wasm), limits())
	if !reflect.DeepEqual(a, b) {
		t.Error("two rewrites of the same module differ")
	}
}
