package rewrite

func (m *module) readFunctions(r *reader) error {
	n := r.count(1)
	if n > maxFuncs {
		return refuse("split the module", "module has %d functions, the limit is %d", n, maxFuncs)
	}
	m.funcs = make([]uint32, 0, n)
	for i := range n {
		t := r.u32()
		if int(t) >= len(m.types) {
			return malformed("function %d has type %d of %d", i, t, len(m.types))
		}
		m.funcs = append(m.funcs, t)
	}
	m.out[secFunction] = r.b[:r.p]
	return nil
}

// writeFunctions declares the helpers after the module's own functions, whose indices they leave alone.
func (m *module) writeFunctions() {
	r := reader{b: m.out[secFunction]}
	if len(r.b) > 0 {
		r.u32()
	}
	b := make([]byte, 0, len(r.b)+16)
	b = appendU32(b, uint32(len(m.funcs)+len(helpers)))
	b = append(b, r.b[r.p:]...)
	for _, h := range helpers {
		b = appendU32(b, uint32(len(m.types)+h.typ))
	}
	m.out[secFunction] = b
}
