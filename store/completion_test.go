package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/towpath/towpath/store"
)

// waking makes a process tell a session of its end.
func waking(session string) func(*store.StartOptions) {
	return func(o *store.StartOptions) { o.Wake = session }
}

// told lists what a reader has not acknowledged.
func (w *world) told(session, reader string) []string {
	w.Helper()
	list, err := w.store.Completions(w.Context(), session, reader, 1000)
	w.ok(err)
	var ids []string
	for i, c := range list {
		ids = append(ids, c.ProcessID)
		if i > 0 && c.Seq != list[i-1].Seq+1 {
			w.Errorf("completion %d comes after %d", c.Seq, list[i-1].Seq)
		}
	}
	return ids
}

func (w *world) wake(session, want string) store.Woken {
	w.Helper()
	woken, err := w.store.WakeSession(w.Context(), session)
	w.ok(err)
	if woken.Action != want {
		w.Errorf("waking %s: %s, want %s", session, woken.Action, want)
	}
	return woken
}

// wakes is how many jobs are there to wake a session.
func (w *world) wakes(session string) int {
	w.Helper()
	return get[int](w, "select count(*) from river_job where kind = 'wake' and queue = 'lifecycle' and state = 'available' and args = jsonb_build_object('session', $1::text)", session)
}

// The table of an operation, from nothing to its end.
//
// feature: D96
func TestTheLifeOfAnOperation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	declared := func(o *store.StartOptions) {
		o.Wake, o.Kind, o.Label, o.MaxAttempts = "s", "tool", "search", 1
		o.EventTypes = map[string]json.RawMessage{"progress": raw("{}"), "peer.ready": raw("{}")}
	}
	end := func(status, kind string) func(*world, string, store.Owner) {
		return func(w *world, _ string, o store.Owner) {
			w.ok(w.store.Complete(w.Context(), o, store.Completion{Status: status, Outcome: raw(`{"x": 1}`), Kind: kind, Key: "k"}))
		}
	}
	for name, c := range map[string]struct {
		end    func(*world, string, store.Owner)
		status string
	}{
		"completed": {end("completed", ""), "completed"},
		"failed":    {end("failed", "tool"), "failed"},
		"retired: asked to end, and ended well": {func(w *world, id string, o store.Owner) {
			_, err := w.store.Cancel(w.Context(), id, "retire", time.Minute)
			w.ok(err)
			_, err = w.store.AppendOwned(w.Context(), o, "progress", raw("{}"), "")
			w.ok(err)
			end("completed", "")(w, id, o)
		}, "completed"},
		"cancelled": {func(w *world, id string, o store.Owner) {
			_, err := w.store.Cancel(w.Context(), id, "stop", time.Minute)
			w.ok(err)
			end("cancelled", "")(w, id, o)
		}, "cancelled"},
		"terminated with its owner": {func(w *world, id string, o store.Owner) {
			list, err := w.store.EndOperations(w.Context(), "s", "the session ends", time.Minute)
			w.ok(err)
			if len(list) != 1 || list[0].ID != id {
				t.Errorf("terminated %+v", list)
			}
			end("cancelled", "")(w, id, o)
		}, "cancelled"},
	} {
		id := w.named(strings.ReplaceAll(strings.SplitN(name, ":", 2)[0], " ", "-"), declared)
		o := w.claimed(id, node("n"))
		seq, err := w.store.AppendOwned(t.Context(), o, "peer.ready", raw(`{"a": 1}`), "ready")
		w.ok(err)
		if again, err := w.store.AppendOwned(t.Context(), o, "peer.ready", raw(`{"a": 1}`), "ready"); err != nil || again != seq {
			t.Errorf("%s: ready again is event %d, %v", name, again, err)
		}
		_, err = w.store.AppendOwned(t.Context(), o, "peer.ready", raw(`{"a": 2}`), "ready")
		w.refused(err, store.ErrIdempotency, "another event")
		c.end(w, id, o)
		w.status(id, c.status)
		if got := w.told("s", ""); got[len(got)-1] != id {
			t.Errorf("%s: told %v", name, got)
		}
		// Nothing follows an end.
		_, err = w.store.AppendOwned(t.Context(), o, "progress", raw("{}"), "")
		w.refused(err, store.ErrFence, "does not own")
		w.refused(w.store.Complete(t.Context(), o, store.Completion{Status: "completed", Outcome: raw("{}"), Key: "other"}), store.ErrConflict, "already")
	}
	// Aborted before it began, and not expected to have a peer.
	aborted := w.named("aborted", waking("s"))
	_, err := w.store.AppendEvent(t.Context(), aborted, "peer.ready", raw("{}"), "")
	w.refused(err, store.ErrInvalid, "not declared")
	_, err = w.store.Cancel(t.Context(), aborted, "no more", 0)
	w.ok(err)
	if got := w.told("s", ""); len(got) != 6 || got[5] != "aborted" {
		t.Errorf("told %v", got)
	}
	p := operation()
	p.Options.ID, p.Options.Kind = "aborted", "other"
	_, err = w.store.Start(t.Context(), p)
	w.refused(err, store.ErrIdempotency, "exists with another request")
	w.sound()
}

