package store_test

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/towpath/towpath/store"
)

func TestTurnsOfASessionRunInTheOrderOfAcceptance(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ids := []string{w.submit("s"), w.submit("s"), w.submit("s"), w.submit("s")}
	other := w.submit("elsewhere")
	n := node("n")
	o, _ := w.run(ids[0], n)
	w.run(other, n) // sessions do not wait for each other
	for _, id := range ids[1:] {
		if jobs := w.live(id); jobs != 0 {
			t.Errorf("turn %s has %d River jobs while the first one runs", id, jobs)
		}
	}
	w.complete(o)
	w.status(ids[0], "completed")

	// The second fails, the third is cancelled before its time, so the fourth comes next.
	o, _ = w.run(ids[1], n)
	if status, err := w.store.Cancel(t.Context(), ids[2], "never mind", 0); status != "cancelled" || err != nil {
		t.Fatalf("%s, %v", status, err)
	}
	if jobs := w.live(ids[3]); jobs != 0 {
		t.Errorf("cancelling a turn that waits gave the next one %d jobs", jobs)
	}
	end := completed(o)
	end.Status, end.Kind = "failed", "provider"
	w.ok(w.store.Finish(t.Context(), end))
	o, _ = w.run(ids[3], n)
	w.sound()
	w.complete(o)
	if active := get[*string](w, "select active_process from towpath.sessions where id = 's'"); active != nil {
		t.Errorf("active process %q of an idle session", *active)
	}
	w.sound()
}

func TestCancellingTheHeadStartsTheNext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := w.submit("s"), w.submit("s")
	_, err := w.store.Cancel(t.Context(), first, "no", 0)
	w.ok(err)
	if state := w.jobState(first); state != "cancelled" {
		t.Errorf("River job of the cancelled turn is %s", state)
	}
	if jobs := w.live(second); jobs != 1 {
		t.Errorf("the next turn has %d River jobs", jobs)
	}
	w.sound()
}

func TestSubmitsToOneSessionAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := w.store.Submit(t.Context(), store.Submission{Profile: "p", Input: []byte("{}"), Session: "s"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if jobs := get[int](w, "select count(*) from river_job"); jobs != 1 {
		t.Errorf("%d River jobs", jobs)
	}
	w.sound()
	n := node("n")
	for range 20 {
		o, _ := w.run(get[string](w, "select active_process from towpath.session"), n)
		w.complete(o)
	}
	order := get[[]int64](w, "select array_agg(p.turn_no order by p.finalized_at, p.no) from towpath.process p")
	if len(order) != 20 || !slices.IsSorted(order) {
		t.Errorf("turns ended in order %v", order)
	}
	w.sound()
}

// A client's own INSERT and a call of submit lead to the same process, and the same events.
func TestBothDoorsAreOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := node("n")
	submitted := w.submit("")
	o, c := w.run(submitted, n)
	w.say(o, "hello")
	w.complete(o)

	job := get[int64](w, `insert into river_job (kind, args) values ('turn', '{"profile": "p", "input": {"text": "hi"}}') returning id`)
	plain := w.claim(n, job, w.fetch(job))
	if plain.Action != store.ActionRun {
		t.Fatalf("claim: %+v", plain)
	}
	if string(plain.Input) != string(c.Input) || *plain.TimeoutMS != *c.TimeoutMS || *plain.Attempt != *c.Attempt || *plain.LastSeq != *c.LastSeq {
		t.Errorf("claims differ: %+v, %+v", plain, c)
	}
	o = plain.Owner()
	w.say(o, "hello")
	w.complete(o)
	w.log(*plain.ProcessID, w.types(submitted)...)
	row := "select (to_jsonb(p) - '{id,session,created_at,updated_at,finalized_at,river_job_id,first_started}'::text[])::text from towpath.processes p where id = $1"
	if a, b := get[string](w, row, submitted), get[string](w, row, *plain.ProcessID); a != b {
		t.Errorf("processes differ:\n%s\n%s", a, b)
	}
	// The client finds its process in the row that it inserted.
	meta := get[string](w, "select concat_ws(' ', state, metadata ->> 'process_id', metadata -> 'output' ->> 'status') from river_job where id = $1", job)
	if meta != "completed "+*plain.ProcessID+" completed" {
		t.Errorf("the client's row: %s", meta)
	}
	w.sound()
}

func TestAPlainInsertInABusySession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := node("n")
	o, _ := w.run(w.submit("s"), n)
	job := get[int64](w, `insert into river_job (kind, args) values ('turn', '{"profile": "p", "input": {}, "session": "s"}') returning id`)
	args := w.fetch(job)
	c := w.claim(n, job, args)
	if c.Action != store.ActionQueued {
		t.Fatalf("%s", c.Action)
	}
	if again := w.claim(n, job, args); again.Action != store.ActionQueued || *again.ProcessID != *c.ProcessID {
		t.Errorf("delivered again: %+v", again)
	}
	w.complete(o)
	// It has a job of its own now; the client's row does nothing more.
	if again := w.claim(n, job, args); again.Action != store.ActionQueued {
		t.Errorf("the client's row after its turn got a job: %s", again.Action)
	}
	o, _ = w.run(*c.ProcessID, n)
	w.complete(o)
	w.sound()
}

// River delivers a row again, to a worker whose time zone is another: it is the same turn.
func TestARowDeliveredTwiceIsOneTurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	job := get[int64](w, `insert into river_job (kind, args) values ('turn', '{"profile": "p", "input": {}}') returning id`)
	args := w.fetch(job)
	var ids []string
	for _, zone := range []string{"UTC", "Asia/Tokyo"} {
		tx := w.begin()
		_, err := tx.Exec(t.Context(), "set local timezone to '"+zone+"'")
		w.ok(err)
		var id string
		w.ok(tx.QueryRow(t.Context(), "select process_id from towpath.claim($1, $2, 'n', gen_random_uuid(), '1 minute')", job, args).Scan(&id))
		w.ok(tx.Commit(t.Context()))
		ids = append(ids, id)
	}
	if ids[0] != ids[1] {
		t.Errorf("two processes for one row: %v", ids)
	}
}

func TestArgsThatMeanNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("")
	for args, says := range map[string]string{
		`{}`:                                 "profile is missing",
		`{"profile": "p"}`:                   "input is missing",
		`{"profile": "p", "input": "x"}`:     "input is not a JSON object",
		`{"profile": "nobody", "input": {}}`: "unknown profile",
		`{"profile": 5, "input": {}}`:        "profile is not a string",
		`{"profile": "p", "input": {}, "session": {"a": 1}}`:      "session is not a string",
		`{"profile": "p", "input": {}, "session": ""}`:            "session is not a name",
		`{"profile": "p", "input": {}, "options": [1]}`:           "options is not an object",
		`{"profile": "p", "input": {}, "promt": 1}`:               `unknown key "promt"`,
		`{"process_id": 5, "generation": 1}`:                      "process_id",
		`{"process_id": "` + id + `"}`:                            "generation",
		`{"process_id": "` + id + `", "generation": "x"}`:         "generation",
		`{"process_id": "` + id + `", "generation": 99999999999}`: "generation",
	} {
		job := get[int64](w, `insert into river_job (kind, args) values ('turn', $1) returning id`, json.RawMessage(args))
		_, err := w.store.Claim(t.Context(), node("n"), job, w.fetch(job), ttl)
		if !store.Refused(err) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", args, err, says)
		}
	}
	w.status(id, "queued")
	if n := get[int](w, "select count(*) from towpath.process"); n != 1 {
		t.Errorf("%d processes", n)
	}
}
