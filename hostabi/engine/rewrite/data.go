package rewrite

import "slices"

// segment is an active data segment.
type segment struct {
	offset uint32
	bytes  []byte
}

// block is the grain of the image: memory between two extents is at least one block of zeros.
const block = 4096

func (m *module) readData(r *reader) error {
	n := r.count(2)
	if m.data >= 0 && n != m.data && r.bad == "" {
		return malformed("data count %d with %d segments", m.data, n)
	}
	m.dataSeen = true
	active := make([]segment, 0, n)
	var kept []byte // the section without active data, built only when numbers must stay
	for i := range n {
		flags := r.u32()
		if flags > 2 && r.bad == "" {
			return malformed("data segment %d has flags %#x", i, flags)
		}
		var s segment
		if flags != 1 {
			if flags == 2 {
				if mem := r.u32(); mem != 0 && r.bad == "" {
					return proposal("multiple memories", "data segment %d is for memory %d", i, mem)
				}
			}
			var err error
			if s.offset, err = constI32(r); err != nil {
				return err
			}
		}
		s.bytes = r.bytes(r.u32())
		if r.bad != "" {
			return nil
		}
		if flags == 1 {
			if m.usesData {
				kept = append(appendU32(append(kept, 1), uint32(len(s.bytes))), s.bytes...)
			}
			continue
		}
		if !m.memory {
			return malformed("data segment %d without a memory", i)
		}
		if end := uint64(s.offset) + uint64(len(s.bytes)); end > uint64(m.pages.Min)*pageSize {
			return refuse("make the initial memory larger", "data segment %d ends at byte %d of %d", i, end, uint64(m.pages.Min)*pageSize)
		}
		// The standard empties such a segment once it was copied; wazero does not, and we could not keep it.
		if m.copied[uint32(i)] {
			return refuse("make the segment passive", "memory.init copies from data segment %d, which is gone once the memory was made", i)
		}
		active = append(active, s)
		if m.usesData {
			// An active segment is dropped once it was copied, which an empty passive one cannot be told from.
			kept = append(kept, 1, 0)
		}
	}
	m.image = paint(active, uint64(m.pages.Min)*pageSize)
	if m.usesData {
		m.writeData(append(appendU32(nil, uint32(n)), kept...))
	} else {
		m.writeData(nil)
	}
	return nil
}

// paint lays segments over each other in order, and returns the blocks that they touch.
func paint(segments []segment, size uint64) []Extent {
	touched := make([]bool, (size+block-1)/block)
	for _, s := range segments {
		if len(s.bytes) == 0 {
			continue
		}
		last := (uint64(s.offset) + uint64(len(s.bytes)) - 1) / block
		for i := uint64(s.offset) / block; i <= last; i++ {
			touched[i] = true
		}
	}
	var image []Extent
	for i := 0; i < len(touched); i++ {
		if !touched[i] {
			continue
		}
		first := i
		for i < len(touched) && touched[i] {
			i++
		}
		image = append(image, Extent{uint32(first) * block, make([]byte, (i-first)*block)})
	}
	for _, s := range segments {
		if len(s.bytes) == 0 {
			continue
		}
		i, found := slices.BinarySearchFunc(image, s.offset, func(e Extent, offset uint32) int {
			switch {
			case e.Offset > offset:
				return 1
			case uint64(e.Offset)+uint64(len(e.Bytes)) <= uint64(offset):
				return -1
			}
			return 0
		})
		if found {
			copy(image[i].Bytes[s.offset-image[i].Offset:], s.bytes)
		}
	}
	return image
}

// writeData writes the data section: kept, a whole section or nil, and with KeepData the image behind it.
func (m *module) writeData(kept []byte) {
	n := uint32(0)
	var rest []byte
	if kept != nil {
		r := reader{b: kept}
		n = r.u32()
		rest = kept[r.p:]
	}
	var tail []byte
	if m.lim.KeepData {
		for _, e := range m.image {
			n++
			tail = append(appendSigned(append(tail, 0, opI32Const), int64(int32(e.Offset))), opEnd)
			tail = append(appendU32(tail, uint32(len(e.Bytes))), e.Bytes...)
		}
		m.image = nil
	}
	if m.usesData {
		m.out[secDataCount] = appendU32(nil, n)
	}
	if n == 0 {
		return
	}
	m.out[secData] = append(append(appendU32(make([]byte, 0, 8+len(rest)+len(tail)), n), rest...), tail...)
}
