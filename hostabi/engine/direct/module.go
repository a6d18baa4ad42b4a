package direct

import (
	"encoding/binary"
	"slices"
)

// Bounds beyond which a table stays: dispatchers of more entries cost more to compile than they save.
const (
	maxEntries = 16 << 10 // of the table
	maxTargets = 32 << 10 // of all dispatchers together
)

// Section ids.
const (
	sectionType     = 1
	sectionImport   = 2
	sectionFunction = 3
	sectionTable    = 4
	sectionExport   = 7
	sectionElement  = 9
	sectionCode     = 10
)

type section struct {
	id   byte
	body []byte
}

// module is what the pass has to know.
type module struct {
	types       [][]byte // encoded, without the leading 0x60
	functions   []uint32 // type of each function, imported ones first
	imported    int
	table       []entry
	dispatchers []dispatcher
	byType      map[string]uint32 // a signature's dispatcher
}

// entry is what the table holds at one index.
type entry struct {
	function uint32
	filled   bool
}

// dispatcher calls the table's functions of one signature.
type dispatcher struct {
	params, results []byte
	signature       string
}

// Module returns wasm without its table, and whether it could be taken out.
func Module(wasm []byte) (out []byte, done bool) {
	defer func() {
		if p := recover(); p != nil {
			if p != errUnfit {
				panic(p)
			}
			out, done = wasm, false
		}
	}()
	m := &module{byType: map[string]uint32{}}
	sections := split(wasm)
	if !slices.ContainsFunc(sections, func(s section) bool { return s.id == sectionTable }) {
		return wasm, false
	}
	for i := range sections {
		s := &sections[i]
		switch s.id {
		case sectionType:
			m.readTypes(s.body)
		case sectionImport:
			m.readImports(s.body)
		case sectionFunction:
			m.readFunctions(s.body)
		case sectionTable:
			m.readTable(s.body)
		case sectionExport:
			s.body = withoutTable(s.body)
		case sectionElement:
			m.readElements(s.body)
		case sectionCode:
			s.body = m.rewriteCode(s.body)
		}
	}
	b := append([]byte(nil), wasm[:8]...)
	for _, s := range sections {
		switch s.id {
		case sectionTable, sectionElement:
			continue
		case sectionType:
			s.body = m.withTypes(s.body)
		case sectionFunction:
			s.body = m.withFunctions(s.body)
		case sectionCode:
			s.body = m.withDispatchers(s.body)
		}
		b = append(b, s.id)
		b = binary.AppendUvarint(b, uint64(len(s.body)))
		b = append(b, s.body...)
	}
	return b, true
}

func split(wasm []byte) []section {
	r := reader{b: wasm}
	r.skip(8)
	var all []section
	for r.more() {
		id := r.byte()
		all = append(all, section{id, r.take(r.count())})
	}
	return all
}

func (m *module) readTypes(body []byte) {
	r := reader{b: body}
	for range r.count() {
		if r.byte() != 0x60 {
			r.unfit()
		}
		start := r.p
		r.skip(r.count())
		r.skip(r.count())
		m.types = append(m.types, body[start:r.p])
	}
}

func (m *module) readImports(body []byte) {
	r := reader{b: body}
	for range r.count() {
		r.skip(r.count())
		r.skip(r.count())
		if r.byte() != 0 {
			r.unfit()
		}
		m.functions = append(m.functions, r.u32())
	}
	m.imported = len(m.functions)
}

func (m *module) readFunctions(body []byte) {
	r := reader{b: body}
	for range r.count() {
		m.functions = append(m.functions, r.u32())
	}
}

func (m *module) readTable(body []byte) {
	r := reader{b: body}
	if r.count() != 1 || r.byte() != 0x70 {
		r.unfit()
	}
	r.byte() // whether there is a maximum: without table.grow the table never gets there
	size := r.u32()
	if size > maxEntries {
		r.unfit()
	}
	m.table = make([]entry, size)
}

// readElements takes active segments of function numbers, which is how linkers write tables.
func (m *module) readElements(body []byte) {
	r := reader{b: body}
	for range r.count() {
		if r.u32() != 0 || r.byte() != 0x41 {
			r.unfit()
		}
		offset := r.u32()
		if r.byte() != 0x0b {
			r.unfit()
		}
		for i := range r.count() {
			at := int(offset) + i
			function := r.u32()
			if at >= len(m.table) || int(function) >= len(m.functions) {
				r.unfit()
			}
			m.table[at] = entry{function, true}
		}
	}
}

// withoutTable drops exports of the table.
func withoutTable(body []byte) []byte {
	r := reader{b: body}
	kept, n := []byte(nil), 0
	for range r.count() {
		start := r.p
		r.skip(r.count())
		kind := r.byte()
		r.u32()
		if kind != 1 {
			kept, n = append(kept, body[start:r.p]...), n+1
		}
	}
	return append(binary.AppendUvarint(nil, uint64(n)), kept...)
}

// grown is a section that is a list, with items added at its end.
func grown(body []byte, items ...[]byte) []byte {
	r := reader{b: body}
	n := r.count()
	out := binary.AppendUvarint(nil, uint64(n+len(items)))
	return append(append(out, body[r.p:]...), slices.Concat(items...)...)
}

func (m *module) withTypes(body []byte) []byte {
	var items [][]byte
	for _, d := range m.dispatchers {
		t := append([]byte{0x60}, binary.AppendUvarint(nil, uint64(len(d.params)+1))...)
		t = append(append(t, d.params...), 0x7f)
		t = append(binary.AppendUvarint(t, uint64(len(d.results))), d.results...)
		items = append(items, t)
	}
	return grown(body, items...)
}

func (m *module) withFunctions(body []byte) []byte {
	var items [][]byte
	for i := range m.dispatchers {
		items = append(items, binary.AppendUvarint(nil, uint64(len(m.types)+i)))
	}
	return grown(body, items...)
}
