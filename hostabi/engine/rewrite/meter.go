package rewrite

import "github.com/towpath/towpath/hostabi"

// What the counter starts with, and the grain of metering. See doc.go for the whole scheme.
const (
	// Slice is the fuel with which a module begins: about as many instructions.
	Slice = 500_000
	// StackBudget is the stack with which a module begins, in bytes of frameCost.
	StackBudget = 16 << 20

	longStretch = 1000 // most instructions on any path between two charges
	smallLeaf   = 10   // a leaf with fewer instructions is paid for by its call
	callCost    = smallLeaf
	hostCost    = 50

	bytesShift = 3  // a bulk operation costs 1 for 8 bytes
	pageShift  = 12 // a page of new memory costs half of filling it
	bulkCost   = 64 // any bulk operation

	piece = 256 << 10 // bytes that are filled or copied between two looks at the counter
)

// frameCost estimates the native stack of one call, from above for all but contrived code.
func frameCost(locals, size int) int64 { return int64(128 + 8*locals + size/2) }

// cost is what an instruction counts beside its operands' instructions.
func cost(op byte) int32 {
	switch {
	case op == opBlock || op == opLoop || op == opEnd || op == opNop:
		return 0
	case op >= 0x6d && op <= 0x70 || op >= 0x7f && op <= 0x82 || op == 0x91 || op == 0x95 || op == 0x9f || op == 0xa3:
		return 4 // division, remainder, square root
	}
	return 1
}

// loopCharge is what one round of a loop costs, looking at the counter included, whose longest round has that many
// instructions. In a long one, the longest round says little about the usual one.
func loopCharge(longest int32) int32 { return 2 + min(longest, 64+longest/8) }

// The counter is negative in either half: these are the two sign bits.
var counterSigns = int64(-1<<63 | 1<<31)

// A helper is a function that the rewrite adds.
type helper struct {
	name string
	typ  int // of addedTypes
	body func(m *module, b []byte) []byte
}

const (
	helperBytes = iota // takes the length of a bulk operation in bytes, returns it
	helperPages        // takes the pages of a memory.grow, returns them
	helperTable        // takes the entries of a table operation, returns them
	helperFill         // is memory.fill
	helperCopy         // is memory.copy
)

var helpers = [...]helper{
	helperBytes: {"bytes", typeHelper, func(m *module, b []byte) []byte {
		b = append(m.appendCounter(b, opGlobalGet), opLocalGet, 0, opI64ExtendU32, opI64Const, bytesShift, opI64ShrU)
		return m.appendBulk(b)
	}},
	helperPages: {"pages", typeHelper, func(m *module, b []byte) []byte {
		b = appendAtMost(m.appendCounter(b, opGlobalGet), int64(m.pages.Max))
		b = append(b, opI64ExtendU32, opI64Const, pageShift, opI64Shl)
		return m.appendBulk(b)
	}},
	helperTable: {"entries", typeHelper, func(m *module, b []byte) []byte {
		b = appendAtMost(m.appendCounter(b, opGlobalGet), hostabi.MaxTable)
		return m.appendBulk(append(b, opI64ExtendU32))
	}},
	helperFill: {"fill", typeMove, func(m *module, b []byte) []byte {
		fill := []byte{opMisc, miscMemoryFill, 0}
		b = m.appendPieces(b, []byte{0}, func(b []byte) []byte {
			b = append(appendPiece(append(b, opLocalGet, 0, opLocalGet, 1)), fill...)
			return appendStep(appendStep(b, 0, opI32Add), 2, opI32Sub)
		})
		return append(append(b, opLocalGet, 0, opLocalGet, 1, opLocalGet, 2), fill...)
	}},
	helperCopy: {"copy", typeMove, func(m *module, b []byte) []byte {
		copied := []byte{opMisc, miscMemoryCopy, 0, 0}
		b = m.appendPieces(b, []byte{0, 1}, func(b []byte) []byte { // what overlaps is read before it is written
			b = appendStep(b, 2, opI32Sub)
			b = append(b, opLocalGet, 0, opLocalGet, 1, opI32GtU, opIf, blockEmpty)
			b = append(b, opLocalGet, 0, opLocalGet, 2, opI32Add, opLocalGet, 1, opLocalGet, 2, opI32Add)
			b = append(append(appendPiece(b), copied...), opElse)
			b = append(appendPiece(append(b, opLocalGet, 0, opLocalGet, 1)), copied...)
			return append(appendStep(appendStep(b, 0, opI32Add), 1, opI32Add), opEnd)
		})
		return append(append(b, opLocalGet, 0, opLocalGet, 1, opLocalGet, 2), copied...)
	}},
}

