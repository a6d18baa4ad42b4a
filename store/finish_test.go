package store_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/towpath/towpath/store"
)

func TestATurnEndsInOneTransaction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := node("n")
	id := w.submit("s")
	steer, err := w.store.Steer(t.Context(), id, []byte(`{"text": "shorter"}`), "")
	w.ok(err)
	o, c := w.run(id, n)
	_, err = w.store.Poll(t.Context(), []store.Owner{o})
	w.ok(err)
	end := store.End{
		Batch:  store.Batch{Owner: o, Types: []string{"text", "usage"}, Data: []string{`{"text": "bye"}`, `{"input_tokens": 3, "cached_tokens": null, "output_tokens": null, "reasoning_tokens": null}`}, Applied: []string{steer}},
		Status: "completed", Outcome: []byte(`{"text": "bye"}`),
		Base: c.Version, Keys: []string{"history", "model"}, Values: [][]byte{[]byte("[1]"), []byte("x")},
	}
	w.ok(w.store.Finish(t.Context(), end))
	w.log(id, "process.queued", "process.started", "text", "usage", "process.completed")
	p := w.process(id)
	if p.Status != "completed" || !p.Final() || string(p.Outcome) != `{"text": "bye"}` || p.Node != nil {
		t.Errorf("process %+v", p)
	}
	if state := w.jobState(id); state != "completed" {
		t.Errorf("River job is %s", state)
	}
	phases := get[string](w, "select string_agg(kind || ' ' || phase || ' ' || coalesce(reason, '-'), ', ' order by seq) from towpath.input")
	if phases != "turn consumed -, steer consumed -" {
		t.Errorf("inputs: %s", phases)
	}
	receipt := get[string](w, `select concat_ws(' ', r.session_id, r.session_version, array_length(r.input_ids, 1), r.fence = $1, r.digest = s.digest, s.version)
		from towpath.receipt r join towpath.session s on s.id = r.session_id`, o.Fence)
	if receipt != "s 1 2 t t 1" {
		t.Errorf("receipt: %s", receipt)
	}
	if v, err := w.store.KVGet(t.Context(), "s", "history"); string(v) != "[1]" || err != nil {
		t.Errorf("history %q, %v", v, err)
	}
	if v, err := w.store.KVGet(t.Context(), "s", "nothing"); v != nil || err != nil {
		t.Errorf("a key that is not there: %q, %v", v, err)
	}
	w.sound()

	// The next turn begins where this one ended, and deletes a key.
	id = w.submit("s")
	o, c = w.run(id, n)
	if *c.Version != 1 || len(c.Digest) != 32 {
		t.Errorf("version %d, digest %x", *c.Version, c.Digest)
	}
	end = completed(o)
	end.Base, end.Keys, end.Values = c.Version, []string{"model", "history"}, [][]byte{{}, []byte("[1,2]")}
	w.ok(w.store.Finish(t.Context(), end))
	kv := get[string](w, "select string_agg(key || '=' || convert_from(value, 'UTF8') || '@' || version, ' ' order by key) from towpath.session_kv")
	if kv != "history=[1,2]@2" {
		t.Errorf("snapshot %s", kv)
	}
	w.sound()
}

func TestASecondEndIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("")
	o, _ := w.run(id, node("n"))
	w.complete(o)
	w.refused(w.store.Finish(t.Context(), completed(o)), store.ErrFence, "does not own")
	w.log(id, "process.queued", "process.started", "process.completed")
}

func TestOnlyTheOwnerEndsATurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("")
	job, args := w.deliver(id)
	old := w.claim(node("a"), job, args)
	zombie := old.Owner()
	w.shift("31 seconds")
	w.refused(w.store.Finish(t.Context(), completed(zombie)), store.ErrFence, "lapsed")
	c := w.claim(node("b"), job, args)
	w.refused(w.store.Finish(t.Context(), completed(zombie)), store.ErrFence, "taken over")
	if _, err := w.store.Retry(t.Context(), zombie, "x", 0, false, []byte("{}"), "", false); !errors.Is(err, store.ErrFence) {
		t.Errorf("retry by a zombie: %v", err)
	}
	w.refused(w.store.Finish(t.Context(), completed(store.Owner{No: 999, Fence: *c.Fence})), store.ErrFence, "999")
	w.complete(c.Owner())
	w.sound()
}

func TestAnEndThatSaysNothingIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("")
	o, _ := w.run(id, node("n"))
	for name, change := range map[string]func(*store.End){
		"no status":             func(e *store.End) { e.Status = "" },
		"not a terminal status": func(e *store.End) { e.Status = "running" },
		"no outcome":            func(e *store.End) { e.Outcome = nil },
		"outcome is no object":  func(e *store.End) { e.Outcome = []byte(`"x"`) },
		"failed without a kind": func(e *store.End) { e.Status = "failed" },
		"completed with a kind": func(e *store.End) { e.Kind = "x" },
		"more keys than values": func(e *store.End) { e.Base, e.Keys = new(int64), []string{"a"} },
		"a key twice":           func(e *store.End) { e.Base, e.Keys, e.Values = new(int64), []string{"a", "a"}, [][]byte{{1}, {2}} },
		"a value of more than 1 MB": func(e *store.End) {
			e.Base, e.Keys, e.Values = new(int64), []string{"a"}, [][]byte{make([]byte, 1<<20+1)}
		},
		"a key of more than 512 B": func(e *store.End) {
			e.Base, e.Keys, e.Values = new(int64), []string{strings.Repeat("k", 513)}, [][]byte{{1}}
		},
	} {
		end := completed(o)
		change(&end)
		err := w.store.Finish(t.Context(), end)
		if !store.Rejected(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.log(id, "process.queued", "process.started")
	w.complete(o)
}

func TestTwoWritersOfOneSnapshot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("s")
	o, c := w.run(id, node("n"))
	w.exec("update towpath.session set version = version + 1")
	end := completed(o)
	end.Base, end.Keys, end.Values = c.Version, []string{"k"}, [][]byte{[]byte("v")}
	w.refused(w.store.Finish(t.Context(), end), store.ErrStale, "is at version 1, not 0")
	w.status(id, "running")
	if n := get[int](w, "select count(*) from towpath.session_kv"); n != 0 {
		t.Errorf("%d keys written", n)
	}
}

// Whatever statement of finish fails, nothing of it stays.
func TestAnEndIsAllOrNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, next := w.submit("s"), w.submit("s")
	steer, err := w.store.Steer(t.Context(), id, []byte(`{"text": "late"}`), "")
	w.ok(err)
	o, c := w.run(id, node("n"))
	end := completed(o)
	end.Types, end.Data = []string{"text"}, []string{"{}"}
	end.Base, end.Keys, end.Values = c.Version, []string{"k"}, [][]byte{[]byte("v")}
	w.exec(`create function refuse() returns trigger language plpgsql as $$ begin raise exception 'injected'; end $$`)
	dump := func() string {
		return get[string](w, `select string_agg(md5(x), ' ') from (
			select string_agg(t::text, '' order by t::text) from towpath.event t union all select string_agg(t::text, '' order by t::text) from towpath.process t union all
			select string_agg(t::text, '' order by t::text) from towpath.lease t union all select string_agg(t::text, '' order by t::text) from towpath.attempt t union all
			select string_agg(t::text, '' order by t::text) from towpath.input t union all select string_agg(t::text, '' order by t::text) from towpath.session t union all
			select string_agg(t::text, '' order by t::text) from towpath.session_kv t union all select string_agg(t::text, '' order by t::text) from towpath.receipt t union all
			select string_agg(t::text, '' order by t::text) from river_job t) v(x)`)
	}
	before := dump()
	for _, at := range []string{
		"insert on towpath.event", "update on towpath.process", "delete on towpath.lease", "update on towpath.attempt", "update on towpath.input",
		"insert on towpath.input", "insert on towpath.process", "update on towpath.session", "insert on towpath.session_kv", "insert on towpath.receipt",
		"insert on river_job", "update on river_job",
	} {
		w.exec("create trigger injected after " + at + " for each row execute function refuse()")
		var pg *pgconn.PgError
		if err := w.store.Finish(t.Context(), end); !errors.As(err, &pg) || pg.Message != "injected" {
			t.Errorf("%s: finish does not pass here: %v", at, err)
		}
		_, on, _ := strings.Cut(at, " ")
		w.exec("drop trigger injected " + on)
		if after := dump(); after != before {
			t.Errorf("%s: something stayed", at)
		}
	}
	w.ok(w.store.Finish(t.Context(), end))
	if jobs := w.live(next); jobs != 1 {
		t.Errorf("the next turn has %d jobs", jobs)
	}
	if phase := get[string](w, "select phase from towpath.input where id = $1", steer); phase != "superseded" {
		t.Errorf("the steer is %s", phase)
	}
	w.sound()
}

