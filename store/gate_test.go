package store_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/towpath/towpath/store"
)

// knock claims the job of a turn and says what came of it.
func (w *world) knock(id string) store.Claim {
	w.Helper()
	w.redeliver(id)
	job, args := w.deliver(id)
	return w.claim(node("n"), job, args)
}

// redeliver has River hand out the job of a turn once more, whatever it waited for.
func (w *world) redeliver(id string) {
	w.Helper()
	w.exec("update river_job j set state = 'available' from towpath.process p where p.id = $1 and j.id = p.river_job_id and j.finalized_at is null", id)
}

// again runs a turn that went back.
func (w *world) again(id string) store.Owner {
	w.Helper()
	w.redeliver(id)
	o, _ := w.run(id, node("n"))
	return o
}

// goesBack has a turn's owner give it back because of its provider.
func (w *world) goesBack(o store.Owner, kind string, delay time.Duration) string {
	w.Helper()
	status, err := w.store.Retry(w.Context(), o, kind, delay, false, []byte(`{"message": "no"}`), kind, true)
	w.ok(err)
	return status
}

func (w *world) gate(profile, wish string) {
	w.Helper()
	w.exec("select towpath.gate_put($1, $2)", profile, wish)
}

// id names the process of an owner.
func (w *world) id(o store.Owner) string {
	w.Helper()
	return get[string](w, "select id from towpath.process where no = $1", o.No)
}

func (w *world) turnOf(session, profile string) string {
	w.Helper()
	id, err := w.store.Submit(w.Context(), store.Submission{Profile: profile, Input: []byte(`{"text": "hi"}`), Session: session})
	w.ok(err)
	return id
}

// A provider that wants to be left alone is left alone by every turn of the profile, and no other profile waits for it.
func TestAHoldIsForTheWholeProfile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.profile("q", 3)
	o, _ := w.run(w.submit("s1"), node("n"))
	waits, other := w.turnOf("s2", "p"), w.turnOf("s3", "q")
	if got := w.goesBack(o, "rate_limited", 25*time.Second); got != "backoff" {
		t.Errorf("status %s", got)
	}
	c := w.knock(waits)
	if c.Action != store.ActionLater || !strings.Contains(*c.Detail, `profile "p" is held until`) {
		t.Errorf("claim of a held profile: %+v", c)
	}
	w.status(waits, "queued")
	if got := get[string](w, `select concat_ws(' ', j.state, j.attempt, j.scheduled_at between now() + interval '12 seconds' and now() + interval '27 seconds')
		from river_job j join towpath.process p on p.river_job_id = j.id where p.id = $1`, waits); got != "scheduled 0 t" {
		t.Errorf("job %s", got)
	}
	w.log(waits, "process.queued")
	if got := get[string](w, "select concat_ws(' ', profile, held_for, held_by) from towpath.gates where held_until is not null"); got != "p rate_limited "+w.id(o) {
		t.Errorf("gates: %s", got)
	}
	if got := get[int](w, "select value::int from towpath.gauges() where name = 'profile_held_seconds' and labels ->> 'profile' = 'p'"); got < 12 || got > 25 {
		t.Errorf("gauge %d", got)
	}
	if c := w.knock(other); c.Action != store.ActionRun {
		t.Errorf("claim of another profile: %+v", c)
	}
	w.shift("26 seconds")
	if c := w.knock(waits); c.Action != store.ActionRun {
		t.Errorf("claim after the hold: %+v", c)
	}
	w.sound()
}

// Other kinds of failure hold nobody, and a shorter hold does not shorten a longer one.
func TestWhichFailuresHold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for kind, held := range map[string]bool{"overloaded": false, "truncated": false, "rate_limited": true, "usage_limit": true} {
		w.exec("delete from towpath.gate")
		o, _ := w.run(w.submit(kind), node("n"))
		w.goesBack(o, kind, time.Minute)
		if got := get[bool](w, "select exists (select from towpath.gates where held_until is not null)"); got != held {
			t.Errorf("%s: held %v", kind, got)
		}
		if held {
			w.exec("select towpath.hold_profile('p', 'rate_limited', '1 second', 'x')")
			if got := get[string](w, "select held_for from towpath.gates where profile = 'p'"); got != kind {
				t.Errorf("%s: a shorter hold took its place: %s", kind, got)
			}
		}
	}
}

