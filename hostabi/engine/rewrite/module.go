package rewrite

import (
	"fmt"
	"math"

	"github.com/towpath/towpath/hostabi"
)

// Version is the version of the rewrite. Together with the digest of the original bytes it identifies what runs:
// it changes whenever Module makes other bytes of the same input.
const Version = 2

// Names that a rewritten module shares with its host. A guest's own exports cannot begin with Prefix, and its own
// imports cannot come from YieldModule.
const (
	Prefix      = "towpath."
	YieldModule = "towpath"
	YieldName   = "yield" // () -> (): called when the counter's fuel or stack is below zero
	CounterName = Prefix + "counter"
)

// Limits is what the caller allows a module.
type Limits struct {
	MemoryPages uint32               // of 64 KiB: a module that needs more at start is refused, its maximum is lowered
	Imports     map[string]Signature // the host's functions by "module.name"
	KeepData    bool                 // leave the data in Wasm, merged, instead of taking it out as Image
}

// Signature is a function's type; each byte is a value type of the binary format (I32 and so on).
type Signature struct {
	Params, Results []byte
}

// Result is a rewritten module.
type Result struct {
	Wasm    []byte
	Image   []Extent // initial memory without its zeros, ascending, disjoint; nil with KeepData
	Memory  Memory
	Globals []Global // what a freeze must save and a clone must set, beside memory and Counter
	Imports []string // functions that the guest uses, as "module.name", in order of first appearance
	Counter string   // the exported i64 global that holds a Counter; Module sets it to Slice and StackBudget

	// Initialize says that the guest exports _initialize.
	Initialize bool
	// Unfrozen, when not empty, names state beside memory and Globals that _initialize may change and a clone cannot
	// be given: "table.set", for example. Such a guest must run _initialize in every instance.
	Unfrozen string
}

// Extent is a piece of initial memory.
type Extent struct {
	Offset uint32
	Bytes  []byte
}

// Memory is a memory's size in pages of 64 KiB.
type Memory struct {
	Min, Max uint32
}

// Global is an exported mutable global.
type Global struct {
	Name string
	Type byte // I32, I64, F32 or F64
}

// Limits of a module that no contract names: far above what toolchains write, low enough that neither this package
// nor the compiler behind it can be made to allocate out of proportion.
const (
	maxTypes    = 1 << 16
	maxValues   = 1000 // parameters, or results, of one type
	maxImports  = 10_000
	maxFuncs    = 1 << 17
	maxGlobals  = 10_000
	maxExports  = 10_000
	maxElements = 4 * hostabi.MaxTable
	maxLocals   = 10_000
	maxNesting  = 20_000
	maxLoops    = 5_000 // of one function
)

// Sections by id.
const (
	secCustom = iota
	secType
	secImport
	secFunction
	secTable
	secMemory
	secGlobal
	secExport
	secStart
	secElement
	secCode
	secData
	secDataCount
	secTag
)

var sectionNames = [...]string{"custom", "type", "import", "function", "table", "memory", "global", "export", "start", "element", "code", "data", "data count", "tag"}

// sectionOrder is the order in which sections stand in a module.
var sectionOrder = [...]byte{secType, secImport, secFunction, secTable, secMemory, secTag, secGlobal, secExport, secStart, secElement, secDataCount, secCode, secData}

// module is what one pass over the sections learns, and the sections of the output as they come about.
type module struct {
	lim Limits
	out [secTag]([]byte) // bodies of output sections, by id; nil is absent

	types   []Signature
	imports []uint32 // type index of each imported function
	used    []string
	funcs   []uint32 // type index of each function that the module defines
	tables  int
	table   limits
	memory  bool
	pages   Memory
	globals []globalType
	exports map[string]bool
	elems   int
	data    int // segments announced by the data count section; -1 without one
	names   []byte

	saved    []Global
	usesData bool            // memory.init or data.drop occurs: segment numbers must stay
	copied   map[uint32]bool // data segments that a memory.init names
	unfrozen string
	image    []Extent

	codeCount int
	dataSeen  bool
	results   map[string]uint32 // added types () -> results, by result types
	extra     []Signature       // types added after the module's own
}

// Module checks a plugin's module and rewrites it to what the engine runs: metered, its data taken out, its mutable
// globals exported, its memory and table clamped. Any input is safe. An error is always a *Refusal. The same input
// makes the same output, byte for byte. Extents and names in the result do not alias wasm.
func Module(wasm []byte, lim Limits) (*Result, error) {
	if len(wasm) > hostabi.MaxModule {
		return nil, refuse("strip it (-ldflags='-s -w' for Go) or split it", "module is %d bytes, the limit is %d", len(wasm), hostabi.MaxModule)
	}
	if len(wasm) < 8 || string(wasm[:4]) != "\x00asm" {
		return nil, refuse("a plugin is a WebAssembly core module; for Go: GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared", "file is not WebAssembly")
	}
	if v := string(wasm[4:8]); v == "\x0d\x00\x01\x00" {
		return nil, refuse("build a core module", "file is a WebAssembly component, which the host does not support")
	} else if v != "\x01\x00\x00\x00" {
		return nil, malformed("version %x", v)
	}
	m := &module{lim: lim, data: -1, exports: map[string]bool{}, copied: map[uint32]bool{}}
	if err := m.read(wasm[8:]); err != nil {
		return nil, err
	}
	if err := m.finish(); err != nil {
		return nil, err
	}
	return &Result{
		Wasm: m.assemble(), Image: m.image, Memory: m.pages, Globals: m.saved, Imports: m.used, Counter: CounterName,
		Initialize: m.exports[hostabi.ExportInitialize], Unfrozen: m.unfrozen,
	}, nil
}

