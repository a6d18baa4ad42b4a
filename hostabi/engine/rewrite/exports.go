package rewrite

import (
	"strings"

	"github.com/towpath/towpath/hostabi"
)

// goBuild is the fix for a module that lacks what every plugin exports.
const goBuild = "for Go: GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared, with the package hostabi/guest"

func (m *module) readExports(r *reader) error {
	n := r.count(3)
	if n > maxExports {
		return refuse("export only what the host calls", "module has %d exports, the limit is %d", n, maxExports)
	}
	b := make([]byte, 0, len(r.b)+64)
	for range n {
		name := r.name()
		kind := r.byte()
		i := r.u32()
		if r.bad != "" {
			return nil
		}
		if m.exports[name] {
			return malformed("export %q occurs twice", name)
		}
		m.exports[name] = true
		if strings.HasPrefix(name, Prefix) {
			return refuse("rename it", "module exports %q, a name that the host keeps for itself", name)
		}
		have := [...]int{int(m.funcCount()), m.tables, m.memories(), len(m.globals)}
		if kind == 4 {
			return proposal("exception handling", "module exports tag %q", name)
		}
		if int(kind) >= len(have) {
			return malformed("export %q has kind %d", name, kind)
		}
		if int64(i) >= int64(have[kind]) {
			return malformed("export %q has index %d of %d", name, i, have[kind])
		}
		if err := m.checkExport(name, kind, i); err != nil {
			return err
		}
		if kind == 0 {
			i = m.shift(i)
		}
		b = appendU32(append(appendName(b, name), kind), i)
	}
	m.out[secExport] = b
	return nil
}

func (m *module) memories() int {
	if m.memory {
		return 1
	}
	return 0
}

// contract is what the host calls by name.
var contract = map[string]Signature{
	hostabi.ExportTurn:       {Results: []byte{I32}},
	hostabi.ExportManifest:   {Results: []byte{I32}},
	hostabi.ExportInitialize: {},
}

func (m *module) checkExport(name string, kind byte, i uint32) error {
	if name == hostabi.ExportMemory && kind != 2 {
		return refuse("export the memory under that name", "export \"memory\" is not a memory")
	}
	want, ok := contract[name]
	if !ok {
		return nil
	}
	if kind != 0 || int(i) < len(m.imports) {
		return refuse("export a function of the module's own under that name", "export %q is not a function of the module", name)
	}
	if have := m.typeOf(i); !have.equal(want) {
		return refuse("give it the ABI's type", "export %q has type %v, want %v", name, have, want)
	}
	return nil
}

func (m *module) checkExports() error {
	for _, name := range []string{hostabi.ExportMemory, hostabi.ExportTurn, hostabi.ExportManifest} {
		if m.exports[name] {
			continue
		}
		if m.exports["_start"] {
			return refuse("build a reactor; "+goBuild, "module does not export %q: it is a command", name)
		}
		return refuse("export it; "+goBuild, "module does not export %q", name)
	}
	return nil
}

func (m *module) writeExports() {
	n := len(m.exports) + 1 + len(m.saved)
	b := make([]byte, 0, len(m.out[secExport])+24*(len(m.saved)+1))
	b = append(appendU32(b, uint32(n)), m.out[secExport]...)
	b = m.appendCounter(appendName(b, CounterName), 3)
	for i, g := range m.globals {
		if g.mutable && g.typ != V128 && g.typ != FuncRef && g.typ != ExternRef {
			b = appendU32(append(appendName(b, globalName(i)), 3), uint32(i))
		}
	}
	m.out[secExport] = b
}
