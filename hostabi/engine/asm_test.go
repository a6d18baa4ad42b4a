package engine

import (
	"bytes"
	"encoding/binary"

	"github.com/towpath/towpath/hostabi"
)

// asm puts a module together, byte by byte, so that it can also be wrong.
type asm struct {
	types, imports, funcs, tables, memories, globals, exports, elems, codes, datas [][]byte
	start                                                                          []byte
}

const (
	tI32  = 0x7f
	tI64  = 0x7e
	tFunc = 0x70
)

func uleb(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

func sleb(v int64) []byte {
	var b []byte
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func vec(items [][]byte) []byte { return cat(uleb(len(items)), cat(items...)) }

func text(s string) []byte { return cat(uleb(len(s)), []byte(s)) }

// typ adds a function type. Its parameters and results are value types.
func (a *asm) typ(params, results []byte) int {
	a.types = append(a.types, cat([]byte{0x60}, uleb(len(params)), params, uleb(len(results)), results))
	return len(a.types) - 1
}

// imported adds an imported function. All imports come before the first function.
func (a *asm) imported(module, name string, typ int) int {
	a.imports = append(a.imports, cat(text(module), text(name), []byte{0}, uleb(typ)))
	return len(a.imports) - 1
}

// fn adds a function without locals; its body has no final end.
func (a *asm) fn(typ int, body ...[]byte) int { return a.fnWith(typ, []byte{0}, body...) }

// fnWith adds a function whose locals are encoded already.
func (a *asm) fnWith(typ int, locals []byte, body ...[]byte) int {
	a.funcs = append(a.funcs, uleb(typ))
	code := cat(locals, cat(body...), []byte{0x0b})
	a.codes = append(a.codes, cat(uleb(len(code)), code))
	return len(a.imports) + len(a.funcs) - 1
}

func (a *asm) memory(min, max int) {
	a.memories = append(a.memories, cat([]byte{1}, uleb(min), uleb(max)))
}

func (a *asm) export(name string, kind byte, index int) {
	a.exports = append(a.exports, cat(text(name), []byte{kind}, uleb(index)))
}

func (a *asm) data(offset int, b string) {
	a.datas = append(a.datas, cat([]byte{0}, i32Const(offset), []byte{0x0b}, text(b)))
}

func (a *asm) bytes() []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, body []byte) { out = cat(out, []byte{id}, uleb(len(body)), body) }
	for id, items := range [][][]byte{1: a.types, 2: a.imports, 3: a.funcs, 4: a.tables, 5: a.memories, 6: a.globals, 7: a.exports} {
		if len(items) > 0 {
			section(byte(id), vec(items))
		}
	}
	if a.start != nil {
		section(8, a.start)
	}
	for id, items := range [][][]byte{9: a.elems, 10: a.codes, 11: a.datas} {
		if len(items) > 0 {
			section(byte(id), vec(items))
		}
	}
	return out
}

// Instructions.
var (
	unreachable = []byte{0x00}
	ret         = []byte{0x0f}
	drop        = []byte{0x1a}
	end         = []byte{0x0b}
	i32Add      = []byte{0x6a}
	i32Sub      = []byte{0x6b}
	memorySize  = []byte{0x3f, 0}
	memoryGrow  = []byte{0x40, 0}
	memoryFill  = []byte{0xfc, 0x0b, 0}
	loop        = []byte{0x03, 0x40}
	block       = []byte{0x02, 0x40}
)

func i32Const(v int) []byte     { return cat([]byte{0x41}, sleb(int64(int32(v)))) }
func i64Const(v int64) []byte   { return cat([]byte{0x42}, sleb(v)) }
func call(f int) []byte         { return cat([]byte{0x10}, uleb(f)) }
func br(depth int) []byte       { return cat([]byte{0x0c}, uleb(depth)) }
func localGet(i int) []byte     { return cat([]byte{0x20}, uleb(i)) }
func globalGet(i int) []byte    { return cat([]byte{0x23}, uleb(i)) }
func globalSet(i int) []byte    { return cat([]byte{0x24}, uleb(i)) }
func i32Store(at int) []byte    { return cat([]byte{0x36, 2}, uleb(at)) }
func i32Load(at int) []byte     { return cat([]byte{0x28, 2}, uleb(at)) }
func ifThen(b ...[]byte) []byte { return cat([]byte{0x04, 0x40}, cat(b...), end) }

const smallManifest = `{"name":"small","version":"1"}`

// small is the frame of a hand-made plugin: one page of memory with a manifest at 0, and the functions that it
// imports. What it does in a turn is the caller's.
type small struct {
	asm
	void, code int // types () and () -> i32
	imports    map[string]int
}

// newSmall imports functions of turn_v1 and WASI by their names.
func newSmall(names ...string) *small {
	s := &small{imports: map[string]int{}}
	s.void, s.code = s.typ(nil, nil), s.typ(nil, []byte{tI32})
	for _, name := range append(names, "finish") {
		module, f := hostabi.Module, find(turnFunctions, name)
		if f == nil {
			module, f = wasiModule, find(wasiFunctions, name)
		}
		s.imports[name] = s.imported(module, name, s.typ(f.params, f.result))
	}
	return s
}

func find(functions []function, name string) *function {
	for i := range functions {
		if functions[i].name == name {
			return &functions[i]
		}
	}
	return nil
}

func (s *small) call(name string) []byte { return call(s.imports[name]) }

// finish is what calls finish with the manifest and leaves its result.
func (s *small) finish() []byte {
	return cat(i32Const(0), i32Const(len(smallManifest)), s.call("finish"))
}

// plugin makes the module. turn leaves an i32.
func (s *small) plugin(turn ...[]byte) []byte {
	if s.memories == nil {
		s.memory(1, 1)
	}
	s.data(0, smallManifest)
	s.export(hostabi.ExportMemory, 2, 0)
	s.export(hostabi.ExportManifest, 0, s.fn(s.code, s.finish()))
	s.export(hostabi.ExportTurn, 0, s.fn(s.code, turn...))
	return s.bytes()
}
