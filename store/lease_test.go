package store_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/towpath/towpath/store"
)

func done(key string) store.Completion {
	return store.Completion{Status: "completed", Outcome: raw(`{"text": "done"}`), Key: key}
}

// feature: D54
func TestOneOfSixteenExecutorsWins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.launch(operation())
	leases := make([]store.Lease, 16)
	var wg sync.WaitGroup
	for i := range leases {
		wg.Go(func() {
			var err error
			if leases[i], err = w.store.ClaimProcess(t.Context(), id, node("n"), ttl, 0); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	won := 0
	for _, l := range leases {
		switch {
		case l.Action == store.ActionRun:
			won++
		case l.Action != store.ActionBusy || *l.Holder != "n" || l.Until == nil || l.Fence != nil || l.Env != nil:
			t.Errorf("a loser got %+v", l)
		}
	}
	if won != 1 || w.process(id).Attempt != 1 {
		t.Errorf("%d winners", won)
	}
	w.log(id, "process.queued", "process.started")
	w.sound()
}

// feature: D55 D56 D58
func TestALeaseFromClaimToRelease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := operation()
	declare("line", "{}")(&p)
	id := w.launch(p)
	a, b := node("a"), node("b")
	first := w.claimed(id, a)
	_, err := w.store.AppendOwned(t.Context(), first, "line", raw("{}"), "")
	w.ok(err)
	w.shift("20 seconds")
	until := get[time.Time](w, "select expires_at from towpath.lease")
	// It asks again, for example after an answer that was lost: the same lease, for longer.
	if again := w.claimed(id, a); again != first {
		t.Errorf("the same incarnation got %v after %v", again, first)
	}
	if now := get[time.Time](w, "select expires_at from towpath.lease"); !now.After(until) {
		t.Errorf("a lease until %s was not extended: %s", until, now)
	}
	// Another start of the same node is somebody else.
	for _, other := range []store.Node{b, node("a")} {
		if l, err := w.store.ClaimProcess(t.Context(), id, other, ttl, 0); err != nil || l.Action != store.ActionBusy || *l.Holder != "a" {
			t.Errorf("%+v, %v", l, err)
		}
	}
	released, err := w.store.Release(t.Context(), first, "not today")
	w.ok(err)
	if p := w.process(id); !released || p.Status != "queued" || p.Node != nil {
		t.Errorf("released %v: %+v", released, p)
	}
	if spent := get[int](w, "select attempts_spent from towpath.process"); spent != 0 {
		t.Errorf("giving back cost %d attempts", spent)
	}
	second := w.claimed(id, b)
	if second.Fence <= first.Fence {
		t.Errorf("fence %d after %d", second.Fence, first.Fence)
	}
	// The old owner's late release is nobody's business.
	if released, err := w.store.Release(t.Context(), first, ""); err != nil || released {
		t.Errorf("a stale release: %v, %v", released, err)
	}
	if p := w.process(id); p.Status != "running" || *p.Node != "b" {
		t.Errorf("after a stale release: %+v", p)
	}
	w.shift("31 seconds")
	third := w.claimed(id, a)
	if third.Fence <= second.Fence {
		t.Errorf("fence %d after %d", third.Fence, second.Fence)
	}
	w.sound()
}

// feature: D24 D57
func TestAnExecutorThatWasReplacedChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := operation()
	declare("line", "{}")(&p)
	id := w.launch(p)
	a, b := node("a"), node("b")
	stale := w.claimed(id, a)
	w.shift("31 seconds")
	// Lapsed and not yet taken over: it may not write.
	w.refused(w.store.Complete(t.Context(), stale, done("k")), store.ErrFence, "does not own")
	current := w.claimed(id, b)
	before := w.types(id)
	_, err := w.store.AppendOwned(t.Context(), stale, "line", raw("{}"), "")
	w.refused(err, store.ErrFence, "does not own")
	w.refused(w.store.Complete(t.Context(), stale, done("k")), store.ErrFence, "does not own")
	w.refused(w.store.Park(t.Context(), stale, raw(`{"kind": "signal"}`)), store.ErrFence, "does not own")
	if held, err := w.store.Renew(t.Context(), a, ttl); err != nil || len(held) != 0 {
		t.Errorf("it renewed %v, %v", held, err)
	}
	if after := w.types(id); !slices.Equal(after, before) {
		t.Errorf("the log went from %v to %v", before, after)
	}
	_, err = w.store.AppendOwned(t.Context(), current, "line", raw("{}"), "")
	w.ok(err)
	w.ok(w.store.Complete(t.Context(), current, done("k")))
	w.sound()
}

