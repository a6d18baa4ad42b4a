package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/towpath/towpath/store"
)

func TestATurnIsDurableWhenSubmitReturns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("")
	p := w.process(id)
	if p.Status != "queued" || p.Class != "turn" || *p.Profile != "p" || p.Session == nil || p.MaxAttempts != 3 || p.Attempt != 0 {
		t.Errorf("process %+v", p)
	}
	w.log(id, "process.queued")
	row := get[string](w, "select kind || ' ' || queue || ' ' || state || ' ' || priority from river_job where id = $1", *p.RiverJobID)
	if row != "turn turns available 2" {
		t.Errorf("River job: %s", row)
	}
	var args struct {
		ProcessID  string `json:"process_id"`
		Generation int    `json:"generation"`
	}
	if err := json.Unmarshal(get[json.RawMessage](w, "select args from river_job"), &args); err != nil || args.ProcessID != id || args.Generation != 1 {
		t.Errorf("args %+v, %v", args, err)
	}
	w.sound()
}

func TestATransactionThatRollsBackLeavesNoTurnAndNoJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tx := w.begin()
	_, err := tx.Exec(t.Context(), `select towpath.submit('p', '{}')`)
	w.ok(err)
	w.ok(tx.Rollback(t.Context()))
	for _, table := range []string{"river_job", "towpath.process", "towpath.session", "towpath.event", "towpath.input"} {
		if n := get[int](w, "select count(*) from "+table); n != 0 {
			t.Errorf("%s has %d rows", table, n)
		}
	}
}

func TestOptionsOfATurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, err := w.store.Submit(t.Context(), store.Submission{Profile: "p", Input: []byte("{}"), Session: "s", Options: []byte(
		`{"id": "mine", "tenant": "acme", "project": "x", "priority": 1, "max_attempts": 7, "timeout_s": 2.5, "late_steer": "reject"}`)})
	w.ok(err)
	if id != "mine" {
		t.Errorf("id %q", id)
	}
	row := get[string](w, "select concat_ws(' ', tenant, project, priority, max_attempts, session) from towpath.processes where id = 'mine'")
	if row != "acme x 1 7 s" {
		t.Errorf("process %s", row)
	}
	if _, c := w.run("mine", node("n")); *c.TimeoutMS != 2500 {
		t.Errorf("timeout %d ms", *c.TimeoutMS)
	}
}

func TestAScheduledTurnWaitsForItsTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := get[string](w, `select to_char(now() at time zone 'UTC' + '1 hour', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')`)
	options := fmt.Sprintf(`{"scheduled_at": %q}`, at)
	id, err := w.store.Submit(t.Context(), store.Submission{Profile: "p", Input: []byte("{}"), Options: []byte(options)})
	w.ok(err)
	// The other door: the row is there at once, its turn waits.
	job := get[int64](w, "insert into river_job (kind, args) values ('turn', jsonb_build_object('profile', 'p', 'input', '{}'::jsonb, 'options', $1::jsonb)) returning id", options)
	c := w.claim(node("n"), job, w.fetch(job))
	if c.Action != store.ActionQueued {
		t.Fatalf("plain insert: %s", c.Action)
	}
	for _, id := range []string{id, *c.ProcessID} {
		row := get[string](w, `select state::text from river_job j join towpath.process p on p.river_job_id = j.id
			where p.id = $1 and scheduled_at between now() + '59 minutes' and now() + '61 minutes'`, id)
		if row != "scheduled" {
			t.Errorf("River job of %s is %s", id, row)
		}
	}
}

