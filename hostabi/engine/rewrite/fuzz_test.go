package rewrite_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/towpath/towpath/hostabi/engine/rewrite"
)

// FuzzModule feeds arbitrary bytes.
func FuzzModule(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(generate(seed))
	}
	f.Add(plugin(0x41, 0).bytes())
	w := newWorld(f, "compiler")
	f.Fuzz(func(t *testing.T, wasm []byte) { w.compare(t, wasm) })
}

// FuzzMutant damages a few bytes of a generated module, which gets much deeper than arbitrary bytes.
func FuzzMutant(f *testing.F) {
	f.Add(uint64(1), []byte{})
	f.Add(uint64(2), []byte{1, 200, 0x0f})
	f.Add(uint64(4), []byte{}) // moves more than a piece of memory; so does the next
	f.Add(uint64(9), []byte{})
	worlds := []*world{newWorld(f, "compiler"), newWorld(f, "interpreter")}
	f.Fuzz(func(t *testing.T, seed uint64, damage []byte) {
		wasm := generate(seed)
		for ; len(damage) >= 3; damage = damage[3:] {
			wasm[(int(damage[0])<<8|int(damage[1]))%len(wasm)] = damage[2]
		}
		worlds[seed%2].compare(t, wasm)
	})
}

// compare holds what is promised of any input: the rewriter refuses it with a reason, or makes what wazero takes
// exactly if it takes the input, and both behave the same.
func (w *world) compare(t *testing.T, wasm []byte) {
	if len(wasm) > 64<<10 {
		return // the compiler behind may take minutes
	}
	r, err := rewrite.Module(wasm, limits())
	if err != nil {
		var refusal *rewrite.Refusal
		if !errors.As(err, &refusal) || refusal.Problem == "" || refusal.Fix == "" {
			t.Fatalf("refused with %v", err)
		}
		return
	}
	before, after := w.accepts(wasm), w.accepts(r.Wasm)
	if errors.Is(after, errPanic) {
		t.Fatal(after)
	}
	if before != nil && (strings.HasPrefix(before.Error(), "section custom") || strings.HasPrefix(before.Error(), "failed to read custom section")) {
		return // names are dropped when they are damaged, not refused; nor is a section at the end with a name and nothing else
	}
	if (before == nil) != (after == nil) {
		t.Fatalf("original: %v; rewritten: %v", before, after)
	}
	if before != nil {
		return
	}
	exports := []string{"turn_v1", "manifest_v1"}
	w.fuel = 500_000
	have, err := w.observe(t, r.Wasm, r.Image, nil, exports...)
	if err != nil {
		return // stopped; the original might never end
	}
	if bytes.Contains(wasm, []byte{0xfc, 15}) && !bytes.Contains(wasm, section(4, [][]byte{boundedTable})) {
		return // the original may grow its table until this process is out of memory
	}
	if want, err := w.observe(t, wasm, nil, nil, exports...); err != nil || !reflect.DeepEqual(have, want) {
		t.Fatalf("have %v, want %v (%v)", have, want, err)
	}
}

var errPanic = errors.New("the compiler panicked")

func (w *world) accepts(wasm []byte) (err error) {
	ctx := context.Background()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanic, p)
		}
	}()
	c, err := w.CompileModule(ctx, wasm)
	if err != nil {
		return err
	}
	return c.Close(ctx)
}
