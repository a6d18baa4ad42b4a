package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/towpath/towpath/store"
)

func (w *world) sweep() []string {
	w.Helper()
	ids, err := w.store.Sweep(w.Context(), ttl, uuid.Nil, 100)
	w.ok(err)
	return ids
}

// settle makes the server look old enough for a sweep.
func (w *world) settle() { w.Helper(); w.shift("1 minute") }

// raw sets columns that no function sets, to make the rows of a decision table.
func (w *world) raw(sql string, args ...any) {
	w.Helper()
	tx := w.begin()
	_, err := tx.Exec(w.Context(), "set local session_replication_role = replica")
	w.ok(err)
	_, err = tx.Exec(w.Context(), sql, args...)
	w.ok(err)
	w.ok(tx.Commit(w.Context()))
}

// feature: D65
func TestTheSweepDecidesByTheRow(t *testing.T) {
	t.Parallel()
	bind := func(w *world, id string) {
		w.raw("update towpath.process set disposition = 'owner_bound' where id = $1", id)
	}
	external := func(w *world, id string) {
		w.raw("update towpath.process set class = 'external', disposition = 'externally_owned', status = 'running' where id = $1", id)
		w.exec("select towpath.note(no, 'process.started', '{}') from towpath.process where id = $1", id)
	}
	mark := func(w *world, id string) {
		_, err := w.store.RequestAbandon(w.Context(), id, "me", "")
		w.ok(err)
	}
	claim := func(w *world, id string) { w.run(id, node("dead")) }
	unstarted := func(w *world, id string) {
		w.run(id, node("dead"))
		w.raw("update towpath.process set first_started = null where id = $1", id)
	}
	spent := func(w *world, id string) {
		w.run(id, node("dead"))
		w.exec("update towpath.process set max_attempts = 1 where id = $1", id)
	}
	cancelled := func(w *world, id string) {
		w.run(id, node("dead"))
		_, err := w.store.Cancel(w.Context(), id, "enough", 0)
		w.ok(err)
	}
	type steps []func(*world, string)
	for name, c := range map[string]struct {
		set    steps
		status string
		writer string
		leaves bool // the sweep does not touch it
	}{
		"rerunnable, lapsed":                         {steps{claim}, "queued", "", false},
		"rerunnable, lapsed, budget spent":           {steps{spent}, "abandoned", "engine_gave_up", false},
		"rerunnable, lapsed, cancel requested":       {steps{cancelled}, "cancelled", "", false},
		"rerunnable, lapsed, marked":                 {steps{claim, mark}, "queued", "", false},
		"owner-bound, not started, lapsed":           {steps{unstarted, bind}, "queued", "", false},
		"owner-bound, started, lapsed, marked":       {steps{claim, bind, mark}, "abandoned", "reconciled_request", false},
		"owner-bound, started, lapsed":               {steps{claim, bind}, "running", "", true},
		"owner-bound, started, lapsed, cancel asked": {steps{cancelled, bind}, "running", "", true},
		"externally owned, marked":                   {steps{external, mark}, "abandoned", "reconciled_request", false},
		"externally owned":                           {steps{external}, "running", "", true},
		"queued, job there":                          {nil, "queued", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			id, next := w.submit("s"), w.submit("s")
			for _, step := range c.set {
				step(w, id)
			}
			// A live lease protects whatever stands in the row.
			if len(c.set) > 0 && get[int](w, "select count(*) from towpath.lease") > 0 {
				w.exec("update towpath.lease set expires_at = towpath.now() + '1 hour'")
				w.settle()
				if ids := w.sweep(); len(ids) > 0 {
					t.Fatalf("swept %v although its lease is live", ids)
				}
				w.exec("update towpath.lease set expires_at = towpath.now()")
			}
			w.settle()
			ids := w.sweep()
			if swept := len(ids) == 1 && ids[0] == id; swept == c.leaves || len(ids) > 1 {
				t.Errorf("swept %v", ids)
			}
			w.status(id, c.status)
			if writer := get[string](w, "select coalesce(abandon_writer, '') from towpath.processes where id = $1", id); writer != c.writer {
				t.Errorf("abandoned by %q", writer)
			}
			switch c.status {
			case "queued":
				if jobs := w.live(id); jobs != 1 || w.jobState(id) != "available" {
					t.Errorf("%d live River jobs, its own is %s", jobs, w.jobState(id))
				}
			case "running":
			default:
				if jobs := w.live(id); jobs != 0 {
					t.Errorf("%d live River jobs of an ended process", jobs)
				}
				if jobs := w.live(next); jobs != 1 {
					t.Errorf("the next turn has %d River jobs", jobs)
				}
			}
			if ids := w.sweep(); len(ids) != 0 {
				t.Errorf("a second sweep found %v", ids)
			}
			w.sound()
		})
	}
}