func TestSubmitRefusesWhatItCannotKeep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.profile("other", 3)
	w.profile("off", 3)
	w.exec("update towpath.profile set enabled = false where name = 'off'")
	w.submit("taken")
	_, err := w.store.Submit(t.Context(), store.Submission{Profile: "p", Input: []byte("{}"), Session: "of-acme", Options: []byte(`{"tenant": "acme"}`)})
	w.ok(err)
	for _, state := range []string{"retired", "stopped", "destroyed"} {
		w.submit(state)
		w.exec("update towpath.session set runtime_state = $1 where id = $1", state)
	}
	w.submit("ill")
	w.exec("update towpath.session set quarantine = 'snapshot is damaged' where id = 'ill'")

	deep := strings.Repeat(`[`, 5000) + strings.Repeat(`]`, 5000)
	cases := []struct {
		name string
		turn store.Submission
		want error
		says string
	}{
		{"no profile", store.Submission{Input: []byte("{}")}, store.ErrInvalid, "profile is missing"},
		{"unknown profile", store.Submission{Profile: "gpt", Input: []byte("{}")}, store.ErrNotFound, "known profiles: other, p"},
		{"disabled profile", store.Submission{Profile: "off", Input: []byte("{}")}, store.ErrNotFound, "unknown profile"},
		{"another profile's session", store.Submission{Profile: "other", Input: []byte("{}"), Session: "taken"}, store.ErrConflict, "keeps its profile"},
		{"another tenant's session", store.Submission{Profile: "p", Input: []byte("{}"), Session: "taken", Options: []byte(`{"tenant": "acme"}`)}, store.ErrConflict, "keeps both"},
		{"another project's session", store.Submission{Profile: "p", Input: []byte("{}"), Session: "of-acme", Options: []byte(`{"tenant": "acme", "project": "y"}`)}, store.ErrConflict, "keeps both"},
		{"retired session", store.Submission{Profile: "p", Input: []byte("{}"), Session: "retired"}, store.ErrConflict, "is retired"},
		{"stopped session", store.Submission{Profile: "p", Input: []byte("{}"), Session: "stopped"}, store.ErrConflict, "is stopped"},
		{"destroyed session", store.Submission{Profile: "p", Input: []byte("{}"), Session: "destroyed"}, store.ErrConflict, "is destroyed"},
		{"quarantined session", store.Submission{Profile: "p", Input: []byte("{}"), Session: "ill"}, store.ErrQuarantined, "snapshot is damaged"},
		{"session with a hash sign", store.Submission{Profile: "p", Input: []byte("{}"), Session: "a#b"}, store.ErrInvalid, "session is not a name"},
		{"long session", store.Submission{Profile: "p", Input: []byte("{}"), Session: strings.Repeat("x", 201)}, store.ErrInvalid, "session is not a name"},
		{"no input", store.Submission{Profile: "p"}, store.ErrInvalid, "input is missing"},
		{"null input", store.Submission{Profile: "p", Input: []byte("null")}, store.ErrInvalid, "not a JSON object"},
		{"array input", store.Submission{Profile: "p", Input: []byte(`["x"]`)}, store.ErrInvalid, "not a JSON object"},
		{"string input", store.Submission{Profile: "p", Input: []byte(`"x"`)}, store.ErrInvalid, "not a JSON object"},
		{"not JSON", store.Submission{Profile: "p", Input: []byte(`{"text":`)}, store.ErrInvalid, "json"},
		{"invalid UTF-8", store.Submission{Profile: "p", Input: []byte("{\"text\": \"\xff\"}")}, store.ErrInvalid, "UTF8"},
		{"NUL", store.Submission{Profile: "p", Input: []byte(`{"text": "\u0000"}`)}, store.ErrInvalid, "u0000"},
		{"high surrogate alone", store.Submission{Profile: "p", Input: []byte(`{"text": "\ud800"}`)}, store.ErrInvalid, "surrogate"},
		{"low surrogate alone", store.Submission{Profile: "p", Input: []byte(`{"text": "\udc00"}`)}, store.ErrInvalid, "surrogate"},
		{"number beyond numeric", store.Submission{Profile: "p", Input: []byte(`{"n": 1e999999}`)}, store.ErrInvalid, "overflow"},
		{"oversized input", store.Submission{Profile: "p", Input: []byte(`{"text": "` + strings.Repeat("x", 1<<20) + `"}`)}, store.ErrTooLarge, "limit is 1048576"},
		{"deep input", store.Submission{Profile: "p", Input: []byte(`{"text": ` + deep + `}`)}, store.ErrTooLarge, "nested"},
		{"oversized key", store.Submission{Profile: "p", Input: []byte("{}"), Key: strings.Repeat("k", 1<<20+1)}, store.ErrInvalid, "idempotency_key"},
	}
	for _, o := range []struct{ options, says string }{
		{`null`, "options is not an object"}, {`[]`, "options is not an object"},
		{`{"colour": 1}`, `unknown option "colour"`},
		{`{"id": ""}`, "options.id"}, {`{"id": 1}`, "options.id"}, {`{"id": "a#b"}`, "options.id"}, {`{"id": "a\nb"}`, "options.id"}, {`{"id": "a,b"}`, "options.id"},
		{`{"tenant": null}`, "options.tenant"}, {`{"project": {}}`, "options.project"},
		{`{"priority": 0}`, "options.priority"}, {`{"priority": "1"}`, "options.priority"}, {`{"priority": 1.5}`, "options.priority"},
		{`{"max_attempts": 0}`, "options.max_attempts"}, {`{"max_attempts": 1001}`, "options.max_attempts"}, {`{"max_attempts": 1.5}`, "options.max_attempts"},
		{`{"timeout_s": 0}`, "options.timeout_s"}, {`{"timeout_s": -1}`, "options.timeout_s"}, {`{"timeout_s": 1e9}`, "options.timeout_s"}, {`{"timeout_s": "1"}`, "options.timeout_s"},
		{`{"scheduled_at": "tomorrow"}`, "options.scheduled_at"}, {`{"scheduled_at": 5}`, "options.scheduled_at"},
		{`{"scheduled_at": "2026-99-99T10:00:00Z"}`, "options.scheduled_at"}, {`{"scheduled_at": "2026-01-31T12:00:00"}`, "options.scheduled_at"},
		{`{"scheduled_at": "2026-01-31T12:00:00Z or so"}`, "options.scheduled_at"},
		{`{"late_steer": "maybe"}`, "options.late_steer"}, {`{"late_steer": true}`, "options.late_steer"},
	} {
		cases = append(cases, struct {
			name string
			turn store.Submission
			want error
			says string
		}{"options " + o.options, store.Submission{Profile: "p", Input: []byte("{}"), Options: []byte(o.options)}, store.ErrInvalid, o.says})
	}
	before := get[string](w, "select concat((select count(*) from towpath.process), ' ', (select count(*) from towpath.session), ' ', (select count(*) from river_job))")
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := w.store.Submit(t.Context(), c.turn)
			(&world{TB: t}).refused(err, c.want, c.says)
		})
	}
	if after := get[string](w, "select concat((select count(*) from towpath.process), ' ', (select count(*) from towpath.session), ' ', (select count(*) from river_job))"); after != before {
		t.Errorf("processes, sessions and jobs were %s and are %s", before, after)
	}
}

