package rewrite_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/towpath/towpath/hostabi/engine/rewrite"
)

// repeat is n times the instructions.
func repeat(n int, instructions ...any) []byte { return bytes.Repeat(cat(instructions...), n) }

// recursive is a plugin whose turn_v1 calls function 3, of the given type and body.
func recursive(typ int, locals [][]byte, instructions ...any) []byte {
	w := plugin(0x41, 0, 0x10, 3, 0x1a, 0x41, 0)
	w.funcs = append(w.funcs, []byte{byte(typ)})
	w.codes = append(w.codes, code(locals, instructions...))
	return w.bytes()
}

func withTable(turn ...any) []byte {
	w := plugin(turn...)
	w.tables = [][]byte{{0x70, 0, 8}}
	w.elements = [][]byte{cat(0, 0x41, 0, 0x0b, u32(3), 1, 2, 1), cat(1, 0, u32(2), 1, 1)}
	return w.bytes()
}

// machine is a loop as Go's compiler makes it, with two blocks: what is given stands behind the second one.
func machine(instructions ...any) []byte {
	return cat(0x03, 0x40, 0x02, 0x40, 0x02, 0x40, 0x20, 0, 0x0e, 2, 0, 1, 1, 0x0b, 0x0b, cat(instructions...), 0x0b, 0x41, 0)
}