func TestWhatWasSaidTooLate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, options, status, kind string
		phase                       string
		next                        bool
	}{
		{"goes on as the next turn", `{}`, "completed", "steer", "superseded next turn", true},
		{"goes on as the submitter said", `{"late_steer": "next"}`, "completed", "steer", "superseded next turn", true},
		{"is rejected as the submitter said", `{"late_steer": "reject"}`, "completed", "steer", "rejected late", false},
		{"is rejected by a failure", `{}`, "failed", "steer", "rejected late", false},
		{"an answer is no turn", `{}`, "completed", "answer", "rejected late", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			id, err := w.store.Submit(t.Context(), store.Submission{Profile: "p", Input: []byte("{}"), Session: "s", Options: []byte(c.options)})
			w.ok(err)
			o, _ := w.run(id, node("n"))
			var input string
			if c.kind == "answer" {
				input, err = w.store.Answer(t.Context(), id, []byte(`{"text": "late"}`), "")
			} else {
				input, err = w.store.Steer(t.Context(), id, []byte(`{"text": "late"}`), "")
			}
			w.ok(err)
			end := completed(o)
			if end.Status = c.status; c.status == "failed" {
				end.Kind = "provider"
			}
			w.ok(w.store.Finish(t.Context(), end))
			if phase := get[string](w, "select concat_ws(' ', phase, reason) from towpath.input where id = $1", input); phase != c.phase {
				t.Errorf("the input is %s", phase)
			}
			next := get[[]string](w, "select coalesce(array_agg(payload ->> 'text'), '{}') from towpath.input i join towpath.process p on p.no = i.process_no and p.status = 'queued'")
			if c.next != (len(next) == 1) || c.next && next[0] != "late" {
				t.Errorf("next turns: %v", next)
			}
			w.sound()
		})
	}
}

// A client that guesses the key of a late steer, or a profile that is switched off, cannot keep a turn from ending.
func TestALateSteerThatCannotBeATurn(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(w *world, input string){
		"its key is taken": func(w *world, input string) {
			_, err := w.store.Submit(w.Context(), store.Submission{Profile: "p", Input: []byte(`{"other": 1}`), Key: "late:" + input})
			w.ok(err)
		},
		"its profile is off":        func(w *world, _ string) { w.exec("update towpath.profile set enabled = false") },
		"its session is retired":    func(w *world, _ string) { w.exec("update towpath.session set runtime_state = 'retired'") },
		"its session is in trouble": func(w *world, _ string) { w.exec("update towpath.session set quarantine = 'x'") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			id := w.submit("s")
			o, _ := w.run(id, node("n"))
			input, err := w.store.Steer(t.Context(), id, []byte(`{"text": "late"}`), "")
			w.ok(err)
			spoil(w, input)
			w.complete(o)
			w.status(id, "completed")
			if phase := get[string](w, "select phase from towpath.input where id = $1", input); phase != "rejected" {
				t.Errorf("the steer is %s", phase)
			}
			w.sound()
		})
	}
}

func TestRetryingATurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("s")
	n := node("n")
	steer, err := w.store.Steer(t.Context(), id, []byte(`{"text": "x"}`), "")
	w.ok(err)
	o, _ := w.run(id, n)
	_, err = w.store.Append(t.Context(), []store.Batch{{Owner: o, Types: []string{"text"}, Data: []string{"{}"}, Applied: []string{steer}}})
	w.ok(err)
	first := *w.process(id).RiverJobID
	status, err := w.store.Retry(t.Context(), o, "provider is busy", 90e9, false, []byte(`{}`), "rate_limit", false)
	w.ok(err)
	p := w.process(id)
	if status != "backoff" || p.Status != "backoff" || p.NextAttemptAt == nil || *p.RiverJobID == first {
		t.Errorf("%s, process %+v", status, p)
	}
	job := get[string](w, `select concat_ws(' ', state, args ->> 'generation', scheduled_at between now() + '80 seconds' and now() + '91 seconds') from river_job where id = $1`, *p.RiverJobID)
	if job != "scheduled 2 t" {
		t.Errorf("River job: %s", job)
	}
	if state := get[string](w, "select state::text from river_job where id = $1", first); state != "completed" {
		t.Errorf("the first River job is %s", state)
	}
	w.sound()
	w.exec("update river_job set state = 'available' where id = $1", *p.RiverJobID)
	_, c := w.run(id, n)
	if *c.Attempt != 2 || !*c.Words {
		t.Errorf("claim %+v", c)
	}
	// Without a journal the next attempt hears everything again.
	if phases := get[string](w, "select string_agg(phase, ' ' order by seq) from towpath.input"); phases != "staged queued" {
		t.Errorf("inputs are %s", phases)
	}
	w.log(id, "process.queued", "process.started", "text", "process.requeued", "process.retracted", "process.started")
	w.sound()
}