func TestUnknownProfileBeforeAnyWorkerHasStarted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec("delete from towpath.profile")
	_, err := w.store.Submit(t.Context(), store.Submission{Profile: "p", Input: []byte("{}")})
	w.refused(err, store.ErrNotFound, "no worker has registered any profile yet")
}

func TestFiftySubmitsWithOneKeyMakeOneProcess(t *testing.T) {
	t.Parallel()
	for _, session := range []string{"", "named"} {
		t.Run("session "+session, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			turn := store.Submission{Profile: "p", Input: []byte(`{"text": "hi", "n": 1.0}`), Session: session, Key: "k"}
			var wg sync.WaitGroup
			ids := make([]string, 50)
			errs := make([]error, 50)
			for i := range ids {
				wg.Go(func() { ids[i], errs[i] = w.store.Submit(t.Context(), turn) })
			}
			wg.Wait()
			for i := range ids {
				if errs[i] != nil || ids[i] != ids[0] {
					t.Errorf("caller %d: %q, %v", i, ids[i], errs[i])
				}
			}
			for _, table := range []string{"river_job", "towpath.process", "towpath.session", "towpath.input", "towpath.event"} {
				if n := get[int](w, "select count(*) from "+table); n != 1 {
					t.Errorf("%s has %d rows", table, n)
				}
			}
			w.sound()
		})
	}
}

func TestAnIdempotencyKeyStandsForOneRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.profile("other", 3)
	turn := store.Submission{Profile: "p", Input: []byte(`{"a": 1, "bb": {"x": 1.50, "y": -0.0}}`), Key: "k"}
	id, err := w.store.Submit(t.Context(), turn)
	w.ok(err)
	same := turn
	same.Input = []byte(`{"bb": {"y": 0, "x": 1.5}, "a": 1.0}`) // the same value, written otherwise
	if again, err := w.store.Submit(t.Context(), same); again != id || err != nil {
		t.Errorf("same request: %q, %v; want %q", again, err, id)
	}
	for name, change := range map[string]func(*store.Submission){
		"input":   func(s *store.Submission) { s.Input = []byte(`{"a": 2}`) },
		"session": func(s *store.Submission) { s.Session = "s" },
		"profile": func(s *store.Submission) { s.Profile = "other" },
		"options": func(s *store.Submission) { s.Options = []byte(`{"priority": 1}`) },
	} {
		other := turn
		change(&other)
		_, err := w.store.Submit(t.Context(), other)
		(&world{TB: t}).refused(err, store.ErrIdempotency, "idempotency_key was used for another request")
		_ = name
	}
	// Another tenant's key is another key.
	other := turn
	other.Options = []byte(`{"tenant": "acme"}`)
	if acme, err := w.store.Submit(t.Context(), other); err != nil || acme == id {
		t.Errorf("another tenant: %q, %v", acme, err)
	}
	if n := get[int](w, "select count(*) from towpath.session"); n != 2 {
		t.Errorf("%d sessions", n)
	}
}