// Whatever a guest does without end is stopped: by its fuel, or by its stack when it nests calls.
func TestStopped(t *testing.T) {
	const forever = 0x0c // br 0 to the loop's head
	spread := func(body ...any) []byte { return cat(0x03, 0x40, cat(body...), forever, 0, 0x0b, 0x41, 0) }
	for _, c := range []struct {
		name string
		wasm []byte
		want error
	}{
		{"empty loop", body(spread()), errFuel},
		{"loop by br_if", body(0x03, 0x40, 0x41, 1, 0x0d, 0, 0x0b, 0x41, 0), errFuel},
		{"loop by br_table", body(0x03, 0x40, 0x41, 1, 0x0e, 1, 0, 0, 0x0b, 0x41, 0), errFuel},
		{"loop around blocks", body(0x03, 0x40, 0x02, 0x40, 0x02, 0x40, 0x41, 0, 0x0e, 2, 0, 1, 2, 0x0b, 0x0b, forever, 0, 0x0b, 0x41, 0), errFuel},
		{"loops in loops", body(repeat(50, 0x03, 0x40), forever, 49, repeat(50, 0x0b), 0x41, 0), errFuel},
		{"loop of one long stretch", body(spread(repeat(10_000, 0x20, 0, 0x41, 1, 0x6a, 0x21, 0))), errFuel},
		{"loop that calls a leaf", body(spread(0x10, 1, 0x1a)), errFuel},
		{"loop that calls the host", body(spread(0x42, 0, 0x10, 0, 0x1a)), errFuel},
		{"indirect calls", withTable(spread(0x41, 0, 0x11, 0, 0, 0x1a)), errFuel},
		{"jumps back", body(machine(0x41, 0, 0x21, 0, 0x0c, 0)), errFuel},
		{"jumps back from an arm", body(machine(0x41, 1, 0x04, 0x40, 0x41, 0, 0x21, 0, 0x0c, 1, 0x0b)), errFuel},
		{"jumps to what is read", body(machine(0x41, 1, 0x41, 1, 0x6b, 0x21, 0, 0x0c, 0)), errFuel},
		{"jumps by br_if", body(machine(0x41, 0, 0x21, 0, 0x41, 1, 0x0d, 0)), errFuel},
		{"jumps by br_table", body(machine(0x41, 0, 0x21, 0, 0x41, 0, 0x0e, 1, 0, 0)), errFuel},
		{"jumps by another local", body(machine(0x41, 0, 0x21, 1, 0x0c, 0)), errFuel},
		{"jumps by a table that names the loop", body(0x03, 0x40, 0x02, 0x40, 0x20, 0, 0x0e, 1, 1, 1, 0x0b, 0x0b, 0x41, 0), errFuel},
		{"memory.fill", body(spread(0x41, 0, 0x41, 0, 0x41, s64(65536), 0xfc, 11, 0)), errFuel},
		{"memory.copy", body(spread(0x41, 0, 0x41, 0, 0x41, s64(65536), 0xfc, 10, 0, 0)), errFuel},
		{"memory.grow", body(spread(0x41, 0, 0x40, 0, 0x1a)), errFuel},
		{"memory.grow that fails", body(spread(0x41, s64(-1), 0x40, 0, 0x1a)), errFuel},
		{"table.grow", withTable(spread(0xd0, 0x70, 0x41, 0, 0xfc, 15, 0, 0x1a)), errFuel},
		{"table.fill", withTable(spread(0x41, 0, 0xd0, 0x70, 0x41, 8, 0xfc, 17, 0)), errFuel},
		{"table.copy", withTable(spread(0x41, 0, 0x41, 0, 0x41, 8, 0xfc, 14, 0, 0)), errFuel},
		{"table.init", withTable(spread(0x41, 0, 0x41, 0, 0x41, 2, 0xfc, 12, 1, 0)), errFuel},
		{"memory.init", with(func(w *wasm) {
			w.datas, w.dataCount = [][]byte{cat(1, "abcd")}, u32(1)
			w.codes[1] = code(nil, spread(0x41, 0, 0x41, 0, 0x41, 4, 0xfc, 8, 0, 0))
		}), errFuel},

		{"recursion", recursive(2, nil, 0x20, 0, 0x10, 3), errStack},
		{"recursion with work behind it", recursive(2, nil, 0x20, 0, 0x10, 3, 0x41, 1, 0x6a), errStack},
		{"recursion of turn_v1", body(0x10, 2), errStack},
		{"mutual recursion", with(func(w *wasm) { w.codes = [][]byte{code(nil, 0x10, 2), code(nil, 0x10, 1)} }), errStack},
		{"recursion through the table", withTable(0x41, 1, 0x11, 0, 0), errStack},
		{"recursion with large frames", recursive(2, [][]byte{cat(u32(9000), 0x7e)}, 0x20, 0, 0x10, 3), errStack},
		{"recursion with many live values", recursive(2, nil, repeat(3000, 0x20, 0, 0x41, 3, 0x6c), 0x20, 0, 0x10, 3, repeat(3000, 0x6a)), errStack},
		{"recursion without end in breadth", recursive(2, nil, // f(n) = n < 60 ? f(n+1) + f(n+1) : n
			0x20, 0, 0x41, 60, 0x48, 0x04, 0x7f, 0x20, 0, 0x41, 1, 0x6a, 0x10, 3, 0x20, 0, 0x41, 1, 0x6a, 0x10, 3, 0x6a, 0x05, 0x20, 0, 0x0b), errFuel},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rewritten(t, c.wasm, limits())
			w := newWorld(t, "compiler")
			w.fuel = 100_000_000
			if tr, err := w.observe(t, r.Wasm, r.Image, nil, "turn_v1"); !errors.Is(err, c.want) {
				t.Errorf("have %v %v, want %v", tr, err, c.want)
			}
		})
	}
}

// Fuel used is a property of the guest alone: neither the engine nor the size of the slices changes it.
func TestFuelIsDeterministic(t *testing.T) {
	for seed := range uint64(30) {
		r := rewritten(t, generate(seed), limits())
		var want int64
		for _, engine := range []string{"compiler", "interpreter"} {
			w := newWorld(t, engine)
			for _, slice := range []int32{rewrite.Slice, 1000, 1} {
				w.fuel, w.slice = 20_000_000, slice
				if slice == 1 {
					w.fuel = 300_000 // grants of one at a time are slow
				}
				have, err := w.used(t, r)
				if errors.Is(err, errFuel) {
					continue
				}
				if want == 0 {
					want = have.fuel
				}
				if have.fuel != want || err == nil && have.stack != 0 {
					t.Errorf("seed %d, %s, slices of %d: used %+v, want %d and no stack", seed, engine, slice, have, want)
				}
			}
		}
	}
}

