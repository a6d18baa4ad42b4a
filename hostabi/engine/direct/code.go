package direct

import "encoding/binary"

const (
	opUnreachable  = 0x00
	opBlock        = 0x02
	opEnd          = 0x0b
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opLocalGet     = 0x20
	opI32Const     = 0x41
	opI32Sub       = 0x6b
	blockEmpty     = 0x40
)

// rewriteCode makes each call_indirect a call of its type's dispatcher.
func (m *module) rewriteCode(body []byte) []byte {
	r := reader{b: body}
	n := r.count()
	out := make([]byte, 0, len(body)+len(body)/50)
	out = binary.AppendUvarint(out, uint64(n))
	var function []byte
	for range n {
		code := reader{b: r.take(r.count())}
		for range code.count() { // locals
			code.leb(1)
			code.byte()
		}
		function = function[:0]
		copied := 0
		for code.more() {
			start := code.p
			if code.byte() != opCallIndirect {
				code.p = start
				code.instruction()
				continue
			}
			function = append(function, code.b[copied:start]...)
			typ := code.u32()
			code.leb(1)
			copied = code.p
			function = append(function, opCall)
			function = binary.AppendUvarint(function, uint64(m.dispatcher(typ)))
		}
		function = append(function, code.b[copied:]...)
		out = binary.AppendUvarint(out, uint64(len(function)))
		out = append(out, function...)
	}
	return out
}

// instruction skips one instruction. One that sees the table makes the module unfit.
func (r *reader) instruction() {
	switch op := r.byte(); {
	case op >= 0x02 && op <= 0x04, op == 0x0c, op == 0x0d, op == opCall, op >= 0x20 && op <= 0x24, op == 0x41, op == 0x42, op == 0xd0:
		r.leb(1)
	case op == opBrTable:
		r.leb(r.count() + 1)
	case op == 0x1c:
		r.skip(r.count())
	case op >= 0x28 && op <= 0x3e:
		r.leb(2)
	case op == 0x3f || op == 0x40:
		r.byte()
	case op == 0x43:
		r.skip(4)
	case op == 0x44:
		r.skip(8)
	case op == 0xfc:
		switch sub := r.u32(); {
		case sub <= 7:
		case sub == 8, sub == 10: // memory.init, memory.copy
			r.leb(2)
		case sub == 9, sub == 11: // data.drop, memory.fill
			r.leb(1)
		default:
			r.unfit()
		}
	case op == 0xfd:
		switch sub := r.u32(); {
		case sub <= 11, sub == 92, sub == 93:
			r.leb(2)
		case sub == 12, sub == 13:
			r.skip(16)
		case sub >= 21 && sub <= 34:
			r.byte()
		case sub >= 84 && sub <= 91:
			r.leb(2)
			r.byte()
		case sub > 0xff:
			r.unfit()
		}
	case op <= 0x01, op == 0x05, op == 0x0b, op == 0x0f, op == 0x1a, op == 0x1b, op >= 0x45 && op <= 0xc4, op == 0xd1:
	default: // table.get, table.set, ref.func, and what this package does not know
		r.unfit()
	}
}

// dispatcher returns the number of the function that dispatches for a type.
func (m *module) dispatcher(typ uint32) uint32 {
	if int(typ) >= len(m.types) {
		panic(errUnfit)
	}
	signature := string(m.types[typ])
	i, ok := m.byType[signature]
	if !ok {
		r := reader{b: m.types[typ]}
		params := r.take(r.count())
		results := r.take(r.count())
		i = uint32(len(m.dispatchers))
		m.dispatchers = append(m.dispatchers, dispatcher{params, results, signature})
		m.byType[signature] = i
	}
	return uint32(len(m.functions)) + i
}

func (m *module) withDispatchers(body []byte) []byte {
	entries := map[string][]int{} // indices of the table by the signature of what is there
	for i, e := range m.table {
		if !e.filled {
			continue
		}
		if t := m.functions[e.function]; int(t) < len(m.types) {
			entries[string(m.types[t])] = append(entries[string(m.types[t])], i)
		}
	}
	var items [][]byte
	targets := 0
	for _, d := range m.dispatchers {
		code, n := m.dispatch(d, entries)
		if targets += n; targets > maxTargets {
			panic(errUnfit)
		}
		items = append(items, append(binary.AppendUvarint(nil, uint64(len(code))), code...))
	}
	return grown(body, items...)
}

// dispatch makes a dispatcher's body, and says how many targets its jump table has:
//
//	block $trap  block $last ... block $first
//	  br_table (index - lowest) $first ... $last $trap
//	end $first   local.get each parameter   call   return
//	...
//	end $trap    unreachable
func (m *module) dispatch(d dispatcher, entries map[string][]int) (code []byte, targets int) {
	code = []byte{0} // no locals
	of := entries[d.signature]
	if len(of) == 0 {
		return append(code, opUnreachable, opEnd), 0
	}
	lowest := of[0]
	targets = of[len(of)-1] - lowest + 1
	for range len(of) + 1 {
		code = append(code, opBlock, blockEmpty)
	}
	code = binary.AppendUvarint(append(code, opLocalGet), uint64(len(d.params)))
	code = appendSigned(append(code, opI32Const), int32(lowest))
	code = append(code, opI32Sub, opBrTable)
	code = binary.AppendUvarint(code, uint64(targets))
	next, trap := 0, len(of)
	for i := range targets {
		label := trap
		if of[next] == lowest+i {
			label, next = next, next+1
		}
		code = binary.AppendUvarint(code, uint64(label))
	}
	code = binary.AppendUvarint(code, uint64(trap))
	for _, index := range of {
		code = append(code, opEnd)
		for p := range d.params {
			code = binary.AppendUvarint(append(code, opLocalGet), uint64(p))
		}
		code = append(binary.AppendUvarint(append(code, opCall), uint64(m.table[index].function)), opReturn)
	}
	return append(code, opEnd, opUnreachable, opEnd), targets
}

func appendSigned(b []byte, v int32) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}
