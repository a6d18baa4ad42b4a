package rewrite

import (
	"errors"
	"fmt"
)

func inFunction(err error, index int) error {
	var r *Refusal
	if errors.As(err, &r) {
		return &Refusal{Problem: fmt.Sprintf("function %d: %s", index, r.Problem), Fix: r.Fix}
	}
	return err
}

// instruction reads one instruction, checks what it names, and writes what has to stand before, after or instead
// of it.
func (f *body) instruction() error {
	start := f.r.p
	op := f.r.byte()
	f.pending += cost(op)
	if err := f.operands(op, start); err != nil || f.r.bad != "" {
		return err
	}
	if f.pending > longStretch && !f.dead && len(f.labels) > 0 {
		f.flush(f.r.p)
		length := f.pending
		f.setCharge(f.charge(), length)
	}
	return nil
}

func (f *body) operands(op byte, start int) error {
	r, m := &f.r, f.m
	switch {
	case op >= 0x45 && op <= 0xc4, op == 0x1a, op == opSelect, op == opNop, op == opRefIsNull:
	case op >= 0x28 && op <= 0x3e:
		return f.memoryArgument()
	case op == opLocalGet || op == opLocalSet || op == opLocalTee:
		i := r.u32()
		if i >= f.locals {
			return malformed("local %d of %d", i, f.locals)
		}
		if op == opLocalSet && start == f.constant.end {
			f.assigned = assignment{i, f.constant.value, r.p}
		}
	case op == opI32Const:
		f.constant = assignment{value: uint32(r.signed(32)), end: r.p}
	case op == opI64Const:
		r.signed(64)
	case op == opBlock || op == opLoop || op == opIf:
		return f.open(op)
	case op == opElse:
		top := &f.labels[len(f.labels)-1]
		if top.op != opIf {
			return malformed("else without if")
		}
		f.branch(0)
		top.op, f.pending, f.dead = opElse, top.start, false
	case op == opEnd:
		f.end()
	case op == opBr || op == opBrIf || op == opBrTable:
		return f.branches(op, start)
	case op == opReturn:
		f.flush(start)
		f.branch(len(f.labels) - 1)
		f.out = appendU32(append(f.out, opBr), uint32(len(f.labels)-1))
		f.replace()
		f.pending, f.dead = 0, true
	case op == opUnreachable:
		f.pending, f.dead = 0, true
	case op == opCall:
		f.flush(start)
		i := r.u32()
		if i >= m.funcCount() {
			return malformed("call of function %d of %d", i, m.funcCount())
		}
		f.out = appendU32(append(f.out, op), m.shift(i))
		f.replace()
		if int(i) < len(m.imports) {
			f.pending += hostCost
		} else {
			f.calls = true
			f.pending += callCost
		}
	case op == opCallIndirect:
		f.calls = true
		f.pending += callCost
		if t := r.u32(); int(t) >= len(m.types) {
			return malformed("indirect call of type %d of %d", t, len(m.types))
		}
		return f.tableIndex()
	case op == opGlobalGet || op == opGlobalSet:
		if i := r.u32(); int(i) >= len(m.globals) {
			return malformed("global %d of %d", i, len(m.globals))
		}
	case op == opTableGet:
		return f.tableIndex()
	case op == opTableSet:
		m.unfreeze("table.set")
		return f.tableIndex()
	case op == opMemorySize || op == opMemoryGrow:
		if op == opMemoryGrow {
			f.bulk(helperPages, start)
		}
		return f.memoryIndex()
	case op == opF32Const:
		r.bytes(4)
	case op == opF64Const:
		r.bytes(8)
	case op == opSelectTyped:
		if n := r.byte(); n != 1 && r.bad == "" {
			return malformed("select of %d types", n)
		}
		return checkValueType(r.byte())
	case op == opRefNull:
		if t := r.byte(); t != FuncRef && t != ExternRef && r.bad == "" {
			return proposal("typed function references", "ref.null of type %#x", t)
		}
	case op == opRefFunc:
		f.flush(start)
		i := r.u32()
		if i >= m.funcCount() {
			return malformed("reference to function %d of %d", i, m.funcCount())
		}
		f.out = appendU32(append(f.out, op), m.shift(i))
		f.replace()
	case op == opMisc:
		return f.misc(start)
	case op == opVector:
		return f.vector()
	default:
		if r.bad != "" {
			return nil
		}
		if p := extension(op); p != "" {
			return proposal(p, "opcode %#x", op)
		}
		return malformed("opcode %#x", op)
	}
	return nil
}

