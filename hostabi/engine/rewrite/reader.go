package rewrite

import (
	"encoding/binary"
	"unicode/utf8"
)

// reader reads a byte range of the module. The first failure sticks: later reads yield zeros and no bytes, so that
// loops over what is left end at once, and one look at bad after a group of reads is enough.
type reader struct {
	b   []byte
	p   int
	bad string // what failed first; empty while all is well
}

func (r *reader) fail(what string) {
	if r.bad == "" {
		r.bad = what
	}
	r.p = len(r.b)
}

func (r *reader) more() bool { return r.p < len(r.b) }

func (r *reader) byte() byte {
	if r.p >= len(r.b) {
		r.fail("unexpected end")
		return 0
	}
	c := r.b[r.p]
	r.p++
	return c
}

func (r *reader) bytes(n uint32) []byte {
	if uint64(n) > uint64(len(r.b)-r.p) {
		r.fail("unexpected end")
		return nil
	}
	s := r.b[r.p : r.p+int(n)]
	r.p += int(n)
	return s
}

func (r *reader) u32() uint32 {
	if r.p < len(r.b) && r.b[r.p] < 0x80 {
		r.p++
		return uint32(r.b[r.p-1])
	}
	return r.longU32()
}

func (r *reader) longU32() uint32 {
	var v uint32
	for shift := 0; shift < 35; shift += 7 {
		c := r.byte()
		if shift == 28 && c > 0x0f {
			break
		}
		v |= uint32(c&0x7f) << shift
		if c < 0x80 {
			return v
		}
	}
	r.fail("integer too long")
	return 0
}

// signed reads a signed integer of at most bits bits: 32, 33 or 64.
func (r *reader) signed(bits int) int64 {
	var v int64
	for shift := 0; shift < bits; shift += 7 {
		c := r.byte()
		if shift == 63 && c != 0 && c != 0x7f {
			break
		}
		v |= int64(c&0x7f) << shift
		if c < 0x80 {
			if shift < 57 {
				v = v << (57 - shift) >> (57 - shift)
			}
			if bits < 64 && (v < -1<<(bits-1) || v >= 1<<(bits-1)) {
				break
			}
			return v
		}
	}
	r.fail("integer too long")
	return 0
}

// count reads the length of a vector whose items take at least size bytes each, so that nothing is allocated for
// items that cannot follow.
func (r *reader) count(size int) int {
	n := r.u32()
	if uint64(n)*uint64(size) > uint64(len(r.b)-r.p) {
		r.fail("vector longer than its section")
		return 0
	}
	return int(n)
}

func (r *reader) name() string {
	s := r.bytes(r.u32())
	if !utf8.Valid(s) {
		r.fail("name is not UTF-8")
		return ""
	}
	return string(s)
}

func appendU32(b []byte, v uint32) []byte { return binary.AppendUvarint(b, uint64(v)) }

func appendSigned(b []byte, v int64) []byte {
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func appendName(b []byte, s string) []byte { return append(appendU32(b, uint32(len(s))), s...) }
