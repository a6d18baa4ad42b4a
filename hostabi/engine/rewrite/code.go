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

// label is an open block. The counts are of instructions since the last addition to the function's count, on the
// longest path.
type label struct {
	op    byte
	end   int32 // at branches to its end; -1 without one
	start int32 // at an if, for its other arm
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

	out     []byte // the instructions, rewritten
	from    int    // what of r.b is not yet in out
	labels  []label
	pending int32 // instructions on the longest path to here that no addition covers
	dead    bool  // nothing reaches here
	counts  bool  // the function has a count: local number f.locals
	calls   bool  // the function calls code of the module
}

func (f *body) rewrite(sig Signature, code []byte) error {
	*f = body{m: f.m, r: reader{b: code}, sig: sig, out: f.out[:0], labels: f.labels[:0], size: len(code)}
	if err := f.readLocals(); err != nil {
		return err
	}
	f.from = f.r.p
	f.labels = append(f.labels, label{op: opBlock, end: -1})
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

// add adds what is pending to the function's count.
func (f *body) add() {
	f.counts = true
	f.out = appendU32(append(f.out, opLocalGet), f.locals)
	f.out = appendSigned(append(f.out, opI32Const), int64(f.pending))
	f.out = append(f.out, opI32Add)
	f.out = appendU32(append(f.out, opLocalSet), f.locals)
	f.pending = 0
}

// settle spends the count when it is high.
func (f *body) settle() {
	f.counts = true
	f.out = appendU32(append(f.out, opLocalGet), f.locals)
	f.out = appendSigned(append(f.out, opI32Const), spendAt)
	f.out = append(f.out, opI32GtU, opIf, blockEmpty)
	f.out = appendU32(append(f.out, opLocalGet), f.locals)
	f.out = appendU32(append(f.out, opCall), f.m.helper(helperSpend))
	f.out = appendU32(append(f.out, opLocalSet), f.locals)
	f.out = append(f.out, opEnd)
}

// appendTo appends the rewritten function with its size.
func (f *body) appendTo(b []byte) []byte {
	decls, extra := f.localDecls, []byte(nil)
	if f.counts {
		decls, extra = decls+1, []byte{1, I32}
	}
	var head, tail []byte
	head = append(append(appendU32(head, decls), f.localBytes...), extra...)
	frame := int64(0)
	if f.calls {
		frame = frameCost(int(f.locals), f.size) << 32
	}
	if f.calls || f.counts || f.pending > smallLeaf {
		head = f.appendEntry(head, frame+int64(f.pending))
	}
	if f.calls || f.counts {
		head = append(head, opBlock)
		switch len(f.sig.Results) {
		case 0:
			head = append(head, blockEmpty)
		case 1:
			head = append(head, f.sig.Results[0])
		default:
			head = appendSigned(head, int64(f.m.addType(f.sig.Results)))
		}
		tail = append(f.appendExit(tail, frame), opEnd)
	}
	b = appendU32(b, uint32(len(head)+len(f.out)+len(tail)))
	return append(append(append(b, head...), f.out...), tail...)
}

// appendEntry charges for the frame and for the way to the function's end.
func (f *body) appendEntry(b []byte, charge int64) []byte {
	b = appendSigned(append(f.m.appendCounter(b, opGlobalGet), opI64Const), charge)
	b = f.m.appendCounter(append(b, opI64Sub), opGlobalSet)
	if !f.calls {
		return b // its callers look at the counter soon enough
	}
	b = appendSigned(append(f.m.appendCounter(b, opGlobalGet), opI64Const), counterSigns)
	return f.m.appendYieldIf(append(b, opI64And, opI64Const, 0, opI64Ne))
}

// appendExit gives the frame back and charges what is counted.
func (f *body) appendExit(b []byte, frame int64) []byte {
	b = f.m.appendCounter(b, opGlobalGet)
	if frame != 0 {
		b = append(appendSigned(append(b, opI64Const), frame), opI64Add)
	}
	if f.counts {
		b = append(appendU32(append(b, opLocalGet), f.locals), opI64ExtendU32, opI64Sub)
	}
	return f.m.appendCounter(b, opGlobalSet)
}
