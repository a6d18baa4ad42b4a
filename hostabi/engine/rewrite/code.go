package rewrite

import (
	"github.com/towpath/towpath/hostabi"
)

// readCode rewrites the function bodies one by one into the output's code section.
func (m *module) readCode(r *reader) error {
	n := r.count(4)
	if n != len(m.funcs) && r.bad == "" {
		return malformed("%d functions with %d bodies", len(m.funcs), n)
	}
	out := make([]byte, 0, len(r.b)+len(r.b)/4+64)
	f := &body{m: m}
	for i := range n {
		code := r.bytes(r.u32())
		if r.bad != "" {
			return nil
		}
		index := i + len(m.imports)
		if len(code) > hostabi.MaxBody {
			return refuse("split the function", "function %d has %d bytes, the limit is %d", index, len(code), hostabi.MaxBody)
		}
		if err := f.rewrite(m.types[m.funcs[i]], code); err != nil {
			return inFunction(err, index)
		}
		out = f.appendTo(out)
	}
	m.codeCount = n
	m.out[secCode] = out
	return nil
}

// label is an open block. Lengths are in instructions since the last charge, on the longest path.
type label struct {
	op    byte
	start int32 // length at an if, for its other arm
	far   int32 // longest length at branches to it: to a loop's head, else to the block's end
	patch int   // where in out the loop head's charge stands; 0 without one

	jumps *dispatch // of a loop that is one
	of    *dispatch // of a block: the one that it belongs to
}

// body rewrites one function.
type body struct {
	m   *module
	r   reader
	sig Signature

	localBytes []byte // declarations without their count
	localDecls uint32
	locals     uint32 // parameters and locals
	size       int

	head, tail []byte // what stands before and behind them
	out        []byte // the instructions, rewritten
	from       int    // what of r.b is not yet in out
	labels     []label
	pending    int32 // instructions on the longest path to here since the last charge
	dead       bool  // nothing reaches here
	charges    int32 // so far, in straight code and at the heads of loops
	loops      int
	calls      bool // the function calls code of the module
	counts     bool // it needs a local for the counter

	constant assignment // the last i32.const, of no local yet
	assigned assignment // the last local.set of such
}

func (f *body) rewrite(sig Signature, code []byte) error {
	*f = body{m: f.m, r: reader{b: code}, sig: sig, out: f.out[:0], head: f.head, tail: f.tail, labels: f.labels[:0], size: len(code)}
	if err := f.readLocals(); err != nil {
		return err
	}
	f.from = f.r.p
	f.labels = append(f.labels, label{op: opBlock})
	for f.r.more() && len(f.labels) > 0 {
		if err := f.instruction(); err != nil {
			return err
		}
	}
	switch {
	case f.r.bad != "":
		return malformed("byte %d of %d: %s", f.r.p, f.size, f.r.bad)
	case len(f.labels) > 0:
		return malformed("missing end")
	case f.r.more():
		return malformed("code after its end")
	}
	f.flush(f.r.p)
	return nil
}

func (f *body) readLocals() error {
	r := &f.r
	f.localDecls = uint32(r.count(2))
	start := r.p
	total := uint64(len(f.sig.Params))
	for range f.localDecls {
		n, t := r.u32(), r.byte()
		if r.bad != "" {
			break
		}
		if err := checkValueType(t); err != nil {
			return err
		}
		if total += uint64(n); total > maxLocals {
			return refuse("split the function", "it has more than %d locals", maxLocals)
		}
	}
	f.localBytes, f.locals = r.b[start:r.p], uint32(total)
	return nil
}

// flush copies the original up to p.
func (f *body) flush(p int) {
	f.out = append(f.out, f.r.b[f.from:p]...)
	f.from = p
}

// replace drops the original from the last flush up to the reader's place: the caller has appended something else.
func (f *body) replace() { f.from = f.r.p }

// charge is take for all that is pending: what follows begins anew.
func (f *body) charge() int {
	f.pending = 0
	f.charges++
	return f.take()
}

// take takes fuel and yields when none is left. It returns where the amount stands: two bytes, set by setCharge.
func (f *body) take() int {
	b := append(f.m.appendCounter(f.out, opGlobalGet), opI64Const, 0x80, 0)
	patch := len(b) - 2
	f.out = f.m.appendYieldIf(append(f.appendSet(b), opI32WrapI64, opI32Const, 0, opI32LtS))
	return patch
}

// appendSet sets the counter to the difference of the two i64 on the stack, and leaves it there. The local costs less
// than another look at the global.
func (f *body) appendSet(b []byte) []byte {
	f.counts = true
	b = appendU32(append(b, opI64Sub, opLocalTee), f.locals)
	return appendU32(append(f.m.appendCounter(b, opGlobalSet), opLocalGet), f.locals)
}

// setCharge writes the amount of a charge, which is below 8192: two bytes of a signed integer.
func (f *body) setCharge(patch int, amount int32) {
	f.out[patch], f.out[patch+1] = byte(amount)|0x80, byte(amount>>7)
}

// appendTo appends the rewritten function with its size. What is pending here, the way to the function's end, is
// charged at its entry; a small leaf's is in the price of its call.
func (f *body) appendTo(b []byte) []byte {
	f.counts = f.counts || f.calls
	head := append(appendU32(f.head[:0], f.localDecls), f.localBytes...)
	if f.counts {
		head = append(append(appendU32(f.head[:0], f.localDecls+1), f.localBytes...), 1, I64)
	}
	tail := f.tail[:0]
	switch {
	case f.calls:
		frame := frameCost(int(f.locals), f.size) << 32
		head = f.appendEntry(head, frame+int64(f.pending))
		head = f.appendBlockType(append(head, opBlock))
		tail = append(appendSigned(append(f.m.appendCounter(tail, opGlobalGet), opI64Const), frame), opI64Add)
		tail = append(f.m.appendCounter(tail, opGlobalSet), opEnd)
	case f.pending > smallLeaf:
		head = f.appendTakeUnchecked(head, int64(f.pending))
	}
	f.head, f.tail = head, tail
	b = appendU32(b, uint32(len(head)+len(f.out)+len(tail)))
	return append(append(append(b, head...), f.out...), tail...)
}

// appendBlockType writes the type of the block around the whole function: its results. Branches to the function's
// end, and returns, leave that block and so come by the code that gives the frame back.
func (f *body) appendBlockType(b []byte) []byte {
	switch len(f.sig.Results) {
	case 0:
		return append(b, blockEmpty)
	case 1:
		return append(b, f.sig.Results[0])
	}
	return appendSigned(b, int64(f.m.addType(f.sig.Results)))
}

// appendTakeUnchecked takes from the counter. The next charge, at the latest one stretch away, looks at it.
func (f *body) appendTakeUnchecked(b []byte, amount int64) []byte {
	b = appendSigned(append(f.m.appendCounter(b, opGlobalGet), opI64Const), amount)
	return f.m.appendCounter(append(b, opI64Sub), opGlobalSet)
}

// appendEntry takes fuel and a frame, and yields when either is used up.
func (f *body) appendEntry(b []byte, amount int64) []byte {
	b = f.appendSet(appendSigned(append(f.m.appendCounter(b, opGlobalGet), opI64Const), amount))
	b = appendSigned(append(b, opI64Const), counterSigns)
	return f.m.appendYieldIf(append(b, opI64And, opI64Const, 0, opI64Ne))
}
