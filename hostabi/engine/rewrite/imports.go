package rewrite

import "slices"

func (m *module) readImports(r *reader) error {
	n := r.count(4)
	if n > maxImports {
		return refuse("import each function once", "module has %d imports, the limit is %d", n, maxImports)
	}
	for range n {
		mod, name := r.name(), r.name()
		kind := r.byte()
		if r.bad != "" {
			return nil
		}
		if kind != 0 {
			return refuseImport(kind, mod, name)
		}
		t := r.u32()
		if r.bad != "" {
			return nil
		}
		full := mod + "." + name
		if int(t) >= len(m.types) {
			return malformed("import %q has type %d of %d", full, t, len(m.types))
		}
		want, ok := m.lim.Imports[full]
		if !ok {
			return refuse("the host has the functions of turn_v1 and some of wasi_snapshot_preview1; see the list in the ABI", "module imports %q, which the host does not have", full)
		}
		if have := m.types[t]; !have.equal(want) {
			return refuse("declare it as the host has it", "module imports %q as %v, the host has %v", full, have, want)
		}
		m.imports = append(m.imports, t)
		if !slices.Contains(m.used, full) {
			m.used = append(m.used, full)
		}
	}
	m.out[secImport] = r.b[:r.p]
	return nil
}

func refuseImport(kind byte, mod, name string) error {
	switch kind {
	case 1:
		return refuse("define the table in the module", "module imports table \"%s.%s\"", mod, name)
	case 2:
		return refuse("define the memory in the module and export it as \"memory\"", "module imports memory \"%s.%s\"", mod, name)
	case 3:
		return refuse("define the global in the module", "module imports global \"%s.%s\"", mod, name)
	case 4:
		return proposal("exception handling", "module imports tag \"%s.%s\"", mod, name)
	}
	return malformed("import \"%s.%s\" has kind %d", mod, name, kind)
}

func (m *module) writeImports() {
	r := reader{b: m.out[secImport]}
	if len(r.b) > 0 {
		r.u32()
	}
	b := make([]byte, 0, len(r.b)+32)
	b = appendU32(b, uint32(len(m.imports))+1)
	b = append(b, r.b[r.p:]...)
	b = appendName(appendName(b, YieldModule), YieldName)
	b = append(b, 0)
	m.out[secImport] = appendU32(b, uint32(len(m.types)+typeYield))
}
