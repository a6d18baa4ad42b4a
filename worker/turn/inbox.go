package turn

import (
	"context"
	"sync"
	"time"

	"github.com/towpath/towpath/hostabi"
)

// inbox holds what a guest has not yet observed, in the order in which it came. Producers are the turn's streams and
// the runner; the one consumer is the guest's goroutine.
type inbox struct {
	mu      sync.Mutex
	records []hostabi.Record
	added   chan struct{} // holds a token while there may be something new
}

func newInbox() *inbox { return &inbox{added: make(chan struct{}, 1)} }

func (b *inbox) put(r hostabi.Record) {
	b.mu.Lock()
	b.records = append(b.records, r)
	b.mu.Unlock()
	select {
	case b.added <- struct{}{}:
	default:
	}
}

// take removes the first record of a handle, or the first of all for handle 0.
func (b *inbox) take(handle uint32) *hostabi.Record {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, r := range b.records {
		if handle == 0 || r.Handle == handle {
			b.records = append(b.records[:i], b.records[i+1:]...)
			return &r
		}
	}
	return nil
}

// forget drops the records of a handle.
func (b *inbox) forget(handle uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := b.records[:0]
	for _, r := range b.records {
		if r.Handle != handle {
			kept = append(kept, r)
		}
	}
	clear(b.records[len(kept):])
	b.records = kept
}

// wait is take that blocks: for timeout, or for ever when it is negative. It returns nil when the time ran out.
func (b *inbox) wait(ctx context.Context, handle uint32, timeout time.Duration) (*hostabi.Record, error) {
	var expired <-chan time.Time
	for {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		if r := b.take(handle); r != nil {
			return r, nil
		}
		if timeout == 0 {
			return nil, nil
		}
		if timeout > 0 && expired == nil {
			t := time.NewTimer(timeout)
			defer t.Stop()
			expired = t.C
		}
		select {
		case <-b.added:
		case <-expired:
			return b.take(handle), nil
		case <-ctx.Done():
		}
	}
}
