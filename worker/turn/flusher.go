package turn

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/towpath/towpath/store"
)

const (
	flushEvery = 50 * time.Millisecond // from a turn's first unflushed entry to the commit that stores it
	flushSoon  = 2 * time.Millisecond  // the same for an event after a pause: what is emitted beside it goes along
	flushBytes = 256 << 10             // of one turn: flush at once. At 64 KiB a fast stream made a commit of each read, a tenth of its time
)

// haste is how soon something must be stored.
type haste int

const (
	later  haste = iota // with whatever comes within flushEvery
	soon                // somebody reads it
	atOnce              // somebody waits for the commit
)

// flusher stores the events of all the node's turns in shared commits, one at a time. A turn whose lease is not ours
// any more loses its own events only; a batch that the server refuses is stored turn by turn, so that only the turn
// with the bad event ends.
type flusher struct {
	runner  *Runner
	storing sync.Mutex // held from taking batches until it is settled what became of them; taken before any other lock
	mu      sync.Mutex
	due     map[*execution]struct{}
	left    map[*execution]store.Batch // taken by lead, which could not store them
	told    time.Time                  // when the last commit that held events came back
	wake    chan struct{}              // something is due
	spoken  chan struct{}              // an event is
	urgent  chan struct{}              // something is due at once
	soon    time.Duration              // flushSoon; a test may have another
}

func newFlusher(r *Runner) *flusher {
	return &flusher{runner: r, soon: flushSoon, due: map[*execution]struct{}{}, left: map[*execution]store.Batch{},
		wake: make(chan struct{}, 1), spoken: make(chan struct{}, 1), urgent: make(chan struct{}, 1)}
}

// dirty says that an execution has something to store.
func (f *flusher) dirty(x *execution, h haste) {
	f.mu.Lock()
	f.due[x] = struct{}{}
	f.mu.Unlock()
	signal(f.wake)
	switch h {
	case soon:
		signal(f.spoken)
	case atOnce:
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
		if f.gather(ctx); ctx.Err() != nil {
			return
		}
		f.flush(ctx)
	}
}

// gather returns when what is due must be stored.
func (f *flusher) gather(ctx context.Context) {
	due := time.Now().Add(flushEvery)
	t := time.NewTimer(flushEvery)
	defer t.Stop()
	select {
	case <-f.spoken: // what is emitted after it hastens nothing more
		f.mu.Lock()
		told := f.told
		f.mu.Unlock()
		t.Reset(time.Until(hastened(due, time.Now().Add(f.soon), told)))
		select {
		case <-t.C:
		case <-f.urgent:
		case <-ctx.Done():
		}
	case <-t.C:
	case <-f.urgent:
	case <-ctx.Done():
	}
}

// hastened is when an event is stored that was to be stored at a time, with what was due anyway: not twice within flushEvery.
func hastened(due, at, told time.Time) time.Time {
	if again := told.Add(flushEvery); again.After(at) {
		at = again
	}
	if due.Before(at) {
		return due
	}
	return at
}

// lead stores what one turn has, in the goroutine of its guest, if nobody else has anything: an outside call then waits for
// its commit and for no other goroutine. What does not succeed at once is left to run, which does not end with the turn.
func (f *flusher) lead(ctx context.Context, x *execution) {
	if !f.storing.TryLock() {
		return
	}
	defer f.storing.Unlock()
	f.mu.Lock()
	_, due := f.due[x]
	alone := len(f.left) == 0 && (len(f.due) == 0 || due && len(f.due) == 1)
	if alone {
		delete(f.due, x)
	}
	f.mu.Unlock()
	if !alone {
		return
	}
	b, ok := x.take()
	if !ok {
		return
	}
	x.fault(AtAppend, 0)
	stored, err := f.runner.Store.Append(ctx, []store.Batch{b})
	x.fault(AtAppended, 0)
	last, ours := stored[x.owner.No]
	if err != nil || !ours {
		f.mu.Lock()
		f.left[x] = b
		f.mu.Unlock()
		signal(f.wake)
		signal(f.urgent)
		return
	}
	f.said(b)
	x.mu.Lock()
	x.numbered(b, last)
	x.mu.Unlock()
	x.landed(nil)
}

// said notes that the commit of a batch has come back.
func (f *flusher) said(b store.Batch) {
	if len(b.Types) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = time.Now()
}

