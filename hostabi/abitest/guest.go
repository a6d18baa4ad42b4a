package abitest

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"

	"github.com/towpath/towpath/hostabi"
)

// Guest makes the suite's module. It exports each test under its name; turn_v1 runs the one whose number the turn request
// holds (see World), and logs its notes at the end: for each call the result, the window before and the window after.
func (s Suite) Guest() []byte {
	g := &guest{imports: map[string]uint64{}}
	for _, f := range turnFunctions {
		g.imported(hostabi.Module, f)
	}
	if s.Module == wasiModule {
		for _, f := range wasiFunctions {
			g.imported(wasiModule, f)
		}
	}
	manifest := `{"name":"abitest","version":"1"}`
	g.data(manifestAt, manifest)

	// The tests, and what turn_v1 does to choose one.
	choose := join(
		g.call(hostabi.Module, "request"), drop,
		i32(requestAt), i32(maxRequest), g.call(hostabi.Module, "take"), drop,
		i32(0),
	)
	for i := range numberDigits {
		choose = join(choose, i32(10), []byte{0x6c}, i32(int64(requestAt+numberAt+i)), []byte{0x2d, 0, 0}, i32('0'), []byte{0x6b, 0x6a})
	}
	choose = join(choose, []byte{0x21, 0}) // local 0 is the test's number
	for n, t := range s.Tests {
		index := g.function(g.test(s.Module, t))
		g.export(t.Name, 0, index)
		choose = join(choose, []byte{0x20, 0}, i32(int64(n)), []byte{0x46, 0x04, 0x40}, callTo(index), []byte{0x0f, 0x0b})
	}
	g.export(hostabi.ExportTurn, 0, g.function(join(choose, i32(1))))
	g.export(hostabi.ExportManifest, 0, g.function(join(i32(manifestAt), i32(int64(len(manifest))), g.call(hostabi.Module, "finish"))))
	g.export(hostabi.ExportMemory, 2, 0)
	return g.module()
}

// test is the body of one test.
func (g *guest) test(module string, t Test) []byte {
	if len(t.Calls) > maxCalls {
		panic("abitest: test " + t.Name + " has too many calls")
	}
	var code []byte
	for i, c := range t.Calls {
		note := int64(notes + i*noteBytes)
		code = join(code, i32(window), i32(0), i32(windowBytes), memoryFill)
		for _, p := range c.put {
			code = join(code, i32(window+int64(p.at)), i32(g.constant(p.text)), i32(int64(len(p.text))), memoryCopy)
		}
		code = join(code, i32(note+8), i32(window), i32(windowBytes), memoryCopy)
		from := cmp.Or(c.Module, module)
		f := g.signature(from, c.Function)
		if len(c.args) != len(f.Params) {
			panic(fmt.Sprintf("abitest: %s: %s has %d arguments", t.Name, c.Function, len(f.Params)))
		}
		code = join(code, i32(note)) // where the result goes
		for i, p := range f.Params {
			if p == 't' {
				code = join(code, i64(c.args[i]))
			} else {
				code = join(code, i32(c.args[i]))
			}
		}
		code = join(code, g.call(from, c.Function))
		switch f.Result {
		case "n":
			code = join(code, []byte{0xac}) // to i64, signed
		case "":
			code = join(code, i64(0))
		}
		code = join(code, []byte{0x37, 3, 0}, i32(note+8+windowBytes), i32(window), i32(windowBytes), memoryCopy)
	}
	return join(code,
		i32(0), i32(notes), i32(int64(len(t.Calls)*noteBytes)), g.call(hostabi.Module, "log"), drop,
		i32(g.constant("{}")), i32(2), g.call(hostabi.Module, "finish"), drop, // refused when the test has finished
		i32(0))
}

// signature is that of a function of a module.
func (g *guest) signature(module, name string) Function {
	if module == wasiModule {
		return find(wasiFunctions, name)
	}
	return find(turnFunctions, name)
}

// guest is a module that is put together. Its functions take nothing, return an i32 and have a local i32.
type guest struct {
	types, taken, functions, exports, bodies, datas [][]byte

	imports   map[string]uint64
	constants map[string]int64
	placed    int64 // bytes of constants so far
}

const constantsAt = 0x2000

// constant places a text outside of the window, once.
func (g *guest) constant(text string) int64 {
	if g.constants == nil {
		g.constants = map[string]int64{}
	}
	if address, there := g.constants[text]; there {
		return address
	}
	address := constantsAt + g.placed
	g.constants[text] = address
	g.placed += int64(len(text))
	if address+int64(len(text)) > notes {
		panic("abitest: the constants are too long")
	}
	g.data(address, text)
	return address
}

func (g *guest) data(address int64, text string) {
	g.datas = append(g.datas, join([]byte{0}, i32(address), []byte{0x0b}, uleb(len(text)), []byte(text)))
}

func (g *guest) kind(f Function) []byte {
	g.types = append(g.types, join([]byte{0x60}, uleb(len(f.Params)), values(f.Params), uleb(len(f.Result)), values(f.Result)))
	return uleb(len(g.types) - 1)
}

func values(params string) (types []byte) {
	for _, p := range params {
		if p == 't' {
			types = append(types, 0x7e)
		} else {
			types = append(types, 0x7f)
		}
	}
	return types
}

func (g *guest) imported(module string, f Function) {
	g.imports[module+"."+f.Name] = uint64(len(g.taken))
	g.taken = append(g.taken, join(name(module), name(f.Name), []byte{0}, g.kind(f)))
}

func (g *guest) call(module, function string) []byte { return callTo(g.imports[module+"."+function]) }

func callTo(index uint64) []byte { return binary.AppendUvarint([]byte{0x10}, index) }

func (g *guest) function(code []byte) uint64 {
	if len(g.functions) == 0 {
		g.functions = append(g.functions, g.kind(Function{Result: "n"}))
	} else {
		g.functions = append(g.functions, g.functions[0])
	}
	code = join([]byte{1, 1, 0x7f}, code, []byte{0x0b})
	g.bodies = append(g.bodies, join(uleb(len(code)), code))
	return uint64(len(g.taken) + len(g.functions) - 1)
}

func (g *guest) export(as string, kind byte, index uint64) {
	g.exports = append(g.exports, binary.AppendUvarint(join(name(as), []byte{kind}), index))
}

func (g *guest) module() []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, items ...[]byte) {
		content := join(uleb(len(items)), join(items...))
		out = join(out, []byte{id}, uleb(len(content)), content)
	}
	section(1, g.types...)
	section(2, g.taken...)
	section(3, g.functions...)
	section(5, join([]byte{1}, uleb(memoryPages), uleb(memoryPages)))
	section(7, g.exports...)
	section(10, g.bodies...)
	section(11, g.datas...)
	return out
}

var (
	drop       = []byte{0x1a}
	memoryFill = []byte{0xfc, 0x0b, 0}
	memoryCopy = []byte{0xfc, 0x0a, 0, 0}
)

func i32(v int64) []byte { return join([]byte{0x41}, sleb(int64(int32(v)))) }
func i64(v int64) []byte { return join([]byte{0x42}, sleb(v)) }

func sleb(v int64) []byte {
	var b []byte
	for {
		low := byte(v & 0x7f)
		if v >>= 7; v == 0 && low&0x40 == 0 || v == -1 && low&0x40 != 0 {
			return append(b, low)
		}
		b = append(b, low|0x80)
	}
}

func uleb(n int) []byte           { return binary.AppendUvarint(nil, uint64(n)) }
func name(s string) []byte        { return join(uleb(len(s)), []byte(s)) }
func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
