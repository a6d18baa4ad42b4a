package rewrite_test

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/engine/rewrite"
)

// with is a plugin that was changed in one way.
func with(change func(w *wasm)) []byte {
	w := plugin(0x41, 0)
	change(w)
	return w.bytes()
}

// body is a plugin whose turn_v1 has these instructions.
func body(instructions ...any) []byte { return plugin(instructions...).bytes() }

// Every module that the contract refuses is refused with a sentence that names what is wrong and what to do.
func TestRefused(t *testing.T) {
	big := bytes.Repeat([]byte{0x01}, hostabi.MaxBody)
	for _, c := range []struct {
		name    string
		wasm    []byte
		problem string
		fix     string
	}{
		{"empty file", nil, "file is not WebAssembly", "-buildmode=c-shared"},
		{"text", []byte("(module)"), "file is not WebAssembly", "core module"},
		{"component", []byte("\x00asm\x0d\x00\x01\x00"), "component", "build a core module"},
		{"version 2", []byte("\x00asm\x02\x00\x00\x00"), "malformed module: version", "build it again"},
		{"module too large", make([]byte, hostabi.MaxModule+1), "module is 16777217 bytes, the limit is 16777216", "strip it"},
		{"nothing in it", []byte("\x00asm\x01\x00\x00\x00"), `does not export "memory"`, "export it"},
		{"a command", with(func(w *wasm) { w.exports = [][]byte{cat("memory", 2, 0), cat("_start", 0, 1)} }), "it is a command", "build a reactor"},
		{"no turn", with(func(w *wasm) { w.exports = w.exports[:2] }), `does not export "turn_v1"`, "export it"},
		{"no manifest", with(func(w *wasm) { w.exports[1] = cat("other", 0, 1) }), `does not export "manifest_v1"`, "export it"},
		{"no memory", with(func(w *wasm) { w.memories, w.exports = nil, w.exports[1:] }), `does not export "memory"`, "export it"},
		{"memory is a function", with(func(w *wasm) { w.exports[0] = cat("memory", 0, 1) }), `"memory" is not a memory`, "export the memory"},
		{"turn is a memory", with(func(w *wasm) { w.exports[2] = cat("turn_v1", 2, 0) }), `"turn_v1" is not a function`, "own"},
		{"turn is an import", with(func(w *wasm) { w.exports[2] = cat("turn_v1", 0, 0) }), `"turn_v1" is not a function`, "own"},
		{"turn of another type", with(func(w *wasm) { w.funcs[1], w.codes[1] = []byte{1}, code(nil) }), `"turn_v1" has type () -> (), want () -> i32`, "ABI's type"},
		{"_initialize of another type", with(func(w *wasm) { w.exports = append(w.exports, cat("_initialize", 0, 1)) }), `"_initialize" has type () -> i32`, "ABI's type"},
		{"reserved export", with(func(w *wasm) { w.exports = append(w.exports, cat("towpath.counter", 0, 1)) }), `exports "towpath.counter"`, "rename"},
		{"export twice", with(func(w *wasm) { w.exports = append(w.exports, w.exports[0]) }), `"memory" occurs twice`, "build it again"},
		{"export of nothing", with(func(w *wasm) { w.exports = append(w.exports, cat("x", 0, 9)) }), `"x" has index 9 of 3`, "build it again"},
		{"start section", with(func(w *wasm) { w.start = u32(1) }), "start section", "_initialize"},

		{"unknown import", with(func(w *wasm) { w.imports[0] = cat("env", "foo", 0, 3) }), `imports "env.foo", which the host does not have`, "turn_v1"},
		{"import of another type", with(func(w *wasm) { w.imports[0] = cat("env", "see", 0, 0) }), `imports "env.see" as () -> i32, the host has (i64) -> i64`, "declare it"},
		{"import of no type", with(func(w *wasm) { w.imports[0] = cat("env", "see", 0, 77) }), `"env.see" has type 77 of 4`, "build it again"},
		{"yield imported", with(func(w *wasm) { w.imports[0] = cat("towpath", "yield", 0, 1) }), `imports "towpath.yield"`, "turn_v1"},
		{"imported table", with(func(w *wasm) { w.imports[0] = cat("env", "t", 1, 0x70, 0, 1) }), `imports table "env.t"`, "define the table"},
		{"imported memory", with(func(w *wasm) { w.imports[0] = cat("env", "memory", 2, 0, 1) }), `imports memory "env.memory"`, "define the memory"},
		{"imported global", with(func(w *wasm) { w.imports[0] = cat("env", "g", 3, 0x7f, 0) }), `imports global "env.g"`, "define the global"},
		{"imported tag", with(func(w *wasm) { w.imports[0] = cat("env", "e", 4, 0, 0) }), `imports tag "env.e"`, "build without exception handling"},

		{"two memories", with(func(w *wasm) { w.memories = append(w.memories, w.memories[0]) }), "2 memories", "keep one"},
		{"memory above the limit", with(func(w *wasm) { w.memories[0] = cat(0, u32(pages+1)) }), "needs 65 MiB of memory at start, the limit is 64 MiB", "profile"},
		{"memory minimum above maximum", with(func(w *wasm) { w.memories[0] = cat(1, 2, 1) }), "minimum 2 is above its maximum 1", "build it again"},
		{"memory of more than 4 GiB", with(func(w *wasm) { w.memories[0] = cat(1, 1, u32(65537)) }), "above 4 GiB", "build it again"},
		{"shared memory", with(func(w *wasm) { w.memories[0] = cat(3, 1, 1) }), "shared memory", "build without threads"},
		{"64-bit memory", with(func(w *wasm) { w.memories[0] = cat(4, 1) }), "64-bit memory", "build without memory64"},
		{"two tables", with(func(w *wasm) { w.tables = [][]byte{{0x70, 0, 1}, {0x6f, 0, 1}} }), "2 tables", "keep one"},
		{"table too large", with(func(w *wasm) { w.tables = [][]byte{cat(0x70, 0, u32(hostabi.MaxTable+1))} }), "65537 entries, the limit is 65536", "reference"},
		{"table with initial value", with(func(w *wasm) { w.tables = [][]byte{cat(0x40, 0, 0x70, 0, 1, 0xd0, 0x70, 0x0b)} }), "initial value", "typed function references"},
		{"too many elements", with(func(w *wasm) {
			w.tables = [][]byte{{0x70, 0, 1}}
			w.elements = [][]byte{cat(1, 0, u32(300_000), bytes.Repeat([]byte{1}, 300_000))}
		}), "table elements", "by reference"},
		{"element past the table", with(func(w *wasm) {
			w.tables = [][]byte{{0x70, 0, 1}}
			w.elements = [][]byte{cat(0, 0x41, 1, 0x0b, 1, 1)}
		}), "element segment 0 ends at entry 2 of 1", "larger"},
		{"element of no function", with(func(w *wasm) {
			w.tables = [][]byte{{0x70, 0, 1}}
			w.elements = [][]byte{cat(0, 0x41, 0, 0x0b, 1, 9)}
		}), "names function 9 of 3", "build it again"},
		{"element without a table", with(func(w *wasm) { w.elements = [][]byte{cat(0, 0x41, 0, 0x0b, 1, 1)} }), "without a table", "build it again"},
		{"data past memory", with(func(w *wasm) { w.datas = [][]byte{cat(0, 0x41, s64(65535), 0x0b, "ab")} }), "data segment 0 ends at byte 65537 of 65536", "larger"},
		{"data at an imported global", with(func(w *wasm) { w.datas = [][]byte{cat(0, 0x23, 0, 0x0b, "ab")} }), "segment offset with opcode 0x23", "build it again"},
		{"data count that lies", with(func(w *wasm) { w.dataCount, w.datas = u32(2), [][]byte{cat(1, "a")} }), "data count 2 with 1 segments", "build it again"},
		{"data count without data", with(func(w *wasm) { w.dataCount = u32(2) }), "data count 2 without a data section", "build it again"},
		{"extended constant", with(func(w *wasm) { w.globals = [][]byte{cat(0x7f, 0, 0x41, 1, 0x41, 1, 0x6a, 0x0b)} }), "several instructions", "extended constant expressions"},
		{"constant of another type", with(func(w *wasm) { w.globals = [][]byte{cat(0x7e, 0, 0x41, 1, 0x0b)} }), "constant expression of type i32, want i64", "build it again"},
		{"tag section", append(body(0x41, 0), 13, 1, 0), "out of order", "build it again"},
		{"section twice", append(body(0x41, 0), 10, 1, 0), "code section twice or out of order", "build it again"},
		{"unknown section", append(body(0x41, 0), 77, 0), "section id 77", "build it again"},
		{"cut off", body(0x41, 0)[:40], "malformed module", "build it again"},
		{"type of no kind", with(func(w *wasm) { w.types[0] = cat(0x60, 1, 0x11, 0) }), "value type 0x11", "build it again"},
		{"structure type", with(func(w *wasm) { w.types[0] = cat(0x5f, 0, 0) }), "type 0 is no function", "garbage collection"},
		{"many parameters", with(func(w *wasm) { w.types = append(w.types, functype(bytes.Repeat([]byte{0x7f}, 1001), nil)) }), "1001 parameters or results", "pointer"},
		{"function of no type", with(func(w *wasm) { w.funcs[0] = u32(900) }), "function 0 has type 900 of 4", "build it again"},
		{"function without body", with(func(w *wasm) { w.codes = w.codes[:1] }), "2 functions with 1 bodies", "build it again"},

		{"body too large", body(big, 0x41, 0), "function 2 has 1048584 bytes, the limit is 1048576", "split the function"},
		{"too many locals", with(func(w *wasm) { w.codes[1] = code([][]byte{cat(u32(10_001), 0x7f)}, 0x41, 0) }), "more than 10000 locals", "split"},
		{"locals that overflow", with(func(w *wasm) {
			w.codes[1] = code([][]byte{cat(u32(1<<32-1), 0x7f), cat(u32(1<<32-1), 0x7f)}, 0x41, 0)
		}), "more than 10000 locals", "split"},
		{"nested too deeply", body(bytes.Repeat([]byte{2, 0x40}, 20_001), bytes.Repeat([]byte{0x0b}, 20_001), 0x41, 0), "nests more than 20000 blocks", "split"},
		{"too many loops", body(bytes.Repeat([]byte{3, 0x40, 0x0b}, 5_001), 0x41, 0), "more than 5000 loops", "split"},
		{"tail call", body(0x12, 1), "function 2: opcode 0x12, from tail calls", "build without tail calls"},
		{"indirect tail call", body(0x13, 0, 0), "tail calls", "build without tail calls"},
		{"try", body(0x06, 0x40, 0x0b), "exception handling", "build without exception handling"},
		{"try_table", body(0x1f, 0x40, 0, 0x0b), "exception handling", "build without exception handling"},
		{"atomic", body(0xfe, 0, 2, 0), "threads", "build without threads"},
		{"structure", body(0xfb, 0, 0), "garbage collection", "build without garbage collection"},
		{"call_ref", body(0x14, 0), "typed function references", "build without typed"},
		{"relaxed SIMD", body(0xfd, 0x80, 2), "relaxed SIMD", "build without relaxed SIMD"},
		{"vector number too long", body(0xfd, 0x8c, 0), "opcode 0xfd 0x8c 0x0", "build it again"},
		{"second memory", body(0x41, 0, 0x28, 0x42, 1, 0), "multiple memories", "build without multiple memories"},
		{"grow of second memory", body(0x41, 0, 0x40, 1), "multiple memories", "build without multiple memories"},
		{"unknown opcode", body(0xff), "opcode 0xff", "build it again"},
		{"call of nothing", body(0x10, 3), "call of function 3 of 3", "build it again"},
		{"indirect call of no type", body(0x41, 0, 0x11, 44, 0), "indirect call of type 44 of 4", "build it again"},
		{"indirect call without a table", body(0x41, 0, 0x11, 0, 0), "table 0 of 0", "build it again"},
		{"reference to nothing", body(0xd2, 3), "reference to function 3 of 3", "build it again"},
		{"block of no type", body(0x02, 44, 0x0b), "block of type 44 of 4", "build it again"},
		{"local that is not there", body(0x20, 6), "local 6 of 6", "build it again"},
		{"global that is the counter", body(0x23, 0, 0xa7), "global 0 of 0", "build it again"},
		{"branch to nothing", body(0x0c, 1), "branch to block 1 of 1", "build it again"},
		{"branch table to nothing", body(0x41, 0, 0x0e, 1, 0, 9), "branch to block 9 of 1", "build it again"},
		{"else without if", body(0x05, 0x41, 0), "else without if", "build it again"},
		{"copy from an active segment", with(func(w *wasm) {
			w.codes[1] = code(nil, 0x41, 0, 0x41, 0, 0x41, 1, 0xfc, 8, 0, 0, 0x41, 0)
			w.datas, w.dataCount = [][]byte{cat(0, 0x41, s64(8), 0x0b, "ab")}, u32(1)
		}), "copies from data segment 0, which is gone", "passive"},
		{"data segment that is not there", body(0xfc, 9, 0), "data segment 0 of 0", "build it again"},
		{"element segment that is not there", body(0xfc, 13, 0), "element segment 0 of 0", "build it again"},
		{"code after the end", body(0x41, 0, 0x0b), "code after its end", "build it again"},
		{"open block", body(0x41, 0, 0x02, 0x40), "missing end", "build it again"},
		{"integer too long", body(0x41, 0x80, 0x80, 0x80, 0x80, 0x80, 0), "integer too long", "build it again"},
		{"branch table too long", body(0x41, 0, 0x0e, u32(1<<31), 0), "vector longer than its section", "build it again"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := rewrite.Module(c.wasm, limits())
			var refusal *rewrite.Refusal
			if !errors.As(err, &refusal) {
				t.Fatalf("have %v, %v, want a refusal", r != nil, err)
			}
			if !strings.Contains(refusal.Problem, c.problem) || !strings.Contains(refusal.Fix, c.fix) {
				t.Errorf("have %q: %q, want %q and %q in it", refusal.Problem, refusal.Fix, c.problem, c.fix)
			}
			if err.Error() != refusal.Problem+": "+refusal.Fix {
				t.Errorf("error reads %q", err)
			}
		})
	}
}

// A module cut off at any byte is refused, and none of it is fatal.
func TestTruncated(t *testing.T) {
	wasm := generate(3)
	whole := rewritten(t, wasm, limits())
	for n := range wasm {
		r, err := rewrite.Module(wasm[:n], limits())
		if err == nil && !bytes.Equal(r.Wasm, whole.Wasm) && n < len(wasm)-64 {
			t.Errorf("%d of %d bytes are taken", n, len(wasm))
		}
	}
}

// Small files that claim large contents: nothing is allocated for what is not there.
func TestClaimsAllocateNothing(t *testing.T) {
	for id := byte(1); id <= 13; id++ {
		wasm := append([]byte("\x00asm\x01\x00\x00\x00"), cat(int(id), 6, 0xff, 0xff, 0xff, 0x7f, 0, 0)...)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := rewrite.Module(wasm, limits()); err == nil {
			t.Errorf("section %d: taken", id)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("section %d: %d bytes allocated", id, n)
		}
	}
}