func TestAShortBackoffNeedsNoLeader(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("")
	o, _ := w.run(id, node("n"))
	_, err := w.store.Retry(t.Context(), o, "x", 4500*time.Millisecond, false, []byte(`{}`), "", false)
	w.ok(err)
	job := get[string](w, `select concat_ws(' ', state, scheduled_at > now() + '1 second') from river_job where id = $1`, *w.process(id).RiverJobID)
	if job != "available t" {
		t.Errorf("River job: %s", job)
	}
}

func TestADrainCostsNoAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("")
	for range 5 {
		o, _ := w.run(id, node("n"))
		if status, err := w.store.Retry(t.Context(), o, "worker stopped", 0, true, []byte(`{}`), "", false); status != "queued" || err != nil {
			t.Fatalf("%s, %v", status, err)
		}
	}
	spent := get[string](w, "select attempt || ' ' || attempts_spent from towpath.processes")
	if spent != "5 0" {
		t.Errorf("attempt and budget: %s", spent)
	}
	w.sound()
}

func TestASpentBudgetEndsATurn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ kind, status, writer string }{
		{"provider", "failed", "-"},         // what the work reported
		{"", "abandoned", "engine_gave_up"}, // our own trouble is nobody's failure
	} {
		t.Run(c.status, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			id, next := w.submit("s"), w.submit("s")
			for i := range 3 {
				o, _ := w.run(id, node("n"))
				status, err := w.store.Retry(t.Context(), o, "again", 0, false, []byte(`{"message": "busy"}`), c.kind, false)
				w.ok(err)
				if want := map[bool]string{true: c.status, false: "queued"}[i == 2]; status != want {
					t.Fatalf("attempt %d: %s", i+1, status)
				}
			}
			p := w.process(id)
			if kind := p.FailureKind; c.kind != "" && (kind == nil || *kind != c.kind) {
				t.Errorf("process %+v", p)
			}
			var outcome struct {
				Message  string `json:"message"`
				Attempts int    `json:"attempts"`
			}
			if err := json.Unmarshal(p.Outcome, &outcome); err != nil || outcome.Message != "busy" || outcome.Attempts != 3 {
				t.Errorf("outcome %s", p.Outcome)
			}
			if writer := get[string](w, "select coalesce(abandon_writer, '-') from towpath.processes where id = $1", id); writer != c.writer {
				t.Errorf("writer %s", writer)
			}
			if state := w.jobState(id); state != "completed" {
				t.Errorf("River job is %s", state)
			}
			if jobs := w.live(next); jobs != 1 {
				t.Errorf("the next turn has %d jobs", jobs)
			}
			w.sound()
		})
	}
}

func TestARetryOfACancelledTurnEndsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("")
	o, _ := w.run(id, node("n"))
	_, err := w.store.Cancel(t.Context(), id, "enough", ttl)
	w.ok(err)
	if status, err := w.store.Retry(t.Context(), o, "again", 0, false, nil, "", false); status != "cancelled" || err != nil {
		t.Errorf("%s, %v", status, err)
	}
	if outcome := string(w.process(id).Outcome); outcome != `{"reason": "enough"}` {
		t.Errorf("outcome %s", outcome)
	}
	w.sound()
}

func TestFourWaysToEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, status := range []string{"completed", "failed", "cancelled", "abandoned"} {
		id := w.submit("")
		o, _ := w.run(id, node("n"))
		end := completed(o)
		if end.Status = status; status == "failed" {
			end.Kind = "provider"
		}
		w.ok(w.store.Finish(t.Context(), end))
		w.log(id, "process.queued", "process.started", "process."+status)
		row := get[string](w, "select concat_ws(' ', status, failure_kind, abandon_writer) from towpath.processes where id = $1", id)
		want := map[string]string{"failed": "failed provider", "abandoned": "abandoned owner_drain"}[status]
		if want == "" {
			want = status
		}
		if row != want {
			t.Errorf("process: %s, want %s", row, want)
		}
		if phase := get[string](w, "select phase from towpath.input i join towpath.process p on p.no = i.process_no where p.id = $1", id); (phase == "consumed") != (status == "completed") {
			t.Errorf("the input of a %s turn is %s", status, phase)
		}
	}
	w.sound()
}
