package rewrite_test

import (
	"bytes"
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero/api"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/engine/rewrite"
)

// The image holds what the data segments make of memory: later ones over earlier ones, without the zeros between.
func TestImage(t *testing.T) {
	wasm := with(func(w *wasm) {
		w.memories = [][]byte{cat(0, 16)}
		w.datas = [][]byte{
			cat(0, 0x41, s64(4000), 0x0b, strings.Repeat("a", 200)), // over the edge of a block
			cat(2, 0, 0x41, s64(4100), 0x0b, "bb"),                  // over the first
			cat(0, 0x41, s64(900_000), 0x0b, "far"),
			cat(0, 0x41, s64(16<<16), 0x0b, ""), // at the end of memory
			cat(1, "passive and unused"),
		}
	})
	r := rewritten(t, wasm, limits())
	mem := make([]byte, 16<<16)
	total := 0
	for i, e := range r.Image {
		if i > 0 && e.Offset < r.Image[i-1].Offset+uint32(len(r.Image[i-1].Bytes)) {
			t.Errorf("extent %d overlaps", i)
		}
		total += copy(mem[e.Offset:], e.Bytes)
	}
	want := make([]byte, 16<<16)
	copy(want[4000:], strings.Repeat("a", 200))
	copy(want[4100:], "bb")
	copy(want[900_000:], "far")
	if !bytes.Equal(mem, want) {
		t.Error("image differs from the segments")
	}
	if total > 4*4096 {
		t.Errorf("image has %d bytes", total)
	}
	if bytes.Contains(r.Wasm, []byte("far")) || bytes.Contains(r.Wasm, []byte("passive")) {
		t.Error("data is still in the module")
	}
	kept := rewritten(t, wasm, keepData())
	if kept.Image != nil || !bytes.Contains(kept.Wasm, []byte("far")) {
		t.Error("data is not in the module")
	}
}

// A module that reads its segments at run time finds them under their numbers.
func TestSegmentsKeepTheirNumbers(t *testing.T) {
	wasm := with(func(w *wasm) {
		w.datas = [][]byte{cat(0, 0x41, 8, 0x0b, "active"), cat(1, "passive")}
		w.dataCount = u32(2)
		w.codes[1] = code(nil, 0x41, 0, 0x41, 3, 0x41, 4, 0xfc, 8, 1, 0, 0x41, 0, 0x28, 0, 0)
	})
	for _, lim := range []rewrite.Limits{limits(), keepData()} {
		r := rewritten(t, wasm, lim)
		w := newWorld(t, "compiler")
		i := w.start(t, w.compile(t, r.Wasm), r.Image)
		got, err := i.ExportedFunction("turn_v1").Call(context.Background())
		if err != nil || uint32(got[0]) != 'e'<<24|'v'<<16|'i'<<8|'s' {
			t.Errorf("have %x, %v", got, err)
		}
		if s, _ := i.Memory().Read(8, 6); string(s) != "active" {
			t.Errorf("memory has %q", s)
		}
	}
}

// Memory and table cannot outgrow the limits, whatever the module declares.
func TestClamped(t *testing.T) {
	for name, memory := range map[string][]byte{"without maximum": {0, 1}, "with a large maximum": cat(1, 1, u32(65536))} {
		t.Run(name, func(t *testing.T) {
			wasm := withTable(
				0x41, s64(pages), 0x40, 0, 0x41, s64(pages-1), 0x40, 0, 0x6a, // -1 + 1
				0xd0, 0x70, 0x41, s64(hostabi.MaxTable), 0xfc, 15, 0, 0x6a, // + -1
				0xd0, 0x70, 0x41, s64(hostabi.MaxTable-8), 0xfc, 15, 0, 0x6a) // + 8
			wasm = bytes.Replace(wasm, section(5, [][]byte{{1, 1, 4}}), section(5, [][]byte{memory}), 1)
			r := rewritten(t, wasm, limits())
			if r.Memory != (rewrite.Memory{Min: 1, Max: pages}) {
				t.Errorf("memory %+v", r.Memory)
			}
			if r.Unfrozen != "table.grow" {
				t.Errorf("unfrozen %q", r.Unfrozen)
			}
			w := newWorld(t, "compiler")
			got, err := w.start(t, w.compile(t, r.Wasm), nil).ExportedFunction("turn_v1").Call(context.Background())
			if err != nil || int32(got[0]) != 7 {
				t.Errorf("have %v, %v, want 7", got, err)
			}
		})
	}
}

