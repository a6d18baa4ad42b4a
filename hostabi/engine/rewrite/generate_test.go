package rewrite_test

import (
	"encoding/binary"
	"math/rand/v2"
)

// wasm writes a module section by section: just enough of an assembler for the tests.
type wasm struct {
	types, imports, funcs, tables, memories, globals, exports, elements, codes, datas [][]byte
	start, dataCount                                                                  []byte
	names                                                                             []byte
}

func u32(v int) []byte { return binary.AppendUvarint(nil, uint64(v)) }

func s64(v int64) (b []byte) {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func cat(parts ...any) (b []byte) {
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = append(b, byte(p))
		case []byte:
			b = append(b, p...)
		case string:
			b = append(append(b, u32(len(p))...), p...)
		default:
			panic(p)
		}
	}
	return b
}

func section(id int, items [][]byte) []byte {
	if len(items) == 0 {
		return nil
	}
	body := u32(len(items))
	for _, i := range items {
		body = append(body, i...)
	}
	return cat(id, u32(len(body)), body)
}

func (w *wasm) bytes() []byte {
	b := []byte("\x00asm\x01\x00\x00\x00")
	b = append(b, section(1, w.types)...)
	b = append(b, section(2, w.imports)...)
	b = append(b, section(3, w.funcs)...)
	b = append(b, section(4, w.tables)...)
	b = append(b, section(5, w.memories)...)
	b = append(b, section(6, w.globals)...)
	b = append(b, section(7, w.exports)...)
	if w.start != nil {
		b = append(b, cat(8, u32(len(w.start)), w.start)...)
	}
	b = append(b, section(9, w.elements)...)
	if w.dataCount != nil {
		b = append(b, cat(12, u32(len(w.dataCount)), w.dataCount)...)
	}
	b = append(b, section(10, w.codes)...)
	b = append(b, section(11, w.datas)...)
	if w.names != nil {
		b = append(b, cat(0, u32(len(w.names)+5), "name", w.names)...)
	}
	return b
}

func functype(params, results []byte) []byte {
	return cat(0x60, u32(len(params)), params, u32(len(results)), results)
}

// code is a function body: local declarations as pairs of count and type, then instructions.
func code(locals [][]byte, instructions ...any) []byte {
	b := u32(len(locals))
	for _, l := range locals {
		b = append(b, l...)
	}
	b = append(b, cat(instructions...)...)
	b = append(b, 0x0b)
	return cat(u32(len(b)), b)
}

// plugin is a module with what the contract requires: types 0 () -> i32, 1 () -> (), 2 (i32) -> i32, 3 (i64) -> i64;
// function 0 is the import env.see, 1 manifest_v1, 2 turn_v1 with the given body.
func plugin(turn ...any) *wasm {
	return &wasm{
		types:    [][]byte{functype(nil, []byte{0x7f}), functype(nil, nil), functype([]byte{0x7f}, []byte{0x7f}), functype([]byte{0x7e}, []byte{0x7e})},
		imports:  [][]byte{cat("env", "see", 0, 3)},
		funcs:    [][]byte{{0}, {0}},
		memories: [][]byte{{1, 1, 4}},
		exports:  [][]byte{cat("memory", 2, 0), cat("manifest_v1", 0, 1), cat("turn_v1", 0, 2)},
		codes:    [][]byte{code(nil, 0x41, 0), code([][]byte{{4, 0x7f}, {2, 0x7e}}, turn...)},
	}
}

// generator makes random valid modules. Functions take (i32, i64) and have locals of four types; what they compute goes
// to globals, memory and env.see, so that a trace of these shows any difference.
type generator struct {
	*rand.Rand
	w      *wasm
	budget int // instructions left in this function
	depth  int
	labels []bool // enclosing labels, outermost first: whether it is a loop
	loops  int    // loop variables in use
	multi  bool   // the function has two results
	funcs  int
	jumps  bool // the way Go's compiler does
	moves  bool // more memory at once than is moved in one piece
}

const (
	genFuncs   = 5
	genGlobals = 5 // i32, i64, f32, f64 mutable, then a constant i32
	firstFunc  = 3 // after the import, manifest_v1 and turn_v1
	loopLocals = 3 // locals 6..8 count loops down
	jumpLocal  = 9 // says where to, in modules that jump
)

// boundedTable is the table of a generated module.
var boundedTable = []byte{0x70, 1, 8, 40}

// Local indices of a generated function: 0 i32 and 1 i64 are parameters.
var genLocals = map[byte][]int{0x7f: {0, 2}, 0x7e: {1, 3}, 0x7d: {4}, 0x7c: {5}}