// feature: D96
func TestALimitOfOperations(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	w.session("r")
	limited := func(session string, n int) store.Start {
		p := operation()
		p.Options.Wake, p.Options.Limit = session, n
		return p
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var ids []string
	for range 20 {
		wg.Go(func() {
			id, err := w.store.Start(t.Context(), limited("s", 5))
			if err != nil && !errors.Is(err, store.ErrLimit) {
				t.Error(err)
			}
			if err == nil {
				mu.Lock()
				ids = append(ids, id)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(ids) != 5 {
		t.Fatalf("%d of 20 were let in, the limit is 5", len(ids))
	}
	_, err := w.store.Start(t.Context(), limited("s", 5))
	w.refused(err, store.ErrLimit, `session "s" has 5 processes already`)
	w.launch(limited("r", 5)) // another session's
	w.launch(limited("s", 6)) // whoever allows more
	p := operation()
	p.Options.Wake = "s"
	w.launch(p) // no limit
	for _, id := range ids {
		_, err = w.store.Cancel(t.Context(), id, "x", 0)
		w.ok(err)
	}
	w.launch(limited("s", 5))
	for _, options := range []string{`{"limit": 1, "env": {}}`, `{"limit": 0, "wake": "s", "env": {}}`, `{"limit": "1", "wake": "s", "env": {}}`} {
		w.deny("TW400", "limit", "select towpath.start('operation', 'rerunnable', '{}', $1)", options)
	}
	// Who starts one waits for whoever does so already, and counts then: both would be let in otherwise.
	w.session("q")
	first, second := w.begin(), w.begin()
	const start = `select towpath.start('operation', 'rerunnable', '{}', '{"limit": 1, "wake": "q", "env": {"image": "tools"}}')`
	_, err = first.Exec(t.Context(), start)
	w.ok(err)
	pid := second.Conn().PgConn().PID()
	ended := make(chan error, 1)
	go func() {
		_, err := second.Exec(t.Context(), start)
		ended <- err
	}()
	for !get[bool](w, "select wait_event_type is not distinct from 'Lock' from pg_stat_activity where pid = $1", pid) && len(ended) == 0 {
	}
	w.ok(first.Commit(t.Context()))
	var pg *pgconn.PgError
	if err := <-ended; !errors.As(err, &pg) || pg.Code != "TW429" {
		t.Errorf("a second one at the same time: %v", err)
	}
	w.ok(second.Rollback(t.Context()))
	w.sound()
}

// feature: D97 D99 D100
func TestABurstOfEndsLosesNone(t *testing.T) {
	t.Parallel()
	const burst = 32
	w := newWorld(t)
	w.session("s")
	var want []string
	for i := range burst {
		want = append(want, w.named(fmt.Sprintf("p%02d", i), waking("s")))
	}
	owners := map[string]store.Owner{}
	for _, id := range want {
		owners[id] = w.claimed(id, node("n"))
	}
	// Somebody reads all the while, and acknowledges what he sees.
	var seen []string
	read := func() {
		list, err := w.store.Completions(t.Context(), "s", "me", 5)
		if err != nil {
			t.Error(err)
			return
		}
		for _, c := range list {
			seen = append(seen, c.ProcessID)
			if err := w.store.CompletionsSeen(t.Context(), "me", "s", c.Seq); err != nil {
				t.Error(err)
			}
		}
	}
	var wg sync.WaitGroup
	for _, id := range want {
		wg.Go(func() {
			if err := w.store.Complete(t.Context(), owners[id], done("k")); err != nil {
				t.Error(err)
			}
		})
	}
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	for busy := true; busy; {
		select {
		case <-ended:
			busy = false
		default:
		}
		read()
	}
	for before := -1; before != len(seen) && !t.Failed(); {
		before = len(seen)
		read()
	}
	if got := sorted(slices.Clone(seen)); !slices.Equal(got, want) {
		t.Errorf("a reader saw %d of %d, each once: %v", len(seen), burst, seen)
	}
	if got := w.told("s", ""); !slices.Equal(got, seen) {
		t.Errorf("somebody who begins now sees %v", got)
	}
	if n := w.wakes("s"); n != burst {
		t.Errorf("%d jobs to wake the session", n)
	}
	// One of them tells it everything, the others nothing.
	woken := w.wake("s", "woken")
	if woken.Completions != burst || woken.Turn == nil {
		t.Errorf("%+v", woken)
	}
	w.wake("s", "later")
	w.sound()
}

// An end and its completion are one transaction; and so they are there after whatever happens next.
//
// feature: D97
func TestAnEndThatIsTakenBackTellsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	o := w.claimed(w.named("a", waking("s")), node("n"))
	tx := w.begin()
	_, err := tx.Exec(t.Context(), "select towpath.complete($1, $2, 'completed', '{}', 'k')", o.No, o.Fence)
	w.ok(err)
	w.ok(tx.Rollback(t.Context()))
	if got := w.told("s", ""); got != nil || w.wakes("s") != 0 {
		t.Errorf("told %v", got)
	}
	// What cannot be recorded does not end.
	w.exec("alter table towpath.completion add constraint full_disk check (false) not valid")
	if err := w.store.Complete(t.Context(), o, done("k")); err == nil {
		t.Error("it ended, and nobody is told")
	}
	w.status("a", "running")
	w.exec("alter table towpath.completion drop constraint full_disk")
	w.ok(w.store.Complete(t.Context(), o, done("k")))
	w.ok(w.store.Complete(t.Context(), o, done("k"))) // the same report again
	if got := w.told("s", ""); !slices.Equal(got, []string{"a"}) || w.wakes("s") != 1 {
		t.Errorf("told %v", got)
	}
	w.sound()
}

// feature: D99
func TestFiveEndsAreOneWake(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	end := func(id string, change ...func(*store.StartOptions)) {
		w.ok(w.store.Complete(t.Context(), w.claimed(w.named(id, append(change, waking("s"))...), node("n")), done(id)))
	}
	for i := range 5 {
		end(fmt.Sprintf("p%d", i), func(o *store.StartOptions) { o.Label = fmt.Sprintf("job %d", i) })
	}
	woken := w.wake("s", "woken")
	if woken.Completions != 5 {
		t.Errorf("%+v", woken)
	}
	o, c := w.run(*woken.Turn, node("n"))
	var said struct{ Text string }
	w.ok(json.Unmarshal(c.Input, &said))
	lines := strings.Split(said.Text, "\n")
	for i, line := range lines {
		if want := fmt.Sprintf("job %d (p%d) completed: {", i, i); !strings.HasPrefix(line, want) {
			t.Errorf("line %d is %q", i, line)
		}
	}
	if len(lines) != 5 {
		t.Errorf("it is told %s", c.Input)
	}

	// During a run the wake waits for its end; and for that of the turn behind it.
	next := w.submit("s")
	w.exec("update river_job set state = 'completed', finalized_at = now() where kind = 'wake'")
	end("during", func(o *store.StartOptions) { o.Label = "late" })
	if w.wakes("s") != 1 {
		t.Error("nobody is asked to wake it")
	}
	w.wake("s", "later")
	w.exec("update river_job set state = 'completed', finalized_at = now() where kind = 'wake'")
	w.complete(o)
	if w.wakes("s") != 0 {
		t.Error("it is to be woken while it has a turn")
	}
	o, _ = w.run(next, node("n"))
	w.complete(o)
	if w.wakes("s") != 1 {
		t.Error("its last turn has ended, and nobody is asked to wake it")
	}
	w.exec("update river_job set state = 'completed', finalized_at = now() where kind = 'wake'")
	if woken := w.wake("s", "woken"); woken.Completions != 1 {
		t.Errorf("%+v", woken)
	}
	o, _ = w.run(get[string](w, "select active_process from towpath.sessions where id = 's'"), node("n"))
	w.complete(o)

	// A member is listed and wakes nobody, and what nobody wakes is in no list.
	end("member", func(o *store.StartOptions) { o.Kind = "member" })
	w.named("quiet")
	_, err := w.store.Cancel(t.Context(), "quiet", "x", 0)
	w.ok(err)
	w.wake("s", "nothing")
	if w.wakes("s") != 0 {
		t.Error("a member wakes")
	}
	if got := w.told("s", ""); len(got) != 7 || got[6] != "member" {
		t.Errorf("told %v", got)
	}

	// A session that is closed is told when it opens again; one that is gone, never.
	w.exec("select towpath.session_control('s', 'stop')")
	end("closed")
	w.exec("update river_job set state = 'completed', finalized_at = now() where kind = 'wake'")
	w.wake("s", "later")
	w.exec("select towpath.session_control('s', 'resume')")
	if w.wakes("s") != 1 {
		t.Error("it is open, and nobody is asked to wake it")
	}
	w.wake("none", "gone")
	w.sound()
}

// feature: D99 D100
func TestAWakeThatIsLostIsAskedForAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	w.named("a", waking("s"))
	_, err := w.store.Cancel(t.Context(), "a", "x", 0)
	w.ok(err)
	w.exec("delete from river_job")
	w.settle()
	w.sweep()
	if w.wakes("s") != 1 {
		t.Error("the sweep did not see it")
	}
	w.sweep()
	if n := w.wakes("s"); n != 1 {
		t.Errorf("%d jobs for one wake", n)
	}
	w.wake("s", "woken")
	w.exec("delete from river_job where kind = 'wake'")
	w.sweep()
	if w.wakes("s") != 0 {
		t.Error("it is woken again")
	}
}

// feature: D100
func TestCompletionsAreDeliveredOncePerCursor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	for i := range 4 {
		w.named(fmt.Sprintf("p%d", i), waking("s"))
		_, err := w.store.Cancel(t.Context(), fmt.Sprintf("p%d", i), "x", 0)
		w.ok(err)
	}
	w.ok(w.store.CompletionsSeen(t.Context(), "a", "s", 0))
	_, err := w.store.Completions(t.Context(), "s", "a", 10)
	w.ok(err)
	w.ok(w.store.CompletionsSeen(t.Context(), "a", "s", 3))
	w.ok(w.store.CompletionsSeen(t.Context(), "a", "s", 3))
	// Another process of the client, after a restart of everything.
	again := store.New(w.pool)
	list, err := again.Completions(t.Context(), "s", "a", 10)
	w.ok(err)
	if len(list) != 1 || list[0].ProcessID != "p3" {
		t.Errorf("a is told %+v", list)
	}
	if got := w.told("s", "b"); len(got) != 4 {
		t.Errorf("b is told %v", got)
	}
	if got := get[string](w, "select string_agg(process_id, ' ') from towpath.completions('s', after => 1, max => 2)"); got != "p1 p2" {
		t.Errorf("a page: %s", got)
	}
	w.refused(w.store.CompletionsSeen(t.Context(), "a", "s", 2), store.ErrConflict, "has seen session")
	w.refused(w.store.CompletionsSeen(t.Context(), "a", "s", 5), store.ErrInvalid, "has completions to 4, not to 5")
	w.refused(w.store.CompletionsSeen(t.Context(), "", "s", 1), store.ErrInvalid, "reader")
	w.refused(w.store.CompletionsSeen(t.Context(), "a", "none", 1), store.ErrNotFound, "unknown session")
	_, err = w.store.Completions(t.Context(), "none", "", 10)
	w.refused(err, store.ErrNotFound, "unknown session")
	_, err = w.store.Completions(t.Context(), "s", "", 0)
	w.refused(err, store.ErrInvalid, "max")
	// Reading a session is another stream of the same reader.
	_, err = w.store.MarkRead(t.Context(), "a", "s")
	w.ok(err)
	w.sound()
	_, err = w.store.DeleteSession(t.Context(), "s")
	w.ok(err)
	if n := get[int](w, "select (select count(*) from towpath.completion) + (select count(*) from towpath.cursor)"); n != 0 {
		t.Errorf("%d rows outlive their session", n)
	}
	w.sound()
}

// feature: D98
func TestWaitingForAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ids := []string{w.named("a"), w.named("b"), w.named("c")}
	end := func(id string) { w.ok(w.store.Complete(t.Context(), w.claimed(id, node("n")), done(id))) }
	end("b")
	type result struct {
		list []store.Process
		err  error
	}
	results := make(chan result, 2)
	for range 2 {
		go func() {
			list, err := w.store.AwaitAll(t.Context(), ids)
			results <- result{list, err}
		}()
	}
	leaving, leave := context.WithCancel(t.Context())
	leave()
	if _, err := w.store.AwaitAll(leaving, ids); !errors.Is(err, context.Canceled) {
		t.Errorf("a waiter that leaves: %v", err)
	}
	end("a")
	if n := get[int](w, "select count(*) from towpath.await_all($1)", ids); n != 0 {
		t.Error("the barrier is open")
	}
	end("c")
	for range 2 {
		r := <-results
		w.ok(r.err)
		if len(r.list) != 3 || r.list[0].ID != "a" || r.list[1].ID != "b" || r.list[2].ID != "c" || !r.list[2].Final() {
			t.Errorf("%+v", r.list)
		}
	}
	if got := get[string](w, "select string_agg(process_id || ' ' || status, ', ') from towpath.await_all('{c,a}')"); got != "c completed, a completed" {
		t.Errorf("await_all: %s", got)
	}
	w.named("never")
	w.deny("TW404", `unknown process "none"`, "select * from towpath.await_all('{never,none}')")
	if t.Failed() {
		return // it would wait for ever
	}
	_, err := w.store.AwaitAll(t.Context(), []string{"never", "none"})
	w.refused(err, store.ErrNotFound, `unknown process "none"`)
	_, err = w.store.AwaitAll(t.Context(), []string{"a", "a"})
	w.refused(err, store.ErrInvalid, "different")
	_, err = w.store.AwaitAll(t.Context(), nil)
	w.refused(err, store.ErrInvalid, "1 to 1000")
}