func (f *body) open(op byte) error {
	r := &f.r
	empty := false
	if r.more() && r.b[r.p]&0xc0 == 0x40 {
		if t := r.byte(); t == blockEmpty {
			empty = true
		} else {
			if err := checkValueType(t); err != nil {
				return err
			}
		}
	} else if t := r.signed(33); (t < 0 || t >= int64(len(f.m.types))) && r.bad == "" {
		return malformed("block of type %d of %d", t, len(f.m.types))
	}
	if len(f.labels) > maxNesting {
		return refuse("split the function", "it nests more than %d blocks", maxNesting)
	}
	if op == opLoop {
		if f.loops++; f.loops > maxLoops {
			return refuse("split the function", "it has more than %d loops", maxLoops)
		}
	}
	l := label{op: op}
	if !f.dead {
		l.start = f.pending
		if op == opLoop && empty {
			l.jumps = readDispatch(*r, len(f.labels)+1)
		}
		if op == opLoop && l.jumps == nil {
			f.flush(r.p)
			l.far, l.patch = f.pending, f.charge()
		}
	}
	if op == opBlock {
		l.of = f.labels[len(f.labels)-1].dispatch()
	}
	f.labels = append(f.labels, l)
	return nil
}

func (f *body) end() {
	l := f.labels[len(f.labels)-1]
	f.labels = f.labels[:len(f.labels)-1]
	if f.dead {
		f.pending = 0
	}
	f.dead = false
	switch l.op {
	case opLoop:
		if l.patch != 0 {
			f.setCharge(l.patch, loopCharge(l.far))
		}
		return
	case opIf:
		f.pending = max(f.pending, l.start) // past the arm that is not there
	}
	f.pending = max(f.pending, l.far)
	if l.of != nil {
		l.of.ends[len(f.labels)-l.of.base] = place{f.pending, f.charges}
	}
}

// branch notes that this place continues at an enclosing label.
func (f *body) branch(depth int) {
	if l := &f.labels[len(f.labels)-1-depth]; !f.dead {
		l.far = max(l.far, f.pending)
	}
}

func (f *body) branches(op byte, start int) error {
	r := &f.r
	n, back := 1, false
	if op == opBrTable {
		n = r.count(1) + 1
	}
	p := r.p
	for range n {
		depth := r.u32()
		if int64(depth) >= int64(len(f.labels)) {
			return malformed("branch to block %d of %d", depth, len(f.labels))
		}
		if d := f.labels[len(f.labels)-1-int(depth)].jumps; d != nil && !f.dead {
			if op == opBr && f.assigned.end == start && f.assigned.local == d.local {
				f.jump(d, start)
				return nil
			}
			back = true
		}
	}
	if r.bad != "" {
		return nil
	}
	if back {
		f.flush(start)
		round := f.pending
		f.setCharge(f.charge(), loopCharge(round))
	}
	for targets := (reader{b: r.b[:r.p], p: p}); targets.more(); {
		f.branch(int(targets.u32()))
	}
	if op != opBrIf {
		f.pending, f.dead = 0, true
	}
	return nil
}

// bulk charges for an operation whose length is on top of the stack.
func (f *body) bulk(helper int, start int) {
	f.flush(start)
	f.out = appendU32(append(f.out, opCall), f.m.helper(helper))
}

// move calls a helper instead of the operation.
func (f *body) move(helper int, start int) error {
	err := f.memoryIndex()
	f.bulk(helper, start)
	f.replace()
	return err
}