// feature: D61
func TestALeaseIsLongEnoughToBeRenewed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.launch(operation())
	for _, c := range []struct{ ttl, every time.Duration }{{0, 0}, {-ttl, 0}, {time.Millisecond, 0}, {2 * time.Hour, 0}, {ttl, ttl/3 + time.Second}, {ttl, -time.Second}} {
		_, err := w.store.ClaimProcess(t.Context(), id, node("n"), c.ttl, c.every)
		w.refused(err, store.ErrInvalid, "three times")
	}
	_, err := w.store.ClaimProcess(t.Context(), id, store.Node{ID: "n"}, ttl, 0)
	w.ok(err) // a nil uuid is a uuid
	_, err = w.store.ClaimProcess(t.Context(), id, node(""), ttl, 0)
	w.refused(err, store.ErrInvalid, "node and incarnation")
	// The node's clock has no part in it: only the database's moves a lease.
	if left := get[bool](w, "select expires_at - towpath.now() between '25 seconds' and '30 seconds' from towpath.lease"); !left {
		t.Error("the lease does not follow the database's clock")
	}
}

// feature: D9
func TestWhatIsNotForClaim(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := node("n")
	for name, id := range map[string]string{"a turn": w.submit(""), "an external process": w.launch(external())} {
		if _, err := w.store.ClaimProcess(t.Context(), id, n, ttl, 0); !errors.Is(err, store.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := w.store.ClaimProcess(t.Context(), "none", n, ttl, 0)
	w.refused(err, store.ErrNotFound, "none")

	ended, waits, later, cancelled := w.launch(operation()), w.launch(operation()), w.launch(operation()), w.launch(operation())
	w.ok(w.store.Complete(t.Context(), w.claimed(ended, n), done("k")))
	w.ok(w.store.Park(t.Context(), w.claimed(waits, n), raw(`{"kind": "signal", "name": "go"}`)))
	o := w.claimed(later, n)
	_, err = w.store.Retry(t.Context(), o, "again", time.Minute, false, raw("{}"), "", false)
	w.ok(err)
	_, err = w.store.Cancel(t.Context(), cancelled, "no", 0)
	w.ok(err)
	for id, text := range map[string]string{ended: "process is completed", waits: "it waits", later: "not before", cancelled: "process is cancelled"} {
		l, err := w.store.ClaimProcess(t.Context(), id, n, ttl, 0)
		w.ok(err)
		if l.Action != store.ActionSkip || !strings.Contains(*l.Detail, text) || l.Fence != nil {
			t.Errorf("%+v, want %s", l, text)
		}
	}
	w.shift("61 seconds")
	w.claimed(later, n)
	w.sound()
}

// feature: D31
func TestAWaitIsSeenAndEndsWithItsProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := node("n")
	id, ends := w.launch(operation()), w.launch(operation())
	for _, id := range []string{id, ends} {
		w.ok(w.store.Park(t.Context(), w.claimed(id, n), raw(`{"kind": "signal", "name": "go"}`)))
	}
	list, err := w.store.ListProcesses(t.Context(), map[string]any{"waiting": true}, "", 10)
	w.ok(err)
	if len(list) != 2 || list[0].Status != "waiting" {
		t.Errorf("waiting: %+v", list)
	}
	w.ok(w.store.Resume(t.Context(), id))
	w.status(id, "queued")
	w.claimed(id, n)
	w.refused(w.store.Resume(t.Context(), id), store.ErrConflict, "is running")
	_, err = w.store.Cancel(t.Context(), ends, "no", 0)
	w.ok(err)
	if wait := get[*string](w, "select wait::text from towpath.processes where id = $1", ends); wait != nil {
		t.Errorf("a cancelled process waits for %s", *wait)
	}
	w.refused(w.store.Resume(t.Context(), ends), store.ErrConflict, "is cancelled")
	if _, err := w.pool.Exec(t.Context(), "update towpath.process set wait = '{}' where id = $1", ends); err == nil {
		t.Error("a wait was set on a process that has ended")
	}
	w.log(id, "process.queued", "process.started", "process.waiting", "process.resumed", "process.started")
	w.sound()
}

// feature: D63
func TestOnlyItsOwnerGoesOnWithAnOwnerBoundProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := operation()
	p.Disposition = "owner_bound"
	id, cancelled := w.launch(p), w.launch(p)
	a := node("a")
	w.claimed(id, a)
	w.claimed(cancelled, a)
	_, err := w.store.Cancel(t.Context(), cancelled, "no", 0)
	w.ok(err)
	w.shift("31 seconds")
	for _, id := range []string{id, cancelled} {
		l, err := w.store.ClaimProcess(t.Context(), id, node("b"), ttl, 0)
		w.ok(err)
		if l.Action != store.ActionSkip || *l.Detail != `only node "a" may execute it` {
			t.Errorf("another incarnation: %+v", l)
		}
	}
	started := get[string](w, "select first_started::text from towpath.processes where id = $1", id)
	w.claimed(id, a)
	if again := get[string](w, "select first_started::text from towpath.processes where id = $1", id); again != started {
		t.Errorf("first started by %s, then by %s", started, again)
	}
	if _, err := w.pool.Exec(t.Context(), `update towpath.process set first_started = '{"node": "b"}'`); err == nil {
		t.Error("who started it first was changed")
	}
	w.sound()
}

