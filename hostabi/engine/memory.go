package engine

import (
	"sync/atomic"

	"github.com/tetratelabs/wazero/experimental"
)

// budget counts the linear memories of all instances of an engine.
type budget struct {
	limit int64
	used  atomic.Int64
}

func (b *budget) take(n int64) bool {
	if b.used.Add(n) > b.limit {
		b.used.Add(-n)
		return false
	}
	return true
}

func (b *budget) give(n int64) { b.used.Add(-n) }

// memory is the linear memory of one instance. It is its own allocator, as wazero asks for one memory per instance.
type memory struct {
	space
	budget      *budget
	size        int64 // bytes that the guest has, charged to budget
	max         int64
	refused     bool // a growth was
	budgetSpent bool // and it was the budget's fault
}

// space is where a memory's bytes live.
type space interface {
	// grow returns the first n bytes. What is beyond the last n is zero.
	grow(n int64) ([]byte, error)
	// release gives the bytes back. It may be called twice.
	release()
}

// Allocate implements experimental.MemoryAllocator. The module's own maximum is checked before Reallocate is asked.
func (m *memory) Allocate(_, _ uint64) experimental.LinearMemory {
	return m
}

// Reallocate implements experimental.LinearMemory. The first call hands out what the memory was made with, which is
// more than a module's minimum when the module grew while it was frozen.
func (m *memory) Reallocate(size uint64) []byte {
	n := max(int64(size), m.size)
	if n > m.max {
		m.refused = true
		return nil
	}
	more := n - m.size
	if !m.budget.take(more) {
		m.refused, m.budgetSpent = true, true
		return nil
	}
	b, err := m.grow(n)
	if err != nil {
		m.budget.give(more)
		m.refused, m.budgetSpent = true, true
		return nil
	}
	m.size = n
	return b
}

// Free implements experimental.LinearMemory. It may be called twice.
func (m *memory) Free() {
	m.release()
	m.budget.give(m.size)
	m.size = 0
}

// fallbackMemory is taken for the machine's where that is not known.
const fallbackMemory = 8 << 30