func generate(seed uint64) []byte {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1)), w: plugin(), jumps: seed%3 == 2, moves: seed%5 == 4}
	w := g.w
	if g.moves {
		w.memories = [][]byte{{1, 20, 24}}
	}
	w.codes = w.codes[:1]
	w.types = append(w.types,
		functype([]byte{0x7f, 0x7e}, []byte{0x7e}),       // 4
		functype([]byte{0x7f, 0x7e}, []byte{0x7e, 0x7f}), // 5
		functype([]byte{0x7f}, []byte{0x7f}))             // 6: a block's
	w.globals = append(w.globals, cat(0x7f, 1, 0x41, s64(int64(int32(g.Uint32()))), 0x0b), cat(0x7e, 1, 0x42, s64(g.Int64()), 0x0b),
		cat(0x7d, 1, 0x43, 1, 2, 3, 0x40, 0x0b), cat(0x7c, 1, 0x44, 0, 0, 0, 0, 0, 0, 8, 0x40, 0x0b), cat(0x7f, 0, 0x41, 7, 0x0b))
	w.tables = [][]byte{boundedTable}
	w.elements = [][]byte{cat(0, 0x41, 1, 0x0b, u32(3), firstFunc, firstFunc+1, 1), cat(1, 0, u32(2), firstFunc+2, firstFunc)}
	for i := range 1 + g.IntN(6) {
		data := make([]byte, g.IntN(40))
		for j := range data {
			data[j] = byte(g.Uint32())
		}
		if i == 1 {
			w.datas = append(w.datas, cat(1, string(data)))
		} else {
			w.datas = append(w.datas, cat(0, 0x41, s64(int64(g.IntN(60000))), 0x0b, string(data)))
		}
	}
	w.dataCount = u32(len(w.datas))

	turn := []byte{}
	for i := range genFuncs {
		turn = append(turn, cat(0x41, s64(int64(g.IntN(100))), 0x42, s64(g.Int64()), 0x10, firstFunc+i)...)
		if i == genFuncs-1 {
			turn = append(turn, 0x1a) // its second result
		}
		turn = append(turn, cat(0x10, 0, 0x1a)...) // see, drop
	}
	w.codes = append(w.codes, code(nil, turn, 0x23, 0))
	for i := range genFuncs {
		g.multi = i == genFuncs-1
		g.budget, g.depth, g.labels, g.loops, g.funcs = 60+g.IntN(300), 0, []bool{false}, 0, i
		typ := 4
		if g.multi {
			typ = 5
		}
		w.funcs = append(w.funcs, []byte{byte(typ)})
		body := g.block()
		body = append(body, g.value(0x7e)...)
		if g.multi {
			body = append(body, g.value(0x7f)...)
		}
		counters := loopLocals
		if g.jumps {
			counters++
		}
		w.codes = append(w.codes, code([][]byte{{1, 0x7f}, {1, 0x7e}, {1, 0x7d}, {1, 0x7c}, {byte(counters), 0x7f}}, body))
	}
	w.names = cat(1, u32(len("turn")+3), u32(1), 2, "turn")
	return w.bytes()
}

// block is a run of statements, which leave the stack as it was.
func (g *generator) block() (b []byte) {
	for range 1 + g.IntN(6) {
		b = append(b, g.statement()...)
	}
	return b
}