// appendPieces does one piece after the other while more than one is left of the length, local 2, and charges for each.
// It leaves the last one to the caller, charged, and all of it when it would leave memory: that traps before it writes.
func (m *module) appendPieces(b, pointers []byte, do func([]byte) []byte) []byte {
	b = append(b, opBlock, blockEmpty, opLoop, blockEmpty)
	b = append(appendPiece(append(b, opLocalGet, 2)), opI32LeU, opBrIf, 1)
	for _, p := range pointers {
		b = append(b, opLocalGet, p, opI64ExtendU32, opLocalGet, 2, opI64ExtendU32, opI64Add)
		b = append(b, opMemorySize, 0, opI64ExtendU32, opI64Const, 16, opI64Shl, opI64GtU, opBrIf, 1)
	}
	b = appendSigned(append(m.appendCounter(b, opGlobalGet), opI64Const), piece>>bytesShift)
	b = append(do(m.appendTake(b)), opBr, 0, opEnd, opEnd)
	b = append(m.appendCounter(b, opGlobalGet), opLocalGet, 2, opI64ExtendU32, opI64Const, bytesShift, opI64ShrU)
	return m.appendTake(append(appendSigned(append(b, opI64Const), bulkCost), opI64Add))
}

func appendPiece(b []byte) []byte { return appendSigned(append(b, opI32Const), piece) }

// appendStep moves a local by a piece.
func appendStep(b []byte, local, op byte) []byte {
	return append(appendPiece(append(b, opLocalGet, local)), op, opLocalSet, local)
}

// appendAtMost leaves min(argument, n) on the stack: above n the operation fails, and costs no more for it.
func appendAtMost(b []byte, n int64) []byte {
	b = append(b, opLocalGet, 0)
	b = appendSigned(append(b, opI32Const), n)
	b = append(b, opLocalGet, 0)
	b = appendSigned(append(b, opI32Const), n)
	return append(b, opI32LtU, opSelect)
}

func (m *module) appendCounter(b []byte, op byte) []byte {
	return appendU32(append(b, op), uint32(len(m.globals))) // it is the global after the module's own
}

// appendTake sets the counter to the difference of the two i64 on the stack, and yields when no fuel is left.
func (m *module) appendTake(b []byte) []byte {
	b = m.appendCounter(append(b, opI64Sub), opGlobalSet)
	b = m.appendCounter(b, opGlobalGet)
	return m.appendYieldIf(append(b, opI32WrapI64, opI32Const, 0, opI32LtS))
}

// appendBulk is appendTake for a bulk operation, whose length it leaves on the stack.
func (m *module) appendBulk(b []byte) []byte {
	b = append(appendSigned(append(b, opI64Const), bulkCost), opI64Add)
	return append(m.appendTake(b), opLocalGet, 0)
}

// appendYieldIf calls yield when the i32 on the stack is not 0.
func (m *module) appendYieldIf(b []byte) []byte {
	b = append(b, opIf, blockEmpty)
	return append(appendU32(append(b, opCall), uint32(len(m.imports))), opEnd)
}

// helper returns the index of a helper in the output.
func (m *module) helper(i int) uint32 { return m.funcCount() + 1 + uint32(i) }

// writeHelpers writes the code section: the module's bodies, then the helpers'.
func (m *module) writeHelpers() {
	b := appendU32(make([]byte, 0, len(m.out[secCode])+256), uint32(len(m.funcs)+len(helpers)))
	b = append(b, m.out[secCode]...)
	for _, h := range helpers {
		f := append(h.body(m, []byte{0}), opEnd) // no locals
		b = append(appendU32(b, uint32(len(f))), f...)
	}
	m.out[secCode] = b
}
