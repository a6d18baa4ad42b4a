package rewrite

import "slices"

func (m *module) readTypes(r *reader) error {
	n := r.count(3)
	if n > maxTypes {
		return refuse("split the module", "module has %d types, the limit is %d", n, maxTypes)
	}
	m.types = make([]Signature, 0, n)
	for i := range n {
		if form := r.byte(); form != 0x60 && r.bad == "" {
			if form == 0x4e || form == 0x4f || form == 0x50 || form == 0x5e || form == 0x5f {
				return proposal("garbage collection", "type %d is no function", i)
			}
			return malformed("type %d has form %#x", i, form)
		}
		var s Signature
		var err error
		if s.Params, err = readValueTypes(r); err != nil {
			return err
		}
		if s.Results, err = readValueTypes(r); err != nil {
			return err
		}
		m.types = append(m.types, s)
	}
	m.out[secType] = r.b[:r.p]
	return nil
}

func readValueTypes(r *reader) ([]byte, error) {
	n := r.count(1)
	if n > maxValues {
		return nil, refuse("pass a pointer instead", "a type has %d parameters or results, the limit is %d", n, maxValues)
	}
	ts := r.bytes(uint32(n))
	for _, t := range ts {
		if err := checkValueType(t); err != nil {
			return nil, err
		}
	}
	return ts, nil
}

func checkValueType(t byte) error {
	switch {
	case isValueType(t):
		return nil
	case t == 0x63 || t == 0x64:
		return proposal("typed function references", "module has a typed reference")
	case t == 0x69:
		return proposal("exception handling", "module has an exception reference")
	}
	return malformed("value type %#x", t)
}

// Types that the rewrite adds after the module's own, in this order.
var addedTypes = [...]Signature{
	typeYield:  {},
	typeHelper: {Params: []byte{I32}, Results: []byte{I32}},
	typeMove:   {Params: []byte{I32, I32, I32}},
}

const (
	typeYield = iota
	typeHelper
	typeMove
)

// addType returns the index of a type () -> results.
func (m *module) addType(results []byte) uint32 {
	if i, ok := m.results[string(results)]; ok {
		return i
	}
	if m.results == nil {
		m.results = map[string]uint32{}
	}
	i := uint32(len(m.types) + len(addedTypes) + len(m.extra))
	m.results[string(results)] = i
	m.extra = append(m.extra, Signature{Results: results})
	return i
}

func (m *module) writeTypes() {
	r := reader{b: m.out[secType]}
	r.u32()
	b := make([]byte, 0, len(r.b)+32)
	b = appendU32(b, uint32(len(m.types)+len(addedTypes)+len(m.extra)))
	b = append(b, r.b[r.p:]...)
	for _, s := range slices.Concat(addedTypes[:], m.extra) {
		b = append(b, 0x60)
		b = append(appendU32(b, uint32(len(s.Params))), s.Params...)
		b = append(appendU32(b, uint32(len(s.Results))), s.Results...)
	}
	m.out[secType] = b
}