// large is body with 2 MiB of memory.
func large(turn ...any) []byte {
	w := plugin(turn...)
	w.memories = [][]byte{{1, 32, 32}}
	return w.bytes()
}

// A long operation looks at the counter again and again, and does what it did.
func TestLongMovesAreMadeInPieces(t *testing.T) {
	pattern := cat(0x41, 0, 0x21, 0, 0x03, 0x40, // each word of the first MiB its own address
		0x20, 0, 0x20, 0, 0x36, 2, 0, 0x20, 0, 0x41, 4, 0x6a, 0x22, 0, 0x41, s64(1<<20), 0x49, 0x0d, 0, 0x0b)
	move := func(op int, to, from, n int64, rest ...any) []byte {
		return large(pattern, 0x41, s64(to), 0x41, s64(from), 0x41, s64(n), 0xfc, op, cat(rest...), 0x41, 0)
	}
	for _, c := range []struct {
		name string
		wasm []byte
	}{
		{"fill", move(11, 3, 7, 1_300_001, 0)},
		{"fill of one piece", move(11, 3, 7, 256<<10, 0)},
		{"fill of one byte more", move(11, 3, 7, 256<<10+1, 0)},
		{"fill beyond the end", move(11, 2<<20-1_000_000, 7, 1_000_001, 0)},
		{"fill to the end", move(11, 2<<20-1_000_000, 7, 1_000_000, 0)},
		{"copy up", move(10, 100_003, 0, 900_001, 0, 0)},
		{"copy down", move(10, 1, 100_003, 900_001, 0, 0)},
		{"copy up a little", move(10, 1, 0, 900_001, 0, 0)},
		{"copy in place", move(10, 5, 5, 900_001, 0, 0)},
		{"copy beyond the end", move(10, 2<<20-1_000_000, 0, 1_000_001, 0, 0)},
		{"copy from beyond the end", move(10, 0, 2<<20-1_000_000, 1_000_001, 0, 0)},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, "compiler")
			r := rewritten(t, c.wasm, limits())
			w.slice = 1000
			have, err := w.observe(t, r.Wasm, r.Image, nil, "turn_v1")
			want, wantErr := w.observe(t, c.wasm, nil, nil, "turn_v1")
			if err != nil || wantErr != nil || !reflect.DeepEqual(have, want) {
				t.Errorf("have %v (%v), want %v (%v)", have, err, want, wantErr)
			}
		})
	}
	w := newWorld(t, "compiler")
	w.fuel, w.slice = 8*(2<<20>>3), 1 // as much as eight operations need, given bit by bit
	forever := large(0x03, 0x40, 0x41, 0, 0x41, 0, 0x41, s64(2<<20), 0xfc, 11, 0, 0x0c, 0, 0x0b, 0x41, 0)
	if _, err := w.used(t, rewritten(t, forever, limits())); !errors.Is(err, errFuel) || w.yields < 8*7 {
		t.Errorf("it looked %d times (%v)", w.yields, err)
	}
}