// A freeze finds every mutable global, and none of the counter's.
func TestGlobals(t *testing.T) {
	r := rewritten(t, generate(1), limits())
	want := []rewrite.Global{{"towpath.g0", rewrite.I32}, {"towpath.g1", rewrite.I64}, {"towpath.g2", rewrite.F32}, {"towpath.g3", rewrite.F64}}
	if !reflect.DeepEqual(r.Globals, want) {
		t.Errorf("have %v", r.Globals)
	}
	if !reflect.DeepEqual(r.Imports, []string{"env.see"}) || r.Initialize {
		t.Errorf("imports %v, initialize %v", r.Imports, r.Initialize)
	}
	w := newWorld(t, "interpreter")
	i := w.start(t, w.compile(t, r.Wasm), nil)
	for _, g := range r.Globals {
		if _, ok := i.ExportedGlobal(g.Name).(api.MutableGlobal); !ok {
			t.Errorf("%s cannot be set", g.Name)
		}
	}
	if c := rewrite.Counter(i.ExportedGlobal(r.Counter).Get()); c != rewrite.NewCounter(rewrite.Slice, rewrite.StackBudget) {
		t.Errorf("counter starts with %d fuel and %d stack", c.Fuel(), c.Stack())
	}
	odd := rewritten(t, with(func(w *wasm) {
		w.globals = [][]byte{cat(0x70, 1, 0xd2, 1, 0x0b), cat(0x7b, 0, 0xfd, 12, make([]byte, 16), 0x0b)}
	}), limits())
	if odd.Globals != nil || odd.Unfrozen != "a mutable global of type funcref" {
		t.Errorf("globals %v, unfrozen %q", odd.Globals, odd.Unfrozen)
	}
}

// A trap still names the guest's functions.
func TestTrapNamesFunctions(t *testing.T) {
	wasm := with(func(w *wasm) {
		w.codes[1] = code(nil, 0x00)
		w.names = cat(1, u32(19), u32(2), u32(0), "see", u32(2), "main.Turn.fail")
		w.names[1] = byte(len(w.names) - 2)
	})
	w := newWorld(t, "compiler")
	_, err := w.start(t, w.compile(t, rewritten(t, wasm, limits()).Wasm), nil).ExportedFunction("turn_v1").Call(context.Background())
	if err == nil || !strings.Contains(err.Error(), "main.Turn.fail") {
		t.Errorf("have %v", err)
	}
}

func TestCounter(t *testing.T) {
	for _, c := range []struct{ fuel, stack, add int32 }{
		{0, 0, 0}, {5, 7, 1}, {-5, 7, 10}, {-5, 0, 3}, {5, -7, 1}, {-1 << 29, -1 << 29, 1 << 29}, {1 << 29, 1<<31 - 1, -1 << 29},
	} {
		have := rewrite.NewCounter(c.fuel, c.stack)
		if have.Fuel() != c.fuel || have.Stack() != c.stack {
			t.Errorf("%+v: fuel %d, stack %d", c, have.Fuel(), have.Stack())
		}
		if have = have.AddFuel(c.add); have.Fuel() != c.fuel+c.add || have.Stack() != c.stack {
			t.Errorf("%+v: fuel %d, stack %d after adding", c, have.Fuel(), have.Stack())
		}
	}
}