// feature: D67
func TestANodeThatShutsDownEndsWhatNobodyElseMay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bound := operation()
	bound.Disposition = "owner_bound"
	a := node("a")
	held, busy, queued, others, free := w.launch(bound), w.launch(bound), w.launch(bound), w.launch(bound), w.launch(operation())
	w.claimed(held, a)
	w.claimed(busy, a)
	w.claimed(others, node("b"))
	w.claimed(free, a)
	tx := w.begin() // somebody is at work on busy
	_, err := tx.Exec(t.Context(), "select towpath.locked($1)", busy)
	w.ok(err)
	report, err := w.store.Drain(t.Context(), a)
	w.ok(err)
	if len(report) != 2 || report[0].ID != held || report[0].Result != "abandoned" || report[1].ID != busy || report[1].Result != "deferred" {
		t.Errorf("report %+v", report)
	}
	w.ok(tx.Rollback(t.Context()))
	report, err = w.store.Drain(t.Context(), a)
	w.ok(err)
	if len(report) != 1 || report[0].ID != busy || report[0].Result != "abandoned" {
		t.Errorf("second report %+v", report)
	}
	for id, status := range map[string]string{held: "abandoned", busy: "abandoned", queued: "queued", others: "running", free: "running"} {
		w.status(id, status)
	}
	// D12: who decided, and whose it was.
	if got := get[string](w, "select format('%s %s', abandon_writer, outcome #>> '{owner,node}') from towpath.process where id = $1", held); got != "owner_drain a" {
		t.Errorf("evidence %s", got)
	}
	w.sound()
}