func TestWhatASweptTurnGoesThrough(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("")
	o, _ := w.run(id, node("dead"))
	w.say(o, "half")
	old := *w.process(id).RiverJobID
	w.settle()
	w.sweep()
	if state := get[string](w, "select state::text from river_job where id = $1", old); state != "cancelled" {
		t.Errorf("the dead node's River job is %s", state)
	}
	if stored, err := w.store.Append(t.Context(), []store.Batch{batch(o, "zombie")}); err != nil || len(stored) != 0 {
		t.Errorf("a zombie wrote: %v, %v", stored, err)
	}
	w.complete(func() store.Owner { o, _ := w.run(id, node("n")); return o }())
	w.log(id, "process.queued", "process.started", "text", "process.requeued", "process.retracted", "process.started", "process.completed")
	w.sound()
}

func TestANodeThatIsKnownToHaveDied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dead := node("dead")
	a, b := w.submit(""), w.submit("")
	w.run(a, dead)
	w.run(b, node("alive"))
	// Neither the lease's time nor the server's age has to pass.
	ids, err := w.store.Sweep(t.Context(), ttl, dead.Incarnation, 100)
	w.ok(err)
	if len(ids) != 1 || ids[0] != a {
		t.Errorf("swept %v", ids)
	}
	w.status(a, "queued")
	w.status(b, "running")
	w.sound()
}

func TestNothingIsSweptRightAfterTheServerStarted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	started := get[time.Duration](w, "select pg_postmaster_start_time() - clock_timestamp()")
	w.exec("insert into towpath.clock (shift) values ($1)", started) // the moment of the server's start
	id := w.submit("")
	w.run(id, node("dead"))
	w.exec("update towpath.lease set expires_at = towpath.now() - interval '1 hour'")
	w.shift("20 seconds")
	if ids := w.sweep(); len(ids) != 0 {
		t.Errorf("swept %v", ids)
	}
	w.shift("11 seconds")
	if ids := w.sweep(); len(ids) != 1 {
		t.Errorf("swept %v", ids)
	}
}

func TestARiverJobThatIsGoneIsReplaced(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]string{
		"deleted":                     "delete from river_job",
		"discarded":                   "update river_job set state = 'discarded', finalized_at = now()",
		"completed by mistake":        "update river_job set state = 'completed', finalized_at = now()",
		"fetched by a node that died": "update river_job set state = 'running', attempted_at = now() - interval '31 seconds'",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			id, waits := w.submit("s"), w.submit("s")
			w.exec(lose)
			w.shift("20 seconds")
			if ids := w.sweep(); len(ids) != 0 {
				t.Errorf("too early, swept %v", ids)
			}
			w.shift("11 seconds")
			if ids := w.sweep(); len(ids) != 1 || ids[0] != id {
				t.Errorf("swept %v", ids)
			}
			w.sound()
			if jobs := w.live(waits); jobs != 0 {
				t.Errorf("the turn that waits got %d jobs", jobs)
			}
			o, _ := w.run(id, node("n"))
			w.complete(o)
			w.sound()
		})
	}
}

func TestALostBackoffKeepsItsTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("")
	o, _ := w.run(id, node("n"))
	_, err := w.store.Retry(t.Context(), o, "x", 10*time.Minute, false, nil, "", false)
	w.ok(err)
	w.exec("delete from river_job")
	w.shift("5 minutes")
	if ids := w.sweep(); len(ids) != 0 {
		t.Errorf("not due, swept %v", ids)
	}
	w.shift("6 minutes")
	if ids := w.sweep(); len(ids) != 1 {
		t.Errorf("swept %v", ids)
	}
	w.sound()
}

func TestALostScheduledTurnKeepsItsTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := get[string](w, `select to_char(now() at time zone 'UTC' + '1 hour', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')`)
	id, err := w.store.Submit(t.Context(), store.Submission{Profile: "p", Input: []byte("{}"), Options: []byte(`{"scheduled_at": "` + at + `"}`)})
	w.ok(err)
	w.exec("delete from river_job")
	w.settle()
	if ids := w.sweep(); len(ids) != 1 {
		t.Fatalf("swept %v", ids)
	}
	if state := w.jobState(id); state != "scheduled" {
		t.Errorf("River job is %s", state)
	}
	w.settle()
	if ids := w.sweep(); len(ids) != 0 {
		t.Errorf("swept %v", ids)
	}
}