// read takes the sections in order. Its error is nil or a *Refusal.
func (m *module) read(b []byte) error {
	r := reader{b: b}
	next := 0 // index in sectionOrder
	for r.more() {
		id := r.byte()
		size := r.u32()
		s := reader{b: r.bytes(size)}
		if r.bad != "" {
			return malformed("section %d: %s", id, r.bad)
		}
		if id != secCustom {
			if int(id) >= len(sectionNames) {
				return malformed("section id %d", id)
			}
			for next < len(sectionOrder) && sectionOrder[next] != id {
				next++
			}
			if next == len(sectionOrder) {
				return malformed("%s section twice or out of order", sectionNames[id])
			}
			next++
		}
		err := m.section(id, &s)
		switch {
		case err != nil:
			return err
		case s.bad != "":
			return malformed("%s section at byte %d: %s", sectionNames[id], 8+r.p-len(s.b)+s.p, s.bad)
		case s.more():
			return malformed("%s section: %d bytes too many", sectionNames[id], len(s.b)-s.p)
		}
	}
	return nil
}

func (m *module) section(id byte, r *reader) error {
	switch id {
	case secCustom:
		return m.readCustom(r)
	case secType:
		return m.readTypes(r)
	case secImport:
		return m.readImports(r)
	case secFunction:
		return m.readFunctions(r)
	case secTable:
		return m.readTables(r)
	case secMemory:
		return m.readMemories(r)
	case secTag:
		return proposal("exception handling", "module has a tag section")
	case secGlobal:
		return m.readGlobals(r)
	case secExport:
		return m.readExports(r)
	case secStart:
		return refuse("move that work into _initialize", "module has a start section")
	case secElement:
		return m.readElements(r)
	case secDataCount:
		m.data = int(r.u32())
		return nil
	case secCode:
		return m.readCode(r)
	default:
		return m.readData(r)
	}
}

// finish checks what only the whole module shows, and writes the sections that collect things on the way.
func (m *module) finish() error {
	if m.codeCount != len(m.funcs) {
		return malformed("%d functions with %d bodies", len(m.funcs), m.codeCount)
	}
	if err := m.checkExports(); err != nil {
		return err
	}
	if !m.dataSeen {
		if m.data > 0 {
			return malformed("data count %d without a data section", m.data)
		}
		m.writeData(nil)
	}
	m.writeTypes()
	m.writeImports()
	m.writeFunctions()
	m.writeGlobals()
	m.writeExports()
	m.writeHelpers()
	return nil
}

func (m *module) assemble() []byte {
	n := 64 + len(m.names)
	for _, s := range m.out {
		n += len(s) + 8
	}
	w := append(make([]byte, 0, n), "\x00asm\x01\x00\x00\x00"...)
	for _, id := range sectionOrder {
		if id == secTag || m.out[id] == nil {
			continue
		}
		w = appendU32(append(w, id), uint32(len(m.out[id])))
		w = append(w, m.out[id]...)
	}
	if m.names != nil {
		w = appendU32(append(w, secCustom), uint32(len(m.names)))
		w = append(w, m.names...)
	}
	return w
}

// typeOf returns the signature of a function of the original's index space.
func (m *module) typeOf(f uint32) Signature {
	if int(f) < len(m.imports) {
		return m.types[m.imports[f]]
	}
	return m.types[m.funcs[int(f)-len(m.imports)]]
}

func (m *module) funcCount() uint32 { return uint32(len(m.imports) + len(m.funcs)) }

// shift turns a function's index in the original into its index in the output: yield is the last import.
func (m *module) shift(f uint32) uint32 {
	if int(f) < len(m.imports) {
		return f
	}
	return f + 1
}

func (s Signature) String() string {
	list := func(ts []byte) string {
		b := []byte{'('}
		for i, t := range ts {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = append(b, typeName(t)...)
		}
		return string(append(b, ')'))
	}
	if len(s.Results) == 1 {
		return list(s.Params) + " -> " + typeName(s.Results[0])
	}
	return list(s.Params) + " -> " + list(s.Results)
}

func (s Signature) equal(o Signature) bool {
	return string(s.Params) == string(o.Params) && string(s.Results) == string(o.Results)
}

// limits are the sizes of a memory or table.
type limits struct {
	min, max uint32
	bounded  bool
}

// readLimits reads limits; what is "memory" or "table".
func readLimits(r *reader, what string) (limits, error) {
	var l limits
	flag := r.byte()
	switch {
	case r.bad != "":
		return l, nil
	case flag >= 4 && flag <= 7:
		return l, proposal("memory64", "module has a 64-bit %s", what)
	case flag == 2 || flag == 3:
		return l, proposal("threads", "module has a shared %s", what)
	case flag > 3:
		return l, malformed("limits flag %#x of a %s", flag, what)
	}
	l.min, l.max, l.bounded = r.u32(), math.MaxUint32, flag == 1
	if l.bounded {
		if l.max = r.u32(); l.max < l.min && r.bad == "" {
			return l, malformed("%s minimum %d is above its maximum %d", what, l.min, l.max)
		}
	}
	return l, nil
}

func appendLimits(b []byte, min, max uint32) []byte {
	return appendU32(appendU32(append(b, 1), min), max)
}

// globalName is the name under which mutable global i is exported.
func globalName(i int) string { return fmt.Sprintf("%sg%d", Prefix, i) }