// feature: D64
func TestTheSweepOfProcessesThatAreNoTurns(t *testing.T) {
	t.Parallel()
	daemon := func(w *world) string {
		return get[string](w, `select towpath.begin_process('daemon', 'rerunnable', '{}', '{"max_attempts": 2}')`)
	}
	op := func(disposition string) func(*world) string {
		return func(w *world) string {
			p := operation()
			p.Disposition = disposition
			return w.launch(p)
		}
	}
	mark := func(w *world, id string) {
		_, err := w.store.RequestAbandon(w.Context(), id, "me", "silent")
		w.ok(err)
	}
	claim := func(w *world, id string) { w.claimed(id, node("dead")) }
	lapse := func(w *world, _ string) { w.exec("update towpath.lease set expires_at = towpath.now()") }
	down := func(w *world, id string) {
		w.exec("update towpath.process set desired_state = 'down' where id = $1", id)
	}
	spent := func(w *world, id string) {
		w.exec("update towpath.process set max_attempts = attempts_spent where id = $1", id)
	}
	cancel := func(w *world, id string) {
		_, err := w.store.Cancel(w.Context(), id, "no", 0)
		w.ok(err)
	}
	for name, c := range map[string]struct {
		start  func(*world) string
		steps  []func(*world, string)
		status string
		writer string
	}{
		"external":                            {func(w *world) string { return w.launch(external()) }, nil, "running", ""},
		"external, marked":                    {func(w *world) string { return w.launch(external()) }, []func(*world, string){mark}, "abandoned", "reconciled_request"},
		"rerunnable, live, marked":            {op("rerunnable"), []func(*world, string){claim, mark}, "running", ""},
		"rerunnable, lapsed":                  {op("rerunnable"), []func(*world, string){claim, lapse}, "queued", ""},
		"rerunnable, lapsed, marked":          {op("rerunnable"), []func(*world, string){claim, lapse, mark}, "queued", ""},
		"rerunnable, lapsed, budget spent":    {op("rerunnable"), []func(*world, string){claim, spent, lapse}, "abandoned", "engine_gave_up"},
		"rerunnable, lapsed, cancel asked":    {op("rerunnable"), []func(*world, string){claim, cancel, lapse}, "cancelled", ""},
		"rerunnable, live, cancel overdue":    {op("rerunnable"), []func(*world, string){claim, cancel}, "running", ""},
		"owner-bound, live, marked":           {op("owner_bound"), []func(*world, string){claim, mark}, "running", ""},
		"owner-bound, lapsed":                 {op("owner_bound"), []func(*world, string){claim, lapse}, "running", ""},
		"owner-bound, lapsed, marked":         {op("owner_bound"), []func(*world, string){claim, lapse, mark}, "abandoned", "reconciled_request"},
		"owner-bound, lapsed, cancel asked":   {op("owner_bound"), []func(*world, string){claim, cancel, lapse}, "running", ""},
		"owner-bound, unstarted, lapsed":      {op("owner_bound"), []func(*world, string){claim, unstart, lapse}, "queued", ""},
		"owner-bound, unstarted, cancel":      {op("owner_bound"), []func(*world, string){claim, unstart, cancel, lapse}, "cancelled", ""},
		"daemon, lapsed":                      {daemon, []func(*world, string){claim, lapse}, "backoff", ""},
		"daemon, lapsed, restarts spent":      {daemon, []func(*world, string){claim, spent, lapse}, "failed", ""},
		"daemon, wanted down, not started":    {daemon, []func(*world, string){down}, "cancelled", ""},
		"daemon, wanted down, lapsed":         {daemon, []func(*world, string){claim, down, lapse}, "cancelled", ""},
		"daemon, wanted down, live: is asked": {daemon, []func(*world, string){claim, down}, "running", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			id := c.start(w)
			w.settle()
			for _, step := range c.steps {
				step(w, id)
			}
			w.sweep()
			w.status(id, c.status)
			if writer := get[string](w, "select coalesce(abandon_writer, '') from towpath.process where id = $1", id); writer != c.writer {
				t.Errorf("abandoned by %q", writer)
			}
			if asked := get[bool](w, "select cancel_requested_at is not null from towpath.process where id = $1", id); strings.Contains(name, "is asked") && !asked {
				t.Error("its owner was not asked to stop")
			}
			if again := w.sweep(); len(again) > 0 {
				t.Errorf("the sweep comes back to %v", again)
			}
			w.sound()
		})
	}
}

func unstart(w *world, id string) {
	w.raw("update towpath.process set first_started = null where id = $1", id)
}

// feature: D66
func TestAJobOfAnOlderGenerationClaimsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := get[string](w, "select towpath.begin_process('daemon', 'rerunnable', '{}', '{}')")
	claim := func(generation int) string {
		rows, err := w.pool.Query(t.Context(), "select action from towpath.claim_process($1, 'n', gen_random_uuid(), '30 s', null, $2)", id, generation)
		w.ok(err)
		action, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[string])
		w.ok(err)
		return action
	}
	if a := claim(0); a != store.ActionSkip {
		t.Errorf("generation 0: %s", a)
	}
	if a := claim(1); a != store.ActionRun {
		t.Errorf("generation 1: %s", a)
	}
	if a := claim(1); a != store.ActionBusy {
		t.Errorf("its duplicate: %s", a)
	}
}

func incarnation(w *world, id string) uuid.UUID {
	w.Helper()
	return get[uuid.UUID](w, "select l.incarnation from towpath.lease l join towpath.process p on p.no = l.process_no where p.id = $1", id)
}

// An id that was pruned and forgotten may be given again: its fences go on, so that nobody of its first life is let in.
//
// feature: D56
func TestANewLifeOfAnIDHasANewFence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.claimed(w.named("phoenix"), node("n"))
	w.ok(w.store.Complete(t.Context(), first, done("k")))
	for range 2 { // the process, and then its tombstone
		w.shift("500 days")
		w.pruned(store.Prune{})
	}
	second := w.claimed(w.named("phoenix"), node("n"))
	if second.Fence <= first.Fence || second.No == first.No {
		t.Errorf("first life %+v, second %+v", first, second)
	}
	w.refused(w.store.Complete(t.Context(), first, done("k")), store.ErrNotFound, "unknown process")
	_, err := w.store.AppendOwned(t.Context(), store.Owner{No: second.No, Fence: first.Fence}, "line", raw("{}"), "")
	w.refused(err, store.ErrFence, "does not own")
	w.status("phoenix", "running")
	w.sound()
}