// Somebody cancels the job in River's own UI.
func TestAQueuedTurnWhoseRiverJobWasCancelled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, next := w.submit("s"), w.submit("s")
	w.exec("update river_job set state = 'cancelled', finalized_at = now()")
	w.shift("31 seconds")
	if ids := w.sweep(); len(ids) != 1 {
		t.Errorf("swept %v", ids)
	}
	w.log(id, "process.queued", "process.cancelled")
	if outcome := string(w.process(id).Outcome); outcome != `{"reason": "River job cancelled"}` {
		t.Errorf("outcome %s", outcome)
	}
	w.run(next, node("n"))
	w.sound()
}

// A client's row that a node fetched, and died before it read it, is the only truth about its turn.
func TestAClientsRowOfADeadNodeIsHandedOutAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	job := get[int64](w, `insert into river_job (kind, args, max_attempts) values ('turn', '{"profile": "p", "input": {}}', 1) returning id`)
	w.fetch(job)
	w.settle()
	w.sweep()
	if state := get[string](w, "select state::text from river_job"); state != "running" {
		t.Errorf("too early, it is %s", state)
	}
	w.exec("update river_job set attempted_at = now() - interval '31 seconds'")
	w.sweep()
	c := w.claim(node("n"), job, w.fetch(job))
	if c.Action != store.ActionRun {
		t.Fatalf("%s", c.Action)
	}
	// While it runs, its row stays as it is, however old; after a death it ends with the turn's next generation.
	w.exec("update river_job set attempted_at = now() - interval '31 seconds'")
	w.exec("update towpath.lease set expires_at = towpath.now() + '1 hour'")
	w.sweep()
	if state := get[string](w, "select state::text from river_job"); state != "running" {
		t.Errorf("the row of a running turn is %s", state)
	}
	w.exec("update towpath.lease set expires_at = towpath.now()")
	w.sweep()
	states := get[string](w, "select string_agg(state::text, ' ' order by id) from river_job")
	if states != "cancelled available" {
		t.Errorf("rows are %s", states)
	}
	w.sound()
}

// A row that had nothing to do, of a node that died before River noted that.
func TestAnObsoleteRowOfADeadNodeEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o, _ := w.run(w.submit("s"), node("n"))
	job := get[int64](w, `insert into river_job (kind, args) values ('turn', '{"profile": "p", "input": {}, "session": "s"}') returning id`)
	c := w.claim(node("dead"), job, w.fetch(job))
	if c.Action != store.ActionQueued {
		t.Fatalf("%s", c.Action)
	}
	w.exec("update river_job set attempted_at = now() - interval '31 seconds' where id = $1", job)
	w.exec("update towpath.lease set expires_at = towpath.now() + '1 hour'")
	w.settle()
	w.sweep()
	if state := get[string](w, "select state::text from river_job where id = $1", job); state != "completed" {
		t.Errorf("the row is %s", state)
	}
	w.complete(o)
	w.run(*c.ProcessID, node("n"))
	w.sound()
}

// Whoever holds a process's locks is at work on it: the sweep goes on with the others.
func TestTheSweepWaitsForNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	held, free := w.submit("held"), w.submit("free")
	w.run(held, node("dead"))
	w.run(free, node("dead"))
	w.settle()
	tx := w.begin()
	defer tx.Rollback(t.Context())
	_, err := tx.Exec(t.Context(), "select towpath.locked($1)", held)
	w.ok(err)
	if ids := w.sweep(); len(ids) != 1 || ids[0] != free {
		t.Errorf("swept %v", ids)
	}
	w.ok(tx.Rollback(t.Context()))
	if ids := w.sweep(); len(ids) != 1 || ids[0] != held {
		t.Errorf("swept %v", ids)
	}
	w.sound()
}

func TestTheSweepForgetsNodesThatAreGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old, busy, fresh := node("old"), node("busy"), node("fresh")
	w.start(old, "v", "h", 1, []string{})
	w.start(busy, "v", "h", 1, []string{})
	w.run(w.submit(""), busy)
	w.exec("update towpath.lease set expires_at = expires_at + interval '3 days'")
	w.shift("25 hours")
	w.start(fresh, "v", "h", 1, []string{})
	w.sweep()
	if names := get[string](w, "select string_agg(id, ' ' order by id) from towpath.nodes"); names != "busy fresh" {
		t.Errorf("nodes %s", names)
	}
}

func TestSweepStopsAtItsLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 3 {
		w.run(w.submit(""), node("dead"))
	}
	w.settle()
	ids, err := w.store.Sweep(t.Context(), ttl, uuid.Nil, 2)
	w.ok(err)
	if len(ids) != 2 {
		t.Errorf("swept %s", strings.Join(ids, " "))
	}
	if ids := w.sweep(); len(ids) != 1 {
		t.Errorf("then %v", ids)
	}
	w.sound()
}