// What a guest does costs fuel: at least its instructions, at most some times as many.
func TestCost(t *testing.T) {
	work := func(n int) []byte { return repeat(n, 0x20, 0, 0x41, 1, 0x6a, 0x21, 0) } // 4 instructions each
	loop := func(n int, body ...any) []byte {
		return cat(0x41, s64(int64(n)), 0x21, 1, 0x03, 0x40, cat(body...), 0x20, 1, 0x41, 1, 0x6b, 0x22, 1, 0x0d, 0, 0x0b)
	}
	for _, c := range []struct {
		name        string
		wasm        []byte
		least, most int64
	}{
		{"nothing", body(0x41, 0), 0, 20},
		{"straight code", body(work(5000), 0x41, 0), 20_000, 21_000},
		{"long arm, taken", body(0x41, 1, 0x04, 0x40, work(2000), 0x0b, 0x41, 0), 8_000, 10_000},
		{"long arm, not taken", body(0x41, 0, 0x04, 0x40, work(2000), 0x0b, 0x41, 0), 0, 1_100},
		{"arms that leave", body(repeat(50, work(20), 0x20, 1, 0x04, 0x40, 0x41, 7, 0x0f, 0x0b), 0x41, 0), 4_000, 5_000},
		{"arms that leave beside another", body(repeat(50, work(20), 0x20, 1, 0x04, 0x40, 0x41, 7, 0x0f, 0x05, 0x01, 0x0b), 0x41, 0), 4_000, 5_000},
		{"arms that meet", body(repeat(50, work(20), 0x20, 1, 0x04, 0x40, work(20), 0x05, 0x01, 0x0b), 0x41, 0), 4_000, 9_000},
		{"branches over code", body(repeat(50, 0x02, 0x40, work(20), 0x41, 1, 0x0d, 0, work(20), 0x0b), 0x41, 0), 4_000, 9_000},
		{"short loop", body(loop(1000, work(2)), 0x41, 0), 13_000, 18_000},
		{"long loop", body(loop(1000, work(200)), 0x41, 0), 100_000, 1_000_000},
		{"very long loop", body(loop(1000, work(2000)), 0x41, 0), 7_000_000, 9_000_000},
		{"a jump ahead", body(machine(0x01)), 0, 20},
		{"short rounds of jumps behind long code", body(0x41, s64(1000), 0x21, 1, 0x03, 0x40, 0x02, 0x40, 0x02, 0x40, 0x20, 0, 0x0e, 1, 0, 1,
			0x0b, work(200), 0x0b, 0x20, 1, 0x41, 1, 0x6b, 0x22, 1, 0x04, 0x40, 0x41, 1, 0x21, 0, 0x0c, 1, 0x0b, 0x0b, 0x41, 0), 7_000, 16_000},
		{"calls of a small leaf", body(loop(1000, 0x10, 1, 0x1a), 0x41, 0), 8_000, 20_000},
		{"calls of the host", body(loop(1000, 0x42, 0, 0x10, 0, 0x1a), 0x41, 0), 50_000, 80_000},
		{"memory.fill", body(0x41, 0, 0x41, 0, 0x41, s64(65536), 0xfc, 11, 0, 0x41, 0), 8192, 8400},
		{"memory.copy", body(0x41, 0, 0x41, 0, 0x41, s64(65536), 0xfc, 10, 0, 0, 0x41, 0), 8192, 8400},
		{"long memory.fill", large(0x41, 8, 0x41, 0, 0x41, s64(1_500_000), 0xfc, 11, 0, 0x41, 0), 187_500, 187_700},
		{"long memory.copy", large(0x41, 8, 0x41, 0, 0x41, s64(1_500_000), 0xfc, 10, 0, 0, 0x41, 0), 187_500, 187_700},
		{"memory.grow", body(0x41, 2, 0x40, 0, 0x1a, 0x41, 0), 8192, 8400},
		{"table.grow", withTable(0xd0, 0x70, 0x41, s64(5000), 0xfc, 15, 0, 0x1a, 0x41, 0), 5000, 5200},
		{"recursion that returns", with(func(w *wasm) { // f(n) = n ? f(n-1) + 1 : 0
			w.funcs, w.codes = append(w.funcs, []byte{2}), append(w.codes, code(nil,
				0x20, 0, 0x04, 0x7f, 0x20, 0, 0x41, 1, 0x6b, 0x10, 3, 0x41, 1, 0x6a, 0x05, 0x41, 0, 0x0b))
			w.codes[1] = code([][]byte{{2, 0x7f}}, loop(100, 0x41, s64(100), 0x10, 3, 0x1a), 0x41, 0)
		}), 100_000, 300_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			counter, err := newWorld(t, "compiler").used(t, rewritten(t, c.wasm, limits()))
			if err != nil || counter.fuel < c.least || counter.fuel > c.most || counter.stack != 0 {
				t.Errorf("used %+v (%v), want %d to %d and no stack", counter, err, c.least, c.most)
			}
		})
	}
}
