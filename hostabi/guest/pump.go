package guest

import (
	"context"
	"sync"
	"time"

	"github.com/towpath/towpath/hostabi"
)

// pump owns `wait`: it calls it when somebody needs a record and nobody else can run, and hands what comes to the
// queue of the record's handle.
type pump struct {
	host   hostabi.Host
	cancel context.CancelCauseFunc // ends the turn's context when CANCEL comes

	mu      sync.Mutex
	waiters map[*waiter]struct{}
	queues  map[uint32]*queue
	inputs  *queue
	err     error // why there will be no more records

	wake chan struct{} // a waiter came
	done chan struct{} // closed: the turn is over
}

// waiter is a goroutine or a timer for whose sake `wait` is called.
type waiter struct {
	until time.Time // zero: for ever
}

// queue holds the records of one handle until they are read.
type queue struct {
	records []hostabi.Record
	more    chan struct{} // closed when records or an error came
}

func newQueue() *queue { return &queue{more: make(chan struct{})} }

func newPump(host hostabi.Host, cancel context.CancelCauseFunc) *pump {
	return &pump{
		host: host, cancel: cancel,
		waiters: map[*waiter]struct{}{}, queues: map[uint32]*queue{}, inputs: newQueue(),
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

// run pumps until the turn is over or the host has no more records to give.
func (p *pump) run(ctx context.Context) {
	for {
		settle()
		timeout, needed := p.timeout()
		if !needed {
			select {
			case <-p.wake:
				continue
			case <-p.done:
				return
			}
		}
		r, err := p.host.Wait(ctx, 0, timeout)
		switch {
		case err != nil:
			p.fail(called("wait", 0, err))
			return
		case r != nil:
			p.dispatch(*r)
		}
	}
}

// timeout returns how long `wait` may block, and whether anybody needs it to.
func (p *pump) timeout() (d time.Duration, needed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d = -1
	now := time.Now() // once: readings move the turn's clock, and the order of waiters is nobody's
	for w := range p.waiters {
		if w.until.IsZero() {
			continue
		}
		// Never 0: a deadline that has just passed still needs its timer to fire.
		if left := max(w.until.Sub(now), time.Microsecond); d < 0 || left < d {
			d = left
		}
	}
	return d, len(p.waiters) > 0
}

func (p *pump) dispatch(r hostabi.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.queues[r.Handle]
	switch r.Kind {
	case hostabi.KindCancel:
		p.cancel(parseCancel(r.Payload))
		return
	case hostabi.KindInput:
		q = p.inputs
	}
	if q == nil {
		return // of a handle closed meanwhile
	}
	q.records = append(q.records, r)
	close(q.more)
	q.more = make(chan struct{})
}

func (p *pump) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
	for _, q := range p.queues {
		close(q.more)
	}
	close(p.inputs.more)
}

// enter has `wait` called until leave, and has it return by the deadline, unless that is zero.
func (p *pump) enter(until time.Time) *waiter {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &waiter{until}
	p.waiters[w] = struct{}{}
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return w
}

func (p *pump) leave(w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiters, w)
}

// leaveIfDue leaves and reports true, unless w has left or was moved to a later time.
func (p *pump) leaveIfDue(w *waiter) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, in := p.waiters[w]; !in || time.Now().Before(w.until) {
		return false
	}
	delete(p.waiters, w)
	return true
}

// move gives w another deadline, unless it has left.
func (p *pump) move(w *waiter, until time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, in := p.waiters[w]
	if in {
		w.until = until
	}
	return in
}

// pop takes the first record of q; without one it returns the channel that tells of more.
func (p *pump) pop(q *queue) (r hostabi.Record, more chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(q.records) > 0 {
		r = q.records[0]
		q.records[0] = hostabi.Record{}
		q.records = q.records[1:]
		return r, nil, nil
	}
	return r, q.more, p.err
}

// next returns q's next record. An ended context comes first, so that what it ended stays ended.
func (p *pump) next(ctx context.Context, q *queue) (hostabi.Record, error) {
	var w *waiter
	for {
		if ctx.Err() != nil {
			return hostabi.Record{}, context.Cause(ctx)
		}
		r, more, err := p.pop(q)
		if err != nil || more == nil {
			return r, err
		}
		if w == nil {
			deadline, _ := ctx.Deadline()
			w = p.enter(deadline)
			defer p.leave(w)
		}
		select {
		case <-more:
		case <-ctx.Done():
		}
	}
}

// open has the host open a handle and registers its queue, before any record of it can be dispatched.
func (p *pump) open(open func() (uint32, error)) (handle uint32, q *queue, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if handle, err = open(); err != nil {
		return 0, nil, err
	}
	q = newQueue()
	p.queues[handle] = q
	return handle, q, nil
}

// forget drops a handle's queue.
func (p *pump) forget(handle uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.queues, handle)
}

// ended reports whether there will be no more records.
func (p *pump) ended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err != nil
}