func TestAReplayIsAnsweredWhateverBecameOfItsSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	turn := store.Submission{Profile: "p", Input: []byte("{}"), Session: "s", Key: "k"}
	id, err := w.store.Submit(t.Context(), turn)
	w.ok(err)
	o, _ := w.run(id, node("n"))
	w.complete(o)
	w.exec("update towpath.session set runtime_state = 'retired', quarantine = 'x'")
	w.exec("update towpath.profile set enabled = false")
	if again, err := w.store.Submit(t.Context(), turn); again != id || err != nil {
		t.Errorf("got %q, %v; want %q", again, err, id)
	}
	w.exec("delete from towpath.profile")
	if again, err := w.store.Submit(t.Context(), turn); again != id || err != nil {
		t.Errorf("got %q, %v; want %q", again, err, id)
	}
}

func TestAChosenIdIsIdempotentToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	turn := store.Submission{Profile: "p", Input: []byte(`{"a": 1}`), Options: []byte(`{"id": "mine"}`)}
	for range 2 {
		if id, err := w.store.Submit(t.Context(), turn); id != "mine" || err != nil {
			t.Fatalf("%q, %v", id, err)
		}
	}
	turn.Input = []byte(`{"a": 2}`)
	_, err := w.store.Submit(t.Context(), turn)
	w.refused(err, store.ErrIdempotency, `process "mine" exists with another request`)
	if n := get[int](w, "select count(*) from towpath.session"); n != 1 {
		t.Errorf("%d sessions", n)
	}
	w.sound()
}

func TestLongKeysAndReasons(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	long := strings.Repeat("k", 1<<20)
	turn := store.Submission{Profile: "p", Input: []byte("{}"), Key: long}
	id, err := w.store.Submit(t.Context(), turn)
	w.ok(err)
	again, err := w.store.Submit(t.Context(), turn)
	w.ok(err)
	if id != again {
		t.Errorf("%q and %q", id, again)
	}
	input, err := w.store.Steer(t.Context(), id, []byte(`{"text": "x"}`), long)
	w.ok(err)
	if again, err := w.store.Steer(t.Context(), id, []byte(`{"text": "x"}`), long); again != input || err != nil {
		t.Errorf("%q, %v", again, err)
	}
	for range 2 {
		if status, err := w.store.Cancel(t.Context(), id, long, 0); status != "cancelled" || err != nil {
			t.Errorf("%q, %v", status, err)
		}
	}
	w.log(id, "process.queued", "process.cancel_requested", "process.cancelled")
}

func TestSubmitManyIsAllOrNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	turns := []store.Submission{
		{Profile: "p", Input: []byte(`{"n": 1}`), Session: "z"},
		{Profile: "p", Input: []byte(`{"n": 2}`), Session: "a"},
		{Profile: "p", Input: []byte(`{"n": 3}`), Session: "z", Key: "k"},
		{Profile: "p", Input: []byte(`{"n": 4}`)},
	}
	ids, err := w.store.SubmitMany(t.Context(), turns)
	w.ok(err)
	for i, id := range ids {
		if n := get[int](w, "select (payload -> 'n')::int from towpath.input i join towpath.process p on p.no = i.process_no where p.id = $1", id); n != i+1 {
			t.Errorf("item %d is turn %d", i+1, n)
		}
	}
	if n := get[int](w, "select count(*) from river_job"); n != 3 {
		t.Errorf("%d River jobs for three sessions", n)
	}
	w.sound()

	_, err = w.store.SubmitMany(t.Context(), append(turns[:2:2], store.Submission{Profile: "nobody", Input: []byte("{}")}))
	w.refused(err, store.ErrNotFound, `unknown profile "nobody"`)
	if n := get[int](w, "select count(*) from towpath.process"); n != 4 {
		t.Errorf("%d processes after a refused bulk", n)
	}
	for items, says := range map[string]string{
		`{}`:                   "wants a JSON array",
		`null`:                 "wants a JSON array",
		`[1]`:                  "item 1 is not an object",
		`[{"prompt": "x"}]`:    `item 1: unknown key "prompt"`,
		`[{"profile": ["p"]}]`: `item 1: profile is not a string`,
		`[{"profile": "p", "input": {}, "session": {"a": 1}}]`: `item 1: session is not a string`,
	} {
		_, err := w.pool.Exec(t.Context(), "select towpath.submit_many($1)", json.RawMessage(items))
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", items, err, says)
		}
	}
}