// flush stores everything that is due now.
func (f *flusher) flush(ctx context.Context) {
	f.storing.Lock()
	defer f.storing.Unlock()
	f.mu.Lock()
	due, left := f.due, f.left
	f.due, f.left = map[*execution]struct{}{}, map[*execution]store.Batch{}
	f.mu.Unlock()
	select {
	case <-f.spoken: // it is among what is due
	default:
	}
	var turns []*execution
	var batches []store.Batch
	for x, b := range left {
		turns, batches = append(turns, x), append(batches, b)
	}
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
	for i, x := range turns {
		f.said(batches[i])
		if err != nil && store.Rejected(err) {
			f.alone(ctx, x, batches[i])
			continue
		}
		f.returned(ctx, x, batches[i], stored, err)
	}
}

// alone stores the batch of one turn.
func (f *flusher) alone(ctx context.Context, x *execution, b store.Batch) {
	stored, err := f.store(ctx, []store.Batch{b})
	if err != nil && store.Rejected(err) && f.already(ctx, x, b) {
		return
	}
	f.returned(ctx, x, b, stored, err)
}

// already settles a batch that is refused because it is stored, by a try whose answer was lost on the way.
func (f *flusher) already(ctx context.Context, x *execution, b store.Batch) bool {
	rows, err := f.runner.Store.Journal(ctx, *x.claim.ProcessID)
	if err != nil || len(rows) == 0 {
		return false
	}
	last := rows[len(rows)-1]
	if last.Fence != x.owner.Fence || last.First != b.Journal.First || last.Count != b.Journal.Count || !bytes.Equal(last.Entries, b.Journal.Entries) {
		return false
	}
	seqs, err := f.runner.Store.Emitted(ctx, x.owner.No)
	if err != nil {
		return false
	}
	x.mu.Lock()
	x.stored, x.seqs = b.Journal.First+b.Journal.Count, seqs
	x.mu.Unlock()
	x.landed(nil)
	return true
}

// returned settles what became of a batch. A lease that lapsed on the way is still ours if nobody has taken the turn:
// then the batch goes again, before all that came since.
func (f *flusher) returned(ctx context.Context, x *execution, b store.Batch, stored map[int64]int64, err error) {
	last, ours := stored[x.owner.No]
	switch {
	case err != nil:
	case ours:
		x.mu.Lock()
		x.numbered(b, last)
		x.mu.Unlock()
	default:
		held, renewErr := f.runner.Store.RenewOnly(ctx, f.runner.Node, f.runner.TTL, []int64{x.owner.No})
		if renewErr != nil || held[x.owner.No] == x.owner.Fence {
			x.again(b)
		} else {
			err = errLost
		}
	}
	x.landed(err)
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
	x.packed = len(b.Journal.Entries)
	x.batch = store.Batch{Owner: x.owner}
	x.flushing = true
	return b, true
}

// again puts a batch that was not stored before what has come since.
func (x *execution) again(b store.Batch) {
	x.mu.Lock()
	defer x.mu.Unlock()
	since := x.batch
	b.Types, b.Data, b.Applied = append(b.Types, since.Types...), append(b.Data, since.Data...), append(b.Applied, since.Applied...)
	switch {
	case b.Journal.Count == 0:
		b.Journal = since.Journal
	case since.Journal.Count > 0:
		b.Journal.Entries = append(b.Journal.Entries, since.Journal.Entries...)
		b.Journal.Count += since.Journal.Count
		b.Journal.Open = since.Journal.Open
	}
	x.batch = b
}

// landed ends what take began.
func (x *execution) landed(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.flushing = false
	x.size = len(x.batch.Journal.Entries)
	for _, data := range x.batch.Data {
		x.size += len(data)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		if store.Rejected(err) {
			err = &Exceeded{Limit: "event", Text: "the database refused an event: " + err.Error()}
		}
		x.cancel(err)
	}
	if !x.batch.Empty() {
		x.runner.flusher.dirty(x, x.haste())
	}
	x.settled.Broadcast()
}

// haste is, with mu held, how soon the batch must be stored.
func (x *execution) haste() haste {
	switch {
	case x.size >= flushBytes:
		return atOnce
	case len(x.batch.Types) > 0:
		return soon
	}
	return later
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