// What holds one profile of an account holds the others.
func TestAHoldIsForTheWholeAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"q", "r"} {
		w.profile(name, 3)
	}
	w.gate("p", `{"account": "team"}`)
	w.gate("q", `{"account": "team"}`)
	w.gate("r", `{"account": "another"}`)
	o, _ := w.run(w.submit("s"), node("n"))
	w.goesBack(o, "usage_limit", time.Hour)
	if got := get[string](w, "select string_agg(profile, ' ' order by profile) from towpath.gates where held_until is not null"); got != "p q" {
		t.Errorf("held: %s", got)
	}
	id := w.turnOf("s2", "q")
	if c := w.knock(id); c.Action != store.ActionLater {
		t.Errorf("held by its account: %+v", c)
	}
	w.gate("q", `{"hold_s": null}`)
	if got := w.jobState(id); got != "available" {
		t.Errorf("the job of a turn that was let go is %s", got)
	}
	if c := w.knock(id); c.Action != store.ActionRun {
		t.Errorf("let go by an operator: %+v", c)
	}
}

// Waiting for a plan's window is no attempt; being told to slow down is one.
func TestAParkedTurnSpendsNoAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("s")
	for range 5 { // the profile has three attempts
		o := w.again(id)
		if got := w.goesBack(o, "usage_limit", time.Hour); got != "backoff" {
			t.Fatalf("status %s", got)
		}
		w.shift("2 hours")
	}
	for _, want := range []string{"backoff", "backoff", "failed"} {
		o := w.again(id)
		if got := w.goesBack(o, "rate_limited", time.Second); got != want {
			t.Fatalf("status %s, want %s", got, want)
		}
		w.shift("1 minute")
	}
	if p := w.process(id); *p.FailureKind != "rate_limited" {
		t.Errorf("failed as %s", *p.FailureKind)
	}
}

// No more turns of a profile run than it has room for, however many nodes ask at once.
func TestCapacityIsForAllNodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.gate("p", `{"capacity": 3}`)
	var ids []string
	for range 12 {
		ids = append(ids, w.submit(""))
	}
	var mu sync.Mutex
	var owners []store.Owner
	later := 0
	var all sync.WaitGroup
	for _, id := range ids {
		job, args := w.deliver(id)
		all.Go(func() {
			c, err := w.store.Claim(w.Context(), node("n"), job, args, ttl)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				t.Error(err)
			case c.Action == store.ActionRun:
				owners = append(owners, c.Owner())
			case c.Action == store.ActionLater:
				later++
			}
		})
	}
	all.Wait()
	if len(owners) != 3 || later != 9 {
		t.Fatalf("%d run, %d come later", len(owners), later)
	}
	if got := get[string](w, "select concat_ws(' ', capacity, running) from towpath.gates where profile = 'p'"); got != "3 3" {
		t.Errorf("gates: %s", got)
	}
	w.complete(owners[0])
	run := 0
	for _, id := range ids {
		if p := w.process(id); p.Status == "queued" {
			if c := w.knock(id); c.Action == store.ActionRun {
				run++
			}
		}
	}
	if run != 1 {
		t.Errorf("%d turns took the one free place", run)
	}
	// Who asks while another one takes the last place waits for that, and comes later.
	w.profile("q", 3)
	w.gate("q", `{"capacity": 1}`)
	const claim = "select towpath.claim($1, $2, 'n', gen_random_uuid(), '30 seconds')"
	one, two := w.turnOf("one", "q"), w.turnOf("two", "q")
	job, args := w.deliver(one)
	first := w.begin()
	_, err := first.Exec(t.Context(), claim, job, args)
	w.ok(err)
	job, args = w.deliver(two)
	w.behind(first, "", claim, job, args)
	w.status(one, "running")
	w.status(two, "queued")
	w.sound()
}