// Everything goes through a transaction pooler's mode of the driver too.
func TestPooledConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pool, err := store.Open(t.Context(), w.pool.Config().ConnString(), true)
	w.ok(err)
	t.Cleanup(pool.Close)
	w.pool, w.store = pool, store.New(pool)
	w.profile("q", 2)
	n := node("n")
	w.start(n, "v", "h", 1, []string{"turns"})
	ids, err := w.store.SubmitMany(t.Context(), []store.Submission{{Profile: "q", Input: []byte(`{"text": "hi"}`), Session: "s"}})
	w.ok(err)
	_, err = w.store.Steer(t.Context(), ids[0], []byte(`{"text": "x"}`), "k")
	w.ok(err)
	o, c := w.run(ids[0], n)
	w.say(o, "one")
	words, err := w.store.Poll(t.Context(), []store.Owner{o})
	w.ok(err)
	if len(words) != 1 || words[0].Kind != "steer" {
		t.Errorf("words %+v", words)
	}
	if held, err := w.store.Renew(t.Context(), n, ttl); err != nil || held[o.No] != o.Fence {
		t.Errorf("%v, %v", held, err)
	}
	end := completed(o)
	end.Base, end.Keys, end.Values = c.Version, []string{"k"}, [][]byte{{0, 1, 255}}
	w.ok(w.store.Finish(t.Context(), end))
	if v, err := w.store.KVGet(t.Context(), "s", "k"); err != nil || string(v) != "\x00\x01\xff" {
		t.Errorf("%q, %v", v, err)
	}
	second := w.submit("s2")
	o, _ = w.run(second, n)
	if status, err := w.store.Retry(t.Context(), o, "again", 0, true, []byte("{}"), "", false); status != "queued" || err != nil {
		t.Errorf("%s, %v", status, err)
	}
	_, err = w.store.Cancel(t.Context(), second, "enough", 0)
	w.ok(err)
	_, err = w.store.Sweep(t.Context(), ttl, uuid.Nil, 10)
	w.ok(err)
	w.ok(w.store.StopNode(t.Context(), n))
	w.sound()
}

// A turn's trace goes with its jobs and its claims, and is no part of what a key is compared by.
func TestATraceGoesWithATurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	submit := func(key, traceparent string) (string, error) {
		return w.store.Submit(t.Context(), store.Submission{Profile: "p", Input: []byte("{}"), Key: key, Options: []byte(`{"traceparent": ` + traceparent + `}`)})
	}
	id, err := submit("k", `"`+parent+`"`)
	w.ok(err)
	same, err := submit("k", `"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b8-00"`)
	if err != nil || same != id {
		t.Errorf("the same request in another trace is %q, %v", same, err)
	}
	for _, bad := range []string{`"x"`, `7`, `null`, `"00-00000000000000000000000000000000-00f067aa0ba902b7-01"`, `"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"`, `"` + parent + `-x"`} {
		if _, err := submit("", bad); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("traceparent %s: %v", bad, err)
		}
	}
	o, c := w.run(id, node("n"))
	var spec struct{ Traceparent string }
	w.ok(json.Unmarshal(c.Spec, &spec))
	if spec.Traceparent != parent {
		t.Errorf("claimed with %s", c.Spec)
	}
	w.goesBack(o, "overloaded", 0)
	w.complete(w.again(id))
	if rows := get[int](w, "select count(*) from river_job where metadata ->> 'traceparent' = $1", parent); rows != 2 {
		t.Errorf("%d jobs of the turn carry its trace", rows)
	}
	// A client's own row says it in its metadata; what is none there is no reason to refuse a turn.
	for said, want := range map[string]string{`"` + parent + `"`: parent, `["x"]`: ""} {
		job := get[int64](w, `insert into river_job (kind, args, metadata, max_attempts) values ('turn', '{"profile": "p", "input": {}}',
			jsonb_build_object('traceparent', $1::jsonb), 1) returning id`, said)
		c := w.claim(node("n"), job, w.fetch(job))
		if c.Action != store.ActionRun {
			t.Fatalf("claim of a row with %s: %s", said, c.Action)
		}
		if got := get[string](w, "select coalesce(spec ->> 'traceparent', '') from towpath.process where id = $1", *c.ProcessID); got != want {
			t.Errorf("a row with %s made a turn of trace %q", said, got)
		}
	}
	w.sound()
}
