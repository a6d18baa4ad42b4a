package store

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// awaitPoll is how often awaited processes are looked at without a wake-up: what a notification that was lost costs.
const awaitPoll = time.Second

// awaitPause is the least time between two looks, since a process may wake its readers at every word.
const awaitPause = 20 * time.Millisecond

// Await returns a process once it has ended: at once, or within about a second of its end on any node. Any number of
// callers may wait; together they cost one query a second and one connection that listens. ErrNotFound: there is no such
// process, or no more. Trouble with the database ends the wait and is returned.
func (s *Store) Await(ctx context.Context, id string) (Process, error) {
	// The first look is the caller's own, so that an end that is there costs no waiting.
	p, err := s.Process(ctx, id)
	if err != nil || p.Final() {
		return p, err
	}
	w := s.waiting.join(s, id)
	defer s.waiting.leave(w)
	select {
	case r := <-w.result:
		return r.process, r.err
	case <-ctx.Done():
		return Process{}, wrap("await", ctx.Err())
	}
}

// waiting holds the callers of Await and the one watch that serves them, which runs while there are any.
type waiting struct {
	mu    sync.Mutex
	watch *watch
}

type watch struct {
	waiters map[*waiter]struct{} // under mu
	wake    chan struct{}
	stop    context.CancelFunc
	done    chan struct{}
}

type waiter struct {
	id     string
	result chan awaited // has room for the one result
	told   bool         // under mu
}

type awaited struct {
	process Process
	err     error
}

func (h *waiting) join(s *Store, id string) *waiter {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watch == nil {
		ctx, stop := context.WithCancel(context.Background()) // it serves many callers, and ends with the last
		h.watch = &watch{waiters: map[*waiter]struct{}{}, wake: make(chan struct{}, 1), stop: stop, done: make(chan struct{})}
		go h.run(ctx, s, h.watch)
	}
	w := &waiter{id: id, result: make(chan awaited, 1)}
	h.watch.waiters[w] = struct{}{}
	h.watch.nudge() // it may have ended since the first look
	return w
}

func (h *waiting) leave(w *waiter) {
	h.mu.Lock()
	v := h.watch
	delete(v.waiters, w)
	last := len(v.waiters) == 0
	if last {
		h.watch = nil
	}
	h.mu.Unlock()
	if last {
		v.stop()
		<-v.done
	}
}

func (v *watch) nudge() {
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// ids lists what is awaited and not yet told.
func (h *waiting) ids(v *watch) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ids []string
	for w := range v.waiters {
		if !w.told {
			ids = append(ids, w.id)
		}
	}
	return ids
}

// tell gives each waiter that look has an answer for its result.
func (h *waiting) tell(v *watch, look func(id string) (awaited, bool)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range v.waiters {
		if r, ok := look(w.id); ok && !w.told {
			w.told = true
			w.result <- r
		}
	}
}

func (h *waiting) run(ctx context.Context, s *Store, v *watch) {
	defer close(v.done)
	var listening sync.WaitGroup
	defer listening.Wait()
	if s.pool.Config().ConnConfig.DefaultQueryExecMode != pgx.QueryExecModeExec { // a pooler passes no notifications on
		listening.Go(func() { h.listen(ctx, s, v) })
	}
	tick := time.NewTicker(awaitPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-v.wake:
		case <-tick.C:
		}
		ids := h.ids(v)
		if len(ids) == 0 {
			continue
		}
		list, err := all(ctx, s, "await", pgx.RowToStructByName[Process], "select "+processColumns+" from towpath.processes where id = any($1)", ids)
		if err != nil {
			if ctx.Err() == nil {
				h.tell(v, func(id string) (awaited, bool) { return awaited{err: err}, true })
			}
			continue
		}
		found := make(map[string]Process, len(list))
		for _, p := range list {
			found[p.ID] = p
		}
		for _, id := range ids {
			if _, ok := found[id]; !ok { // gone since: the function says how
				_, err := s.Process(ctx, id)
				h.tell(v, func(other string) (awaited, bool) { return awaited{err: err}, err != nil && other == id })
			}
		}
		h.tell(v, func(id string) (awaited, bool) {
			p, ok := found[id]
			return awaited{process: p}, ok && p.Final()
		})
		select {
		case <-ctx.Done():
		case <-time.After(awaitPause):
		}
	}
}

// listen wakes the watch when something happens to what it awaits. Where it cannot, the watch looks by itself.
func (h *waiting) listen(ctx context.Context, s *Store, v *watch) {
	for ctx.Err() == nil {
		_ = s.Listen(ctx, []string{ChannelEvents}, v.nudge, func(_, payload string) {
			h.mu.Lock()
			hit := payload == "*"
			for w := range v.waiters {
				hit = hit || !w.told && contains(payload, w.id)
			}
			h.mu.Unlock()
			if hit {
				v.nudge()
			}
		})
		select {
		case <-ctx.Done():
		case <-time.After(awaitPoll):
		}
	}
}