// A session over its budget waits, says why, and goes on once it is given more. What has begun is not left half done.
func TestABudgetOfASessionPausesIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o, _ := w.run(w.submit("s"), node("n"))
	w.exec("select towpath.budget_put('s', 100)")
	_, err := w.store.Append(w.Context(), []store.Batch{{Owner: o, Types: []string{"usage"}, Data: []string{told("r1", "90", "20")}}})
	w.ok(err)
	if got := w.goesBack(o, "overloaded", time.Second); got != "backoff" {
		t.Errorf("status %s", got)
	}
	w.shift("10 seconds")
	id := w.id(o)
	o = w.again(id) // an attempt of what had begun
	w.complete(o)
	next, other := w.submit("s"), w.submit("another")
	if c := w.knock(next); c.Action != store.ActionSkip || !strings.Contains(*c.Detail, `session "s" has used 110 of 100 tokens`) {
		t.Errorf("claim over the budget: %+v", c)
	}
	w.status(next, "waiting")
	w.log(next, "process.queued", "process.waiting")
	if got := get[string](w, "select wait::text from towpath.processes where id = $1", next); got != `{"of": "session", "kind": "budget", "name": "s", "used": 110, "budget": 100}` {
		t.Errorf("wait %s", got)
	}
	if c := w.knock(other); c.Action != store.ActionRun {
		t.Errorf("another session: %+v", c)
	}
	w.settle()
	w.sweep()
	w.status(next, "waiting")
	w.exec("select towpath.budget_put('s', 1000)")
	w.settle()
	w.sweep()
	w.status(next, "queued")
	if c := w.knock(next); c.Action != store.ActionRun {
		t.Errorf("claim with a budget: %+v", c)
	}
	w.sound()
}

// A profile's budget is for a day: the next day it goes on by itself.
func TestABudgetOfAProfileIsForATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.gate("p", `{"budget": 50, "per": "day"}`)
	o, _ := w.run(w.submit("s"), node("n"))
	_, err := w.store.Append(w.Context(), []store.Batch{{Owner: o, Types: []string{"usage"}, Data: []string{told("r1", "40", "20")}}})
	w.ok(err)
	w.complete(o)
	w.shift("11 seconds") // the sum is that old at most
	id := w.submit("s2")
	if c := w.knock(id); c.Action != store.ActionSkip {
		t.Errorf("claim over the budget: %+v", c)
	}
	w.settle()
	w.sweep()
	w.status(id, "waiting")
	if got := get[string](w, "select concat_ws(' ', budget, per, used, paused) from towpath.gates where profile = 'p'"); got != "50 day 60 1" {
		t.Errorf("gates: %s", got)
	}
	if got := get[int](w, "select value::int from towpath.gauges() where name = 'turns_paused'"); got != 1 {
		t.Errorf("gauge %d", got)
	}
	w.shift("1 day")
	w.settle()
	w.sweep()
	w.status(id, "queued")
	if c := w.knock(id); c.Action != store.ActionRun {
		t.Errorf("claim on the next day: %+v", c)
	}
	// A paused turn can be cancelled like any other.
	w.exec("update towpath.usage set at = towpath.now()")
	w.exec("update towpath.gate set used_at = null")
	paused := w.submit("s3")
	w.knock(paused)
	w.status(paused, "waiting")
	_, err = w.store.Cancel(w.Context(), paused, "enough", time.Second)
	w.ok(err)
	w.status(paused, "cancelled")
	w.sound()
}

func TestWishesThatMakeNoSense(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for wish, says := range map[string]string{
		`{"color": 1}`: "color is not known", `{"capacity": 0}`: "out of its range", `{"budget": 5}`: "a budget is for a time", `{"per": "day"}`: "a budget is for a time",
		`{"budget": 5, "per": "hour"}`: "out of its range", `{"hold_s": -1}`: "out of its range", `{"account": ""}`: "out of its range", `{"capacity": 1.5}`: "capacity",
	} {
		w.deny("TW400", says, "select towpath.gate_put('p', $1)", wish)
	}
	w.deny("TW404", `unknown profile "nobody"`, "select towpath.gate_put('nobody', '{}')")
	w.deny("TW404", "unknown session", "select towpath.budget_put('nobody', 5)")
	w.deny("TW400", "below 1", "select towpath.budget_put('s', 0)")
}