func (f *body) tableIndex() error {
	if i := f.r.u32(); int64(i) >= int64(f.m.tables) && f.r.bad == "" {
		return malformed("table %d of %d", i, f.m.tables)
	}
	return nil
}

// memoryIndex reads the one byte that stands for the only memory.
func (f *body) memoryIndex() error {
	if i := f.r.byte(); i != 0 && f.r.bad == "" {
		return proposal("multiple memories", "memory %d", i)
	}
	if !f.m.memory {
		return malformed("memory instruction without a memory")
	}
	return nil
}

func (f *body) memoryArgument() error {
	if align := f.r.u32(); align >= 32 {
		return proposal("multiple memories", "memory access with alignment %#x", align)
	}
	f.r.u32()
	if !f.m.memory {
		return malformed("memory instruction without a memory")
	}
	return nil
}

func (f *body) misc(start int) error {
	r, m := &f.r, f.m
	sub := r.byte()
	switch sub {
	case 0, 1, 2, 3, 4, 5, 6, 7: // saturating conversions
		return nil
	case miscMemoryInit, miscDataDrop:
		m.usesData = true
		i := r.u32()
		if int64(i) >= int64(m.data) && r.bad == "" {
			return malformed("data segment %d of %d", i, max(m.data, 0))
		}
		if sub == miscDataDrop {
			return nil
		}
		m.copied[i] = true
		f.bulk(helperBytes, start)
		return f.memoryIndex()
	case miscMemoryCopy:
		if err := f.memoryIndex(); err != nil {
			return err
		}
		return f.move(helperCopy, start)
	case miscMemoryFill:
		return f.move(helperFill, start)
	case miscElemDrop, miscTableInit:
		if i := r.u32(); int64(i) >= int64(m.elems) && r.bad == "" {
			return malformed("element segment %d of %d", i, m.elems)
		}
		if sub == miscElemDrop {
			return nil
		}
		m.unfreeze("table.init")
	case miscTableCopy:
		m.unfreeze("table.copy")
		if err := f.tableIndex(); err != nil {
			return err
		}
	case miscTableGrow:
		m.unfreeze("table.grow")
	case miscTableFill:
		m.unfreeze("table.fill")
	case miscTableSize:
		return f.tableIndex()
	default:
		if r.bad != "" {
			return nil
		}
		return malformed("opcode 0xfc %d", sub)
	}
	f.bulk(helperTable, start)
	return f.tableIndex()
}

// vector reads a SIMD instruction. Its number must be encoded in as few bytes as it needs: the compiler behind
// reads one byte.
func (f *body) vector() error {
	r := &f.r
	sub := uint32(r.byte())
	if sub >= 0x80 {
		if hi := r.byte(); hi != 1 && r.bad == "" {
			if hi > 1 && hi < 0x80 {
				return proposal("relaxed SIMD", "opcode 0xfd %#x", sub&0x7f|uint32(hi)<<7)
			}
			return malformed("opcode 0xfd %#x %#x", sub, hi)
		}
	}
	switch {
	case r.bad != "":
		return nil
	case sub <= 11 || sub == 92 || sub == 93: // loads and stores
		return f.memoryArgument()
	case sub == 12 || sub == 13: // constant, shuffle
		r.bytes(16)
	case sub >= 21 && sub <= 34: // lanes
		r.byte()
	case sub >= 84 && sub <= 91: // lanes from and to memory
		if err := f.memoryArgument(); err != nil {
			return err
		}
		r.byte()
	case sub >= 14 && sub <= 255 && !unassigned[sub]:
	default:
		return malformed("opcode 0xfd %d", sub)
	}
	return nil
}

// unassigned are the gaps in the numbers of SIMD instructions.
var unassigned = [256]bool{154: true, 162: true, 165: true, 166: true, 175: true, 176: true, 178: true, 179: true, 180: true, 187: true, 194: true,
	197: true, 198: true, 207: true, 208: true, 210: true, 211: true, 212: true, 226: true, 238: true}
