package direct

import "errors"

// errUnfit is panicked when a module is not one whose table can be taken out. Module recovers it.
var errUnfit = errors.New("unfit")

// reader reads the binary format.
type reader struct {
	b []byte
	p int
}

func (r *reader) unfit()     { panic(errUnfit) }
func (r *reader) more() bool { return r.p < len(r.b) }

func (r *reader) byte() byte {
	if r.p >= len(r.b) {
		r.unfit()
	}
	r.p++
	return r.b[r.p-1]
}

func (r *reader) take(n int) []byte {
	if n > len(r.b)-r.p {
		r.unfit()
	}
	r.p += n
	return r.b[r.p-n : r.p]
}

func (r *reader) skip(n int) { r.take(n) }

// u32 reads an unsigned number.
func (r *reader) u32() uint32 {
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		c := r.byte()
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return uint32(v)
		}
	}
	r.unfit()
	return 0
}

// count reads a number of bytes or items, which cannot be more than the bytes that are left.
func (r *reader) count() int {
	n := r.u32()
	if int64(n) > int64(len(r.b)-r.p) {
		r.unfit()
	}
	return int(n)
}

// leb skips numbers.
func (r *reader) leb(n int) {
	for range n {
		for r.byte() >= 0x80 {
		}
	}
}
