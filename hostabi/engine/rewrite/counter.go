package rewrite

// Counter is the value of the global Result.Counter: fuel that is left in the low half, stack that is left in the
// high half, as one 64-bit sum. Both may be negative: that is when the guest calls yield. A host reads it there
// (and between calls), and sets it again with AddFuel.
type Counter uint64

// NewCounter makes a counter. Fuel is about one per instruction and must stay below 1<<30.
// Stack is in bytes as StackBudget.
func NewCounter(fuel, stack int32) Counter { return Counter(int64(stack)<<32 + int64(fuel)) }

// Fuel returns what is left of the fuel given; negative when more was charged than given.
func (c Counter) Fuel() int32 { return int32(c) }

// Stack returns what is left of the stack. Negative means that calls nest too deeply: end the guest.
func (c Counter) Stack() int32 { return int32((int64(c) - int64(c.Fuel())) >> 32) }

// AddFuel gives fuel. When yield returns to the guest, Fuel must not be negative.
func (c Counter) AddFuel(fuel int32) Counter { return c + Counter(int64(fuel)) }
