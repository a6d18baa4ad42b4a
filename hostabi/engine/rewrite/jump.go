package rewrite

// dispatch is the loop by which Go's compiler jumps within a function. It begins with blocks, one in the other, and
// a jump table over them by a local; a jump sets the local and goes to the loop's head:
//
//	loop                        i32.const 1    becomes, while
//	  block block block         local.set 0    that block is
//	    local.get 0             br $loop       open still:     br $block
//	    br_table 0 1 2
//
// A jump ahead becomes a branch to the end of the block that it comes to anyhow, which is faster than what it was, and
// needs no charge. A jump back takes fuel where it stands; so does any other branch to the loop, and its head takes
// nothing.
type dispatch struct {
	local  uint32
	to     []int   // the block for each value of the local, the last one for those above; 0 is the outermost
	base   int     // where the outermost block stands among the labels
	opened int     // blocks that were
	ends   []place // of the blocks that ended
}

// place is what a body's metering has come to.
type place struct{ pending, charges int32 }

// assignment is that of a constant to a local, and where it ends.
type assignment struct {
	local, value uint32
	end          int
}

// readDispatch looks ahead from a loop's head, and returns nil when it is another kind of loop.
func readDispatch(r reader, base int) *dispatch {
	n := 0
	for r.p+1 < len(r.b) && r.b[r.p] == opBlock && r.b[r.p+1] == blockEmpty {
		r.p += 2
		n++
	}
	if n == 0 || n > maxNesting || r.byte() != opLocalGet {
		return nil
	}
	d := &dispatch{local: r.u32(), base: base}
	if r.byte() != opBrTable {
		return nil
	}
	d.to = make([]int, r.count(1)+1)
	for i := range d.to {
		depth := r.u32()
		if int64(depth) >= int64(n) {
			return nil
		}
		d.to[i] = n - 1 - int(depth)
	}
	if r.bad != "" {
		return nil
	}
	d.ends = make([]place, n)
	return d
}

// dispatch returns what a block that is opened in l belongs to.
func (l *label) dispatch() *dispatch {
	d := l.jumps
	if d == nil {
		d = l.of
	}
	if d == nil || d.opened == len(d.ends) {
		return nil
	}
	d.opened++
	return d
}

// jump writes a branch to the head of d, where the local has just been assigned.
func (f *body) jump(d *dispatch, start int) {
	f.flush(start)
	block := d.to[min(uint64(f.assigned.value), uint64(len(d.to)-1))]
	if at := d.base + block; at < len(f.labels) && f.labels[at].of == d {
		depth := len(f.labels) - 1 - at
		f.out = appendU32(append(f.out, opBr), uint32(depth))
		f.replace()
		f.branch(depth)
	} else {
		round := f.pending
		if e := d.ends[block]; e.charges == f.charges { // the way to the block is no part of it
			round = max(round-e.pending, 0)
		}
		f.setCharge(f.take(), loopCharge(round))
	}
	f.pending, f.dead = 0, true
}
