package turn

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/towpath/towpath/store"
)

const (
	flushEvery = 50 * time.Millisecond // from a turn's first unflushed event to the commit that stores it
	flushBytes = 64 << 10              // of one turn: flush at once
)

// flusher stores the events of all the node's turns in shared commits, one at a time. A turn whose lease is not ours
// any more loses its own events only; a batch that the server refuses is stored turn by turn, so that only the turn
// with the bad event ends.
type flusher struct {
	runner *Runner
	mu     sync.Mutex
	due    map[*execution]struct{}
	wake   chan struct{} // something is due
	urgent chan struct{} // something is due at once
}

func newFlusher(r *Runner) *flusher {
	return &flusher{runner: r, due: map[*execution]struct{}{}, wake: make(chan struct{}, 1), urgent: make(chan struct{}, 1)}
}

// dirty says that an execution has something to store.
func (f *flusher) dirty(x *execution, now bool) {
	f.mu.Lock()
	f.due[x] = struct{}{}
	f.mu.Unlock()
	signal(f.wake)
	if now {
		signal(f.urgent)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run flushes until ctx ends. Who finishes a turn stores what is left of it together with its end.
func (f *flusher) run(ctx context.Context) {
	for {
		select {
		case <-f.wake:
		case <-ctx.Done():
			return
		}
		t := time.NewTimer(flushEvery)
		select {
		case <-t.C:
		case <-f.urgent:
		case <-ctx.Done():
		}
		t.Stop()
		if ctx.Err() != nil {
			return
		}
		f.flush(ctx)
	}
}

// flush stores everything that is due now.
func (f *flusher) flush(ctx context.Context) {
	f.mu.Lock()
	due := f.due
	f.due = map[*execution]struct{}{}
	f.mu.Unlock()
	var turns []*execution
	var batches []store.Batch
	for x := range due {
		if b, ok := x.take(); ok {
			turns, batches = append(turns, x), append(batches, b)
		}
	}
	if len(turns) == 0 {
		return
	}
	for _, x := range turns {
		x.fault(AtAppend, 0)
	}
	stored, err := f.store(ctx, batches)
	for _, x := range turns {
		x.fault(AtAppended, 0)
	}
	if err != nil && store.Rejected(err) && len(turns) > 1 {
		for i, x := range turns {
			stored, err := f.store(ctx, batches[i:i+1])
			x.returned(batches[i], stored, err)
		}
		return
	}
	for i, x := range turns {
		x.returned(batches[i], stored, err)
	}
}

// store tries until the database answers: an outage is nobody's failure.
func (f *flusher) store(ctx context.Context, batches []store.Batch) (map[int64]int64, error) {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		stored, err := f.runner.Store.Append(ctx, batches)
		if err == nil || store.Rejected(err) || ctx.Err() != nil {
			return stored, err
		}
		f.runner.Logger.Warn("events wait for the database", "turns", len(batches), "error", err)
		if !f.runner.pause(ctx, pause) {
			return nil, err
		}
	}
}

// take moves the batch of an execution to its way to the database.
func (x *execution) take() (store.Batch, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.batch.Empty() || x.flushing || x.closed {
		return store.Batch{}, false
	}
	b := x.batch
	x.batch = store.Batch{Owner: x.owner}
	x.flushing = true
	return b, true
}

// returned settles what take began.
func (x *execution) returned(b store.Batch, stored map[int64]int64, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.flushing = false
	last, ours := stored[x.owner.No]
	if err == nil && ours {
		x.numbered(b, last)
	}
	x.size = len(x.batch.Journal.Entries)
	for _, data := range x.batch.Data {
		x.size += len(data)
	}
	if err == nil && !ours {
		err = errLost
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		if store.Rejected(err) {
			err = &Exceeded{Limit: "event", Text: "the database refused an event: " + err.Error()}
		}
		x.cancel(err)
	}
	if !x.batch.Empty() {
		x.runner.flusher.dirty(x, x.size >= flushBytes)
	}
	x.settled.Broadcast()
}

// numbered notes, with mu held, what a commit stored. The events of one commit have consecutive numbers.
func (x *execution) numbered(b store.Batch, last int64) {
	if b.Journal.Count > 0 {
		x.stored = b.Journal.First + b.Journal.Count
	}
	for i, kind := range b.Types {
		if !strings.HasPrefix(kind, reserved) {
			x.seqs = append(x.seqs, last-int64(len(b.Types)-1-i))
		}
	}
}

// rest takes what is left once no flush of this execution is on its way, for the commit that ends the turn.
func (x *execution) rest(ctx context.Context) (store.Batch, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.settle(ctx, func() bool { return !x.flushing }); err != nil {
		return store.Batch{}, err
	}
	x.closed = true
	return x.batch, nil
}
