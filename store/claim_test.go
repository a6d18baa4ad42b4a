package store_test

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/towpath/towpath/store"
)

func TestOneOfSixteenClaimsWins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("")
	job, args := w.deliver(id)
	claims := make([]store.Claim, 16)
	var wg sync.WaitGroup
	for i := range claims {
		wg.Go(func() {
			var err error
			if claims[i], err = w.store.Claim(t.Context(), node("n"), job, args, ttl); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	won := 0
	for _, c := range claims {
		switch {
		case c.Action == store.ActionRun:
			won++
		case c.Action != store.ActionSkip || !strings.Contains(*c.Detail, `node "n" holds the lease`):
			t.Errorf("a loser got %s %s", c.Action, *c.Detail)
		}
	}
	if p := w.process(id); won != 1 || p.Attempt != 1 {
		t.Errorf("%d winners, attempt %d", won, p.Attempt)
	}
	w.log(id, "process.queued", "process.started")
	w.sound()
}

func TestWhatAClaimTells(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("s")
	_, err := w.store.Steer(t.Context(), id, []byte(`{"text": "early"}`), "")
	w.ok(err)
	_, c := w.run(id, node("n"))
	if *c.SessionID != "s" || *c.Profile != "p" || *c.Attempt != 1 || string(c.Input) != `{"text": "hi"}` || *c.Version != 0 ||
		c.Digest != nil || *c.TimeoutMS != 60_000 || *c.LastSeq != 2 || !*c.Words || *c.Resume {
		t.Errorf("claim %+v", c)
	}
	p := w.process(id)
	if p.Status != "running" || *p.Node != "n" {
		t.Errorf("process %+v", p)
	}
	first := get[string](w, "select first_started ->> 'node' from towpath.process where id = $1", id)
	if first != "n" {
		t.Errorf("first started by %q", first)
	}
}

func TestTheSameIncarnationAsksAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("")
	job, args := w.deliver(id)
	n := node("n")
	first := w.claim(n, job, args)
	w.shift("10 seconds")
	// Its answer was lost on the way: the same lease, for longer.
	again := w.claim(n, job, args)
	if again.Action != store.ActionRun || *again.Fence != *first.Fence || *again.Attempt != 1 {
		t.Errorf("again %+v, first %+v", again, first)
	}
	if left := get[bool](w, "select expires_at > towpath.now() + '21 seconds' from towpath.lease"); !left {
		t.Error("the lease was not extended")
	}
	// Another start of the same node is somebody else.
	if c := w.claim(node("n"), job, args); c.Action != store.ActionSkip {
		t.Errorf("another incarnation: %s", c.Action)
	}
	// A cancel request does not end what its owner may be executing.
	if status, err := w.store.Cancel(t.Context(), id, "stop", ttl); status != "running" || err != nil {
		t.Fatalf("%s, %v", status, err)
	}
	if again := w.claim(n, job, args); again.Action != store.ActionRun || *again.Fence != *first.Fence {
		t.Errorf("after a cancel request: %+v", again)
	}
	w.log(id, "process.queued", "process.started", "process.cancel_requested")
	w.sound()
}

// The node could not write the end of its execution, and River hands it the job again: the guest begins anew.
func TestTheSameIncarnationBeginsAnewAfterItSaidSomething(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("")
	job, args := w.deliver(id)
	n := node("n")
	first := w.claim(n, job, args)
	o := first.Owner()
	w.say(o, "half an answer")
	again := w.claim(n, job, args)
	if again.Action != store.ActionRun || *again.Fence <= *first.Fence || *again.Attempt != 2 {
		t.Errorf("again %+v", again)
	}
	w.log(id, "process.queued", "process.started", "text", "process.retracted", "process.started")
	w.sound()
}

func TestALapsedLeaseIsTakenOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("")
	job, args := w.deliver(id)
	dead := w.claim(node("a"), job, args)
	w.say(dead.Owner(), "half an", "answer")
	w.shift("31 seconds")
	c := w.claim(node("b"), job, args)
	if c.Action != store.ActionRun || *c.Fence <= *dead.Fence || *c.Attempt != 2 {
		t.Fatalf("takeover %+v", c)
	}
	w.log(id, "process.queued", "process.started", "text", "text", "process.retracted", "process.started")
	events, err := w.store.Events(t.Context(), id, 4, 1)
	w.ok(err)
	var retracted struct {
		From int64 `json:"from_seq"`
		To   int64 `json:"to_seq"`
	}
	if err := json.Unmarshal(events[0].Data, &retracted); err != nil || retracted.From != 3 || retracted.To != 4 {
		t.Errorf("retracted %+v, %v", retracted, err)
	}
	ends := get[string](w, "select string_agg(coalesce(end_reason, 'open'), ', ' order by attempt) from towpath.attempt")
	if ends != "lease lapsed, open" {
		t.Errorf("attempts: %s", ends)
	}
	w.sound()
}

func TestAJobOfAnOlderGenerationDoesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("")
	job, args := w.deliver(id)
	c := w.claim(node("n"), job, args)
	_, err := w.store.Retry(t.Context(), c.Owner(), "again", 0, false, []byte("{}"), "", false)
	w.ok(err)
	if old := w.claim(node("n"), job, args); old.Action != store.ActionSkip || !strings.Contains(*old.Detail, "generation 1, process is at 2") {
		t.Errorf("old job: %+v", old)
	}
	o, _ := w.run(id, node("n"))
	w.complete(o)
	if done := w.claim(node("n"), job, args); done.Action != store.ActionSkip || *done.Detail != "process is completed" {
		t.Errorf("after the end: %+v", done)
	}
	if c := w.claim(node("n"), 1, json.RawMessage(`{"process_id": "p_none", "generation": 1}`)); c.Action != store.ActionSkip {
		t.Errorf("unknown process: %+v", c)
	}
}

// Who dies again and again before it stores anything spends the budget all the same, and the session goes on.
//
// feature: D68 D69
func TestASpentBudgetIsGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, next := w.submit("s"), w.submit("s")
	job, args := w.deliver(id)
	for range 3 {
		if c := w.claim(node("n"), job, args); c.Action != store.ActionRun {
			t.Fatalf("%+v", c)
		}
		w.shift("31 seconds")
	}
	if c := w.claim(node("n"), job, args); c.Action != store.ActionSkip || *c.Detail != "attempt budget is spent" {
		t.Errorf("fourth claim: %+v", c)
	}
	w.status(id, "abandoned")
	if writer := get[string](w, "select abandon_writer from towpath.processes where id = $1", id); writer != "engine_gave_up" {
		t.Errorf("abandoned by %s", writer)
	}
	w.run(next, node("n"))
	w.sound()
}

// A turn whose cancel was asked for while nobody renewed its lease does not begin again.
func TestACancelledTurnIsNotTakenOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("")
	job, args := w.deliver(id)
	w.claim(node("a"), job, args)
	_, err := w.store.Cancel(t.Context(), id, "enough", 0)
	w.ok(err)
	w.shift("31 seconds")
	if c := w.claim(node("b"), job, args); c.Action != store.ActionSkip {
		t.Errorf("%+v", c)
	}
	w.status(id, "cancelled")
	w.sound()
}

func TestWhoMayExecuteIsTheDispositions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := node("n")
	bound := w.submit("")
	w.exec("alter table towpath.process disable trigger user")
	w.exec("update towpath.process set disposition = 'owner_bound' where id = $1", bound)
	w.exec("alter table towpath.process enable trigger user")
	job, args := w.deliver(bound)
	w.claim(n, job, args)
	w.shift("31 seconds")
	if c := w.claim(node("n"), job, args); c.Action != store.ActionSkip || !strings.Contains(*c.Detail, "owner_bound") {
		t.Errorf("another incarnation got an owner-bound process: %+v", c)
	}
	if c := w.claim(n, job, args); c.Action != store.ActionRun {
		t.Errorf("its owner: %+v", c)
	}
	w.sound()
}

func TestRenewingKeepsWhatIsHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := node("a"), node("b")
	w.start(a, "v1", "host", 7, []string{"turns"})
	one, two, three := w.submit(""), w.submit(""), w.submit("")
	o1, _ := w.run(one, a)
	o2, _ := w.run(two, a)
	o3, _ := w.run(three, b)
	w.shift("31 seconds")
	// Lapsed, but nobody has taken it: still its owner's.
	held, err := w.store.Renew(t.Context(), a, ttl)
	w.ok(err)
	if len(held) != 2 || held[o1.No] != o1.Fence || held[o2.No] != o2.Fence {
		t.Errorf("held %v", held)
	}
	w.say(o1, "still here")
	if stored, err := w.store.Append(t.Context(), []store.Batch{batch(o3, "too late")}); err != nil || len(stored) != 0 {
		t.Errorf("a lapsed lease wrote: %v, %v", stored, err)
	}
	seen := get[bool](w, "select seen_at = (select max(seen_at) from towpath.node) and seen_at > started_at and leases = 2 from towpath.nodes where id = 'a'")
	if !seen {
		t.Error("the node was not seen")
	}
	// A new start of the node holds nothing.
	restarted := node("a")
	w.start(restarted, "v2", "host", 8, []string{"turns"})
	if held, err := w.store.Renew(t.Context(), restarted, ttl); err != nil || len(held) != 0 {
		t.Errorf("a new incarnation holds %v, %v", held, err)
	}
	w.ok(w.store.StopNode(t.Context(), a)) // an old incarnation's good-bye changes nothing
	if stopped := get[bool](w, "select stopped_at is not null from towpath.nodes where id = 'a'"); stopped {
		t.Error("the old incarnation stopped the new one")
	}
	w.ok(w.store.StopNode(t.Context(), restarted))
	if stopped := get[bool](w, "select stopped_at is not null from towpath.nodes where id = 'a'"); !stopped {
		t.Error("the node did not stop")
	}
}

// What waits costs a turn nothing. The plans are those of a young database, made when its tables were empty and kept since.
func TestEachStepOfATurnReadsItsOwnRows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conn, err := w.pool.Acquire(t.Context())
	w.ok(err)
	defer conn.Release()
	// A whole turn on one connection, and how many rows of ours that read.
	turn := func(session string) (read int) {
		id := w.submit(session)
		job, args := w.deliver(id)
		tx, err := conn.Begin(t.Context())
		w.ok(err)
		var no, fence int64
		w.ok(tx.QueryRow(t.Context(), "select process_no, fence from towpath.claim($1, $2, 'n', gen_random_uuid(), '1 minute')", job, args).Scan(&no, &fence))
		for _, step := range []string{
			`select count(*) from towpath.append(array[$1::bigint], array[$2::bigint], array[$2::bigint], '{"text"}', '{"{}"}', array(select i.id from towpath.input i where i.process_no = $1))`,
			"select towpath.forget($1, $2, 'begun anew')",
			"select towpath.finish($1, $2, 'completed', '{}', base_version => 0)",
		} {
			_, err := tx.Exec(t.Context(), step, no, fence)
			w.ok(err)
		}
		w.ok(tx.QueryRow(t.Context(), `select sum(idx_tup_fetch + seq_tup_read)::int from pg_stat_xact_user_tables where schemaname = 'towpath'`).Scan(&read))
		w.ok(tx.Commit(t.Context()))
		return read
	}
	turn("before")
	alone := turn("alone")
	const waiting = 1000
	w.exec("select count(towpath.submit('p', '{}')) from generate_series(1, $1)", waiting)
	if beside := turn("beside"); beside > alone+waiting/10 {
		t.Errorf("beside %d turns that wait a turn reads %d rows, alone %d", waiting, beside, alone)
	}
}