func (g *generator) statement() []byte {
	g.budget--
	if g.budget < 0 || g.depth > 5 {
		return cat(g.value(0x7f), 0x24, 0)
	}
	g.depth++
	defer func() { g.depth-- }()
	t := []byte{0x7f, 0x7e, 0x7d, 0x7c}[g.IntN(4)]
	inside := func(loop bool, f func() []byte) []byte {
		g.labels = append(g.labels, loop)
		defer func() { g.labels = g.labels[:len(g.labels)-1] }()
		return f()
	}
	kinds := 16
	if g.jumps {
		kinds = 20
	}
	switch g.IntN(kinds) {
	case 0:
		return cat(g.value(t), 0x24, map[byte]int{0x7f: 0, 0x7e: 1, 0x7d: 2, 0x7c: 3}[t])
	case 1, 2:
		return cat(g.value(t), 0x21, g.local(t))
	case 3:
		return cat(g.address(), g.value(t), map[byte]int{0x7f: 0x36, 0x7e: 0x37, 0x7d: 0x38, 0x7c: 0x39}[t], 0, u32(g.IntN(100)))
	case 4:
		return cat(g.value(0x7e), 0x10, 0, 0x1a) // see
	case 5:
		return cat(g.value(0x7f), 0x04, 0x40, inside(false, g.block), 0x05, inside(false, g.block), 0x0b)
	case 6:
		return cat(g.value(0x7f), 0x04, 0x40, inside(false, g.block), 0x0b)
	case 7:
		return cat(0x02, 0x40, inside(false, g.block), 0x0b)
	case 8, 9: // a loop that ends
		if g.loops == loopLocals {
			return nil
		}
		l := 6 + g.loops
		g.loops++
		defer func() { g.loops-- }()
		body := inside(true, g.block)
		return cat(0x41, s64(int64(1+g.IntN(9))), 0x21, l, 0x03, 0x40, body, 0x20, l, 0x41, 1, 0x6b, 0x22, l, 0x0d, 0, 0x0b)
	case 10: // branch forward
		if d := g.forward(); d >= 0 {
			return cat(g.value(0x7f), 0x0d, d)
		}
	case 11:
		if a, z := g.forward(), g.forward(); a >= 0 {
			return cat(0x02, 0x40, g.value(0x7f), 0x0e, u32(3), a+1, 0, z+1, 0, 0x0b)
		}
	case 12: // return early
		v := g.value(0x7e)
		if g.multi {
			v = append(v, g.value(0x7f)...)
		}
		return cat(g.value(0x7f), 0x41, 31, 0x71, 0x45, 0x04, 0x40, v, 0x0f, 0x0b)
	case 13: // bulk memory
		n := []byte{0x41, 63}
		if g.moves {
			far := func() []byte { return cat(0x41, s64(int64(g.IntN(20<<16)))) } // the longest reach beyond the end, which traps
			from, to, n := far(), far(), cat(0x41, s64(int64(g.IntN(14<<16))))
			if g.IntN(2) == 0 {
				return cat(to, g.value(0x7f), n, 0xfc, 11, 0)
			}
			return cat(to, from, n, 0xfc, 10, 0, 0)
		}
		switch g.IntN(4) {
		case 0:
			return cat(g.address(), g.value(0x7f), n, 0xfc, 11, 0)
		case 1:
			return cat(g.address(), g.address(), n, 0xfc, 10, 0, 0)
		case 2:
			if len(g.w.datas) > 1 {
				return cat(g.address(), 0x41, 0, 0x41, g.IntN(3), 0xfc, 8, 1, 0)
			}
		default:
			return cat(0x41, g.IntN(2), 0x40, 0, 0x24, 0) // memory.grow
		}
	case 14: // table
		switch g.IntN(4) {
		case 0:
			return cat(0x41, 4, 0x41, 0, 0x41, g.IntN(3), 0xfc, 12, 1, 0)
		case 1:
			return cat(0xd2, firstFunc, 0x41, g.IntN(3), 0xfc, 15, 0, 0x24, 0) // table.grow
		case 2:
			return cat(0x41, 0, 0x41, 1, 0x41, 3, 0xfc, 14, 0, 0)
		default:
			return cat(0x41, 7, 0xd2, firstFunc+1, 0x26, 0)
		}
	case 15: // a block with parameter and result
		return cat(g.value(0x7f), 0x02, 6, 0x41, 3, 0x6c, g.value(0x7f), 0x0d, 0, 0x41, 5, 0x6a, 0x0b, 0x24, 0)
	case 16, 17, 18, 19:
		return g.dispatch()
	}
	return cat(0x01)
}

// dispatch is a loop around blocks, each with code behind it that may jump to any other. It ends after some blocks.
func (g *generator) dispatch() []byte {
	if g.loops == loopLocals {
		return nil
	}
	left, mark := 6+g.loops, len(g.labels)
	g.loops++
	defer func() { g.loops, g.labels = g.loops-1, g.labels[:mark] }()
	blocks, entries := 1+g.IntN(5), 1+g.IntN(7)
	assign := func() []byte { return cat(0x41, s64(int64(g.IntN(entries+2))), 0x21, jumpLocal) }
	b := cat(0x41, s64(int64(1+g.IntN(20))), 0x21, left, assign(), 0x02, 0x40, 0x03, 0x40)
	g.labels = append(g.labels, false, true)
	for range blocks {
		b = append(b, 0x02, 0x40)
		g.labels = append(g.labels, false)
	}
	b = append(b, cat(0x20, jumpLocal, 0x0e, u32(entries))...)
	for range entries + 1 {
		b = append(b, byte(g.IntN(blocks)))
	}
	for range blocks {
		g.labels = g.labels[:len(g.labels)-1]
		out := len(g.labels) - 1 - mark
		head := out - 1
		b = append(b, cat(0x0b, 0x20, left, 0x41, 1, 0x6b, 0x22, left, 0x45, 0x0d, out, g.block())...)
		switch g.IntN(6) {
		case 0, 1:
			b = append(b, cat(g.value(0x7f), 0x04, 0x40, assign(), 0x0c, head+1, 0x0b)...)
		case 2:
			b = append(b, cat(assign(), 0x0c, head)...)
		case 3:
			b = append(b, cat(assign(), g.value(0x7f), 0x0d, head)...)
		case 4:
			b = append(b, cat(g.value(0x7f), 0x41, 7, 0x71, 0x21, jumpLocal, g.value(0x7f), 0x0e, u32(1), head, out)...)
		}
	}
	return append(b, 0x0b, 0x0b)
}

