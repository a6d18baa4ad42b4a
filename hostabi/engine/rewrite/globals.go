package rewrite

import "fmt"

type globalType struct {
	typ     byte
	mutable bool
}

func (m *module) readGlobals(r *reader) error {
	n := r.count(4)
	if n > maxGlobals {
		return refuse("keep variables in memory", "module has %d globals, the limit is %d", n, maxGlobals)
	}
	b := make([]byte, 0, len(r.b)+16)
	for i := range n {
		g := globalType{typ: r.byte()}
		mut := r.byte()
		if r.bad != "" {
			return nil
		}
		if err := checkValueType(g.typ); err != nil {
			return err
		}
		if mut > 1 {
			return malformed("global %d has mutability %d", i, mut)
		}
		g.mutable = mut == 1
		b = append(b, g.typ, mut)
		var err error
		if b, err = m.copyConst(b, r, g.typ); err != nil {
			return err
		}
		m.globals = append(m.globals, g)
		if !g.mutable {
			continue
		}
		switch g.typ {
		case I32, I64, F32, F64:
			m.saved = append(m.saved, Global{globalName(i), g.typ})
		default:
			m.unfreeze(fmt.Sprintf("a mutable global of type %s", typeName(g.typ)))
		}
	}
	m.out[secGlobal] = b
	return nil
}

// unfreeze notes state that a clone cannot be given.
func (m *module) unfreeze(what string) {
	if m.unfrozen == "" {
		m.unfrozen = what
	}
}

func (m *module) writeGlobals() {
	b := make([]byte, 0, len(m.out[secGlobal])+24)
	b = appendU32(b, uint32(len(m.globals))+1)
	b = append(b, m.out[secGlobal]...)
	b = append(b, I64, 1, opI64Const)
	b = appendSigned(b, int64(NewCounter(Slice, StackBudget)))
	m.out[secGlobal] = append(b, opEnd)
}

// copyConst appends a constant expression of a type to b, with function indices shifted.
func (m *module) copyConst(b []byte, r *reader, typ byte) ([]byte, error) {
	start := r.p
	op := r.byte()
	have := byte(0)
	switch op {
	case opI32Const:
		have = I32
		r.signed(32)
	case opI64Const:
		have = I64
		r.signed(64)
	case opF32Const:
		have = F32
		r.bytes(4)
	case opF64Const:
		have = F64
		r.bytes(8)
	case opVector:
		if have = V128; r.byte() != 12 && r.bad == "" {
			return b, malformed("constant expression with a vector instruction")
		}
		r.bytes(16)
	case opRefNull:
		if have = r.byte(); have != FuncRef && have != ExternRef && r.bad == "" {
			return b, proposal("typed function references", "constant expression with a typed null")
		}
	case opRefFunc:
		have = FuncRef
		f := r.u32()
		if r.bad == "" && f >= m.funcCount() {
			return b, malformed("constant expression names function %d of %d", f, m.funcCount())
		}
		b = appendU32(append(b, op), m.shift(f))
		start = r.p
	case opGlobalGet:
		return b, malformed("constant expression reads a global of the module itself")
	default:
		return b, malformed("constant expression with opcode %#x", op)
	}
	if end := r.byte(); r.bad == "" && end != opEnd {
		return b, proposal("extended constant expressions", "constant expression of several instructions")
	}
	if r.bad == "" && have != typ {
		return b, malformed("constant expression of type %s, want %s", typeName(have), typeName(typ))
	}
	return append(b, r.b[start:r.p]...), nil
}

// constI32 reads a constant expression of type i32: where a segment begins.
func constI32(r *reader) (uint32, error) {
	if op := r.byte(); op != opI32Const && r.bad == "" {
		return 0, malformed("segment offset with opcode %#x", op)
	}
	v := r.signed(32)
	if end := r.byte(); r.bad == "" && end != opEnd {
		return 0, proposal("extended constant expressions", "segment offset of several instructions")
	}
	return uint32(v), nil
}
