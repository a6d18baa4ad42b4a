package rewrite

// readElements copies the element segments with function indices shifted.
func (m *module) readElements(r *reader) error {
	n := r.count(2)
	m.elems = n
	b := appendU32(make([]byte, 0, len(r.b)+len(r.b)/8), uint32(n))
	total := 0
	for i := range n {
		flags := r.u32()
		if flags > 7 && r.bad == "" {
			return malformed("element segment %d has flags %#x", i, flags)
		}
		passive, explicit, exprs := flags&1 != 0, flags&2 != 0, flags&4 != 0
		b = appendU32(b, flags)
		var offset uint32
		if !passive {
			if explicit {
				if t := r.u32(); t != 0 && r.bad == "" {
					return malformed("element segment %d is for table %d of %d", i, t, m.tables)
				}
				b = append(b, 0)
			}
			var err error
			if offset, err = constI32(r); err != nil {
				return err
			}
			b = append(appendSigned(append(b, opI32Const), int64(int32(offset))), opEnd)
		}
		typ := byte(FuncRef)
		if passive || explicit {
			kind := r.byte()
			if exprs {
				typ = kind
			}
			if (exprs && kind != FuncRef && kind != ExternRef || !exprs && kind != 0) && r.bad == "" {
				return malformed("element segment %d has kind %#x", i, kind)
			}
			b = append(b, kind)
		}
		size := r.count(1)
		if total += size; total > maxElements {
			return refuse("make fewer functions reachable by reference", "module has more than %d table elements", maxElements)
		}
		if !passive && r.bad == "" {
			if m.tables == 0 {
				return malformed("element segment %d without a table", i)
			}
			if uint64(offset)+uint64(size) > uint64(m.table.min) {
				return refuse("make the table larger", "element segment %d ends at entry %d of %d", i, uint64(offset)+uint64(size), m.table.min)
			}
		}
		b = appendU32(b, uint32(size))
		for range size {
			if exprs {
				var err error
				if b, err = m.copyConst(b, r, typ); err != nil {
					return err
				}
				continue
			}
			f := r.u32()
			if f >= m.funcCount() && r.bad == "" {
				return malformed("element segment %d names function %d of %d", i, f, m.funcCount())
			}
			b = appendU32(b, m.shift(f))
		}
		if r.bad != "" {
			return nil
		}
	}
	m.out[secElement] = b
	return nil
}