// forward is the depth of an enclosing label that is neither a loop nor the function, or -1.
func (g *generator) forward() int {
	var found []int
	for i := 1; i < len(g.labels); i++ {
		if !g.labels[i] {
			found = append(found, len(g.labels)-1-i)
		}
	}
	if len(found) == 0 {
		return -1
	}
	return found[g.IntN(len(found))]
}

func (g *generator) local(t byte) int { return genLocals[t][g.IntN(len(genLocals[t]))] }

// address is an i32 within the first page.
func (g *generator) address() []byte { return cat(g.value(0x7f), 0x41, s64(0x7fff), 0x71) }

func (g *generator) value(t byte) []byte {
	g.budget--
	if g.budget < 0 || g.IntN(4) == 0 {
		return cat(0x20, g.local(t))
	}
	two := func(op int) []byte { return cat(g.value(t), g.value(t), op) }
	pick := func(ops ...int) int { return ops[g.IntN(len(ops))] }
	switch n := g.IntN(10); {
	case n == 0:
		return cat(0x23, map[byte]int{0x7f: pick(0, 4), 0x7e: 1, 0x7d: 2, 0x7c: 3}[t])
	case n == 1:
		return cat(g.address(), map[byte]int{0x7f: 0x28, 0x7e: 0x29, 0x7d: 0x2a, 0x7c: 0x2b}[t], 0, u32(g.IntN(100)))
	case n == 2:
		return cat(g.value(t), g.value(t), g.value(0x7f), 0x1b)
	case n == 3 && t == 0x7e && g.funcs > 0: // call a function that was made before: no recursion
		f := firstFunc + g.IntN(g.funcs)
		if g.IntN(2) == 0 {
			return cat(g.value(0x7f), g.value(0x7e), 0x10, f)
		}
		if g.funcs > 2 { // through the table; traps on an entry that is empty or of another type
			return cat(g.value(0x7f), g.value(0x7e), 0x41, 1+g.IntN(2), 0x11, 4, 0)
		}
	case n == 4 && t == 0x7f:
		return cat(g.value(t), g.value(t), 0x04, 6, 0x41, 1, 0x6a, 0x05, 0x41, 2, 0x6c, 0x0b)
	}
	switch t {
	case 0x7f:
		switch g.IntN(6) {
		case 0:
			return cat(0x41, s64(int64(int32(g.Uint32()))))
		case 1:
			return cat(g.value(0x7e), 0xa7)
		case 2:
			return cat(g.value(t), pick(0x45, 0x67, 0x68, 0x69, 0xc0, 0xc1))
		case 3:
			return cat(0x3f, 0)
		case 4: // division that cannot trap
			return cat(g.value(t), 0x41, 1+g.IntN(60), pick(0x6d, 0x6e, 0x6f, 0x70))
		}
		return two(pick(0x6a, 0x6b, 0x6c, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x46, 0x48, 0x4d))
	case 0x7e:
		switch g.IntN(4) {
		case 0:
			return cat(0x42, s64(g.Int64()))
		case 1:
			return cat(g.value(0x7f), pick(0xac, 0xad))
		case 2:
			return cat(g.value(0x7c), 0xfc, pick(6, 7))
		}
		return two(pick(0x7c, 0x7d, 0x7e, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a))
	case 0x7d:
		if g.IntN(2) == 0 {
			return cat(g.value(0x7f), pick(0xb2, 0xb3))
		}
		return two(pick(0x92, 0x93, 0x94))
	}
	if g.IntN(2) == 0 {
		return cat(g.value(0x7f), pick(0xb7, 0xb8))
	}
	return two(pick(0xa0, 0xa1, 0xa2))
}
