package rewrite

// readCustom keeps the function names, which make traps legible, and drops every other custom section. Names are no
// part of what runs, so a damaged name section is dropped as well.
func (m *module) readCustom(r *reader) error {
	name := r.name()
	if r.bad != "" {
		return nil
	}
	rest := reader{b: r.b[r.p:]}
	r.p = len(r.b)
	if name != "name" || m.names != nil {
		return nil
	}
	for rest.more() {
		id := rest.byte()
		sub := reader{b: rest.bytes(rest.u32())}
		if rest.bad != "" {
			return nil
		}
		if id == 1 {
			m.names = m.functionNames(&sub)
			return nil
		}
	}
	return nil
}

// functionNames is a name section with the functions' names under their new indices, or nil.
func (m *module) functionNames(r *reader) []byte {
	n := r.count(2)
	b := appendU32(make([]byte, 0, len(r.b)+len(r.b)/64+64), uint32(n)+uint32(1+len(helpers)))
	yield := uint32(len(m.imports))
	last, put := int64(-1), false
	add := func(i uint32, name string) { b = appendName(appendU32(b, i), name) }
	for range n {
		i := r.u32()
		name := r.name()
		if r.bad != "" || int64(i) <= last || i >= m.funcCount() {
			return nil
		}
		last = int64(i)
		if i >= yield && !put {
			add(yield, YieldModule+"."+YieldName)
			put = true
		}
		add(m.shift(i), name)
	}
	if r.more() {
		return nil
	}
	if !put {
		add(yield, YieldModule+"."+YieldName)
	}
	for i := range helpers {
		add(m.helper(i), Prefix+helpers[i].name)
	}
	out := appendName(make([]byte, 0, len(b)+16), "name")
	out = appendU32(append(out, 1), uint32(len(b)))
	return append(out, b...)
}
