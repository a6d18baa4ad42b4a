package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/towpath/towpath/store"
)

// deny runs a statement that one of our functions must refuse, and change nothing.
func (w *world) deny(code, says, sql string, args ...any) {
	w.Helper()
	_, err := w.pool.Exec(w.Context(), sql, args...)
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != code || !strings.Contains(pg.Message+" "+pg.Hint, says) {
		w.Errorf("%s %v: got %v, want %s %q", sql, args, err, code, says)
	}
}

// accepted is what accept_input answers.
type accepted struct {
	ID        string
	Duplicate bool
	Phase     string
	Process   *string
}

func (w *world) accept(session, topic, payload, key, options string) accepted {
	w.Helper()
	var a accepted
	err := w.pool.QueryRow(w.Context(), "select * from towpath.accept_input($1, $2, $3, nullif($4, ''), $5)",
		session, topic, payload, key, json.RawMessage(options)).Scan(&a.ID, &a.Duplicate, &a.Phase, &a.Process)
	w.ok(err)
	return a
}

func (w *world) session(id string) {
	w.Helper()
	w.exec("select towpath.session_put($1, 'p')", id)
}

func (w *world) phase(id, want string) {
	w.Helper()
	if got := get[string](w, "select concat_ws(': ', phase, reason) from towpath.input where id = $1", id); got != want {
		w.Errorf("input %s is %q, want %q", id, got, want)
	}
}

// feature: D74
func TestAnInputIsDurableWhenItIsAccepted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	// An acknowledgement that never came: the write failed, and the same call again is no duplicate.
	tx := w.begin()
	_, err := tx.Exec(t.Context(), `select towpath.accept_input('s', 'event', '{"n": 1}', 'k')`)
	w.ok(err)
	w.ok(tx.Rollback(t.Context()))
	a := w.accept("s", "event", `{"n": 1}`, "k", `{}`)
	if a.Duplicate || a.Phase != "queued" {
		t.Errorf("after a failed write: %+v", a)
	}
	row := get[string](w, "select concat_ws(' ', phase, topic, source, durability, lane, payload ->> 'n') from towpath.input where id = $1", a.ID)
	if row != "queued event operator durable steer 1" {
		t.Errorf("row: %s", row)
	}
	w.sound()
}

// feature: D75 D76
func TestADuplicateInputIsAnsweredAndWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	first := w.accept("s", "prompt", `{"text": "a", "n": 1.0}`, "k", `{}`)
	before := get[string](w, "select s.change_no || ' ' || s.next_input from towpath.session s")
	jobs := get[int](w, "select count(*) from river_job")
	again := w.accept("s", "prompt", `{"n": 1, "text": "a"}`, "k", `{}`)
	if !again.Duplicate || again.ID != first.ID || *again.Process != *first.Process {
		t.Errorf("in flight: %+v, first %+v", again, first)
	}
	w.deny("TW40I", first.ID, `select towpath.accept_input('s', 'prompt', '{"text": "b"}', 'k')`)
	w.deny("TW40I", first.ID, `select towpath.accept_input('s', 'message', '{"text": "a", "n": 1}', 'k')`)
	w.deny("TW40I", first.ID, `select towpath.accept_input('s', 'prompt', '{"text": "a", "n": 1}', 'k', '{"source": "peer"}')`)
	if after := get[string](w, "select s.change_no || ' ' || s.next_input from towpath.session s"); after != before {
		t.Errorf("a duplicate moved the session from %s to %s", before, after)
	}
	if n := get[int](w, "select count(*) from river_job"); n != jobs {
		t.Errorf("a duplicate made %d jobs of %d", n, jobs)
	}
	o, _ := w.run(*first.Process, node("n"))
	w.complete(o)
	if ended := w.accept("s", "prompt", `{"text": "a", "n": 1}`, "k", `{}`); !ended.Duplicate || ended.Process != nil || ended.Phase != "consumed" {
		t.Errorf("of one that has ended: %+v", ended)
	}
	// Whatever has become of the session.
	w.exec("select towpath.session_control('s', 'destroy')")
	if again := w.accept("s", "prompt", `{"text": "a", "n": 1}`, "k", `{}`); !again.Duplicate {
		t.Errorf("in a destroyed session: %+v", again)
	}
	w.deny("TW409", "destroyed", `select towpath.accept_input('s', 'prompt', '{}', 'another')`)
	w.sound()
}

// feature: D75
func TestFiftyOfOneInputAreOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	var wg sync.WaitGroup
	ids := make([]string, 50)
	for i := range ids {
		wg.Go(func() {
			err := w.pool.QueryRow(t.Context(), `select input_id from towpath.accept_input('s', 'prompt', '{}', 'k')`).Scan(&ids[i])
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("inputs %s and %s", id, ids[0])
		}
	}
	w.sound()
}

// feature: D77
func TestAnInputGoesOnlyWhereItsPhaseAllows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	legal := map[string]string{
		"queued":  "staged applied consumed superseded coalesced rejected abandoned",
		"staged":  "queued applied consumed superseded rejected abandoned",
		"applied": "queued consumed",
	}
	phases := strings.Fields("queued staged applied consumed superseded coalesced rejected abandoned")
	final := func(phase string) bool { return phase != "queued" && phase != "staged" && phase != "applied" }
	id := w.submit("s")
	for i, from := range phases {
		for j, to := range phases {
			if from == to {
				continue
			}
			in := fmt.Sprintf("%d.%d", i, j)
			w.exec(`insert into towpath.input (id, session_id, seq, process_no, kind, phase, payload, digest, created_at, updated_at, finalized_at)
				select $1, 's', 100 + $2, p.no, 'steer', $3, '{}', '', now(), now(), case when $4 then now() end from towpath.process p where p.id = $5`,
				in, i*10+j, from, final(from), id)
			const move = `update towpath.input set phase = $2, finalized_at = case when $3 then coalesce(finalized_at, now()) end where id = $1`
			if strings.Contains(" "+legal[from]+" ", " "+to+" ") {
				w.exec(move, in, to, final(to))
				if h := get[string](w, "select (history #>> '{0,from}') || (history #>> '{0,to}') from towpath.input where id = $1", in); h != from+to {
					t.Errorf("history of %s to %s: %s", from, to, h)
				}
				continue
			}
			w.deny("TW409", "", move, in, to, final(to))
			w.phase(in, from)
		}
	}
	// What it says, what was decided about it and how it ended stay.
	a := w.accept("s", "event", `{"n": 1}`, "", `{}`)
	w.deny("TW409", "what an input says", `update towpath.input set payload = '{}' where id = $1`, a.ID)
	w.deny("TW409", "what was decided", `update towpath.input set policy = '{}' where id = $1`, a.ID)
	w.deny("23514", "lifecycle", `update towpath.input set phase = 'consumed' where id = $1`, a.ID)
	w.deny("23514", "lifecycle", `update towpath.input set phase = 'staged' where id = $1`, a.ID)
	// An operator, who may write the tables, cannot store what no function would.
	for _, broken := range []string{"lane = 'fast'", "correlation_id = repeat('x', 201)", "history = '{}'"} {
		w.deny("23514", "input", "update towpath.input set "+broken+" where id = $1", a.ID)
	}
	w.deny("23514", "kind is", `insert into towpath.input (id, session_id, seq, kind, phase, payload, digest, created_at, updated_at)
		values ($1, 's', 99, 'shout', 'queued', '{}', '', now(), now())`, "other")
	for _, broken := range []string{"metadata = '[]'", "title = repeat('x', 501)"} {
		w.deny("23514", "session", "update towpath.session set "+broken+" where id = $1", "s")
	}
	w.deny("23514", "without #", `insert into towpath.session (id, tenant, project, profile, created_at, updated_at) values ($1, 't', 'p', 'p', now(), now())`, "a#b")
}

// feature: D78
func TestANewerInputSupersedesOneThatWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	first := w.accept("s", "prompt", `{"text": "1"}`, "", `{"scope": "plan"}`)
	otherScope := w.accept("s", "prompt", `{"text": "2"}`, "", `{"scope": "else"}`)
	otherTopic := w.accept("s", "step", `{"text": "3"}`, "", `{"scope": "plan"}`)
	// A failed accept brings the old one back.
	tx := w.begin()
	_, err := tx.Exec(t.Context(), `select towpath.accept_input('s', 'prompt', '{}', null, '{"scope": "plan"}')`)
	w.ok(err)
	w.ok(tx.Rollback(t.Context()))
	w.phase(first.ID, "queued")

	second := w.accept("s", "prompt", `{"text": "4"}`, "", `{"scope": "plan"}`)
	w.phase(first.ID, "superseded: a newer input of its scope")
	if ref := get[string](w, "select outcome_ref from towpath.input where id = $1", first.ID); ref != second.ID {
		t.Errorf("superseded by %s, want %s", ref, second.ID)
	}
	w.status(*first.Process, "cancelled")
	w.phase(otherScope.ID, "queued")
	w.phase(otherTopic.ID, "queued")
	w.sound()

	// One that has begun is not taken back.
	n := node("n")
	for _, a := range []accepted{otherScope, otherTopic} {
		o, _ := w.run(*a.Process, n)
		w.complete(o)
	}
	o, _ := w.run(*second.Process, n)
	third := w.accept("s", "prompt", `{"text": "5"}`, "", `{"scope": "plan"}`)
	w.phase(second.ID, "staged")
	_, err = w.store.Retry(t.Context(), o, "the node is lost", 0, false, []byte(`{}`), "", false)
	w.ok(err)
	fourth := w.accept("s", "prompt", `{"text": "6"}`, "", `{"scope": "plan"}`)
	w.phase(second.ID, "queued")
	w.phase(third.ID, "superseded: a newer input of its scope")
	o, _ = w.run(*second.Process, n)
	w.complete(o)
	w.run(*fourth.Process, n)
	w.sound()
}

// feature: D78
func TestEventsOfOneScopeAreFoldedTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	a := w.accept("s", "event", `{"n": 1}`, "", `{"scope": "build"}`)
	b := w.accept("s", "event", `{"n": 2}`, "", `{"scope": "build"}`)
	other := w.accept("s", "event", `{"n": 3}`, "", `{"scope": "test"}`)
	c := w.accept("s", "event", `{"n": 4}`, "", `{"scope": "build"}`)
	w.phase(a.ID, "coalesced: a newer input of its scope")
	w.phase(b.ID, "coalesced: a newer input of its scope")
	w.phase(other.ID, "queued")
	if said := get[string](w, "select payload::text from towpath.input where id = $1", c.ID); said != `{"items": [{"n": 1}, {"n": 2}, {"n": 4}]}` {
		t.Errorf("folded into %s", said)
	}
	// Together they stay below the limit of one input.
	big := fmt.Sprintf(`{"text": %q}`, strings.Repeat("x", 700_000))
	d := w.accept("s", "event", big, "", `{"scope": "big"}`)
	e := w.accept("s", "event", big, "", `{"scope": "big"}`)
	w.phase(d.ID, "queued")
	w.phase(e.ID, "queued")
	w.sound()
}

// feature: D79
func TestInputsAreStagedInTheOrderOfTheirAdmission(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("s")
	o, _ := w.run(id, node("n"))
	var steers []string
	for i := range 5 {
		steers = append(steers, w.accept("s", "message", fmt.Sprintf(`{"n": %d}`, i), "", `{}`).ID)
	}
	queued := w.accept("s", "message", `{"n": 5}`, "", `{"lane": "queue"}`)
	if queued.Process == nil || *queued.Process == id {
		t.Errorf("lane queue: %+v", queued)
	}
	ids := func(max int) string {
		return get[string](w, "select coalesce(string_agg(id, ' '), '') from towpath.stage_inputs($1, $2, 'steer', $3)", o.No, o.Fence, max)
	}
	if got := ids(3) + " " + ids(10); got != strings.Join(steers, " ") {
		t.Errorf("staged %s, accepted %s", got, strings.Join(steers, " "))
	}
	if got := get[int](w, "select min(attempts) from towpath.input where id = any($1)", steers); got != 1 {
		t.Errorf("attempts %d", got)
	}
	w.deny("TW40L", "does not own", "select towpath.stage_inputs($1, $2)", o.No, o.Fence-1)
	w.complete(o)
	w.sound()
}

// feature: D79
func TestWhatWaitsIsToldToTheNextTurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	a := w.accept("s", "event", `{"text": "the build is red"}`, "", `{}`)
	if a.Process != nil || get[int](w, "select count(*) from river_job") != 0 {
		t.Errorf("an event woke somebody: %+v", a)
	}
	n := node("n")
	// A turn that never looks does not use it up; the third one loses it.
	for i := range 3 {
		o, c := w.run(w.submit("s"), n)
		if !*c.Words {
			t.Fatalf("turn %d was not told that there is something to hear", i)
		}
		words, err := w.store.Poll(t.Context(), []store.Owner{o})
		w.ok(err)
		if len(words) != 1 || *words[0].ID != a.ID || !strings.Contains(string(words[0].Payload), "the build is red") {
			t.Fatalf("turn %d heard %+v", i, words)
		}
		w.complete(o)
		if i < 2 {
			w.phase(a.ID, "queued")
		}
	}
	w.phase(a.ID, "abandoned: max_attempts_exhausted")
	b := w.accept("s", "event", `{"text": "green again"}`, "", `{}`)
	o, _ := w.run(w.submit("s"), n)
	_, err := w.store.Poll(t.Context(), []store.Owner{o})
	w.ok(err)
	_, err = w.store.Append(t.Context(), []store.Batch{{Owner: o, Applied: []string{b.ID}}})
	w.ok(err)
	w.complete(o)
	w.phase(b.ID, "consumed")
	w.sound()
}

// feature: D80
func TestLargeContentIsOutOfTheRow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text := strings.Repeat("x", 100_000)
	payload := fmt.Sprintf(`{"text": %q}`, text)
	id, err := w.store.Submit(t.Context(), store.Submission{Profile: "p", Input: []byte(payload), Session: "s"})
	w.ok(err)
	size := get[int](w, "select octet_length(payload::text) from towpath.input where session_id = 's'")
	if size > 100 || get[int](w, "select content_bytes from towpath.input where session_id = 's'") < len(text) {
		t.Errorf("the row holds %d bytes", size)
	}
	o, c := w.run(id, node("n"))
	if same := get[bool](w, "select $1::jsonb = $2::jsonb", string(c.Input), payload); !same {
		t.Error("the turn got something else")
	}
	steer, err := w.store.Steer(t.Context(), id, []byte(payload), "")
	w.ok(err)
	words, err := w.store.Poll(t.Context(), []store.Owner{o})
	w.ok(err)
	if len(words) != 1 || len(words[0].Payload) < len(text) {
		t.Errorf("%d words", len(words))
	}
	// Unseen, it is the next turn's, whole.
	w.complete(o)
	w.phase(steer, "superseded: next turn")
	_, c = w.run(get[string](w, "select active_process from towpath.session"), node("n"))
	if len(c.Input) < len(text) {
		t.Errorf("the late steer's turn got %d bytes", len(c.Input))
	}
	small := get[int](w, "select count(*) from towpath.input_content")
	w.accept("s", "event", `{"text": "small"}`, "", `{}`)
	if n := get[int](w, "select count(*) from towpath.input_content"); n != small {
		t.Errorf("a small one was moved out")
	}
	w.sound()
}

// feature: D81
func TestWhatCanBeDerivedIsRefusedFromOutside(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	for _, source := range []string{"operator", "peer", "external"} {
		w.deny("TW403", "derived", `select towpath.accept_input('s', 'event', '{}', null, jsonb_build_object('durability', 'derived', 'source', $1::text))`, source)
	}
	for _, topic := range []string{"prompt", "message", "request", "response", "step"} {
		w.deny("TW403", "derived", `select towpath.accept_input('s', $1, '{}', null, '{"durability": "derived", "source": "system"}')`, topic)
	}
	w.accept("s", "progress", `{}`, "", `{"durability": "derived", "source": "system"}`)
	ephemeral := w.accept("s", "progress", `{}`, "", `{"durability": "ephemeral", "source": "flow"}`)
	durable := w.accept("s", "progress", `{}`, "", `{}`)
	if got := get[string](w, "select towpath.recover('s')"); got != "recovered" {
		t.Errorf("recover: %s", got)
	}
	w.phase(ephemeral.ID, "abandoned: ephemeral")
	w.phase(durable.ID, "queued")
	w.sound()
}

// feature: D82
func TestWhatWasDecidedStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	policies := map[string][2]string{ // idle, busy
		"prompt": {"turn", "turn"}, "message": {"turn", "steer"}, "request": {"turn", "steer"}, "response": {"turn", "steer"},
		"step": {"turn", "turn"}, "progress": {"wait", "wait"}, "event": {"wait", "wait"}, "continuation": {"turn", "ignore"},
		"operation": {"ignore", "ignore"},
	}
	for topic, want := range policies {
		idle, busy := "idle-"+topic, "busy-"+topic
		w.session(idle)
		head := w.submit(busy)
		a, b := w.accept(idle, topic, `{}`, "", `{}`), w.accept(busy, topic, `{}`, "", `{}`)
		for i, got := range []accepted{a, b} {
			apply := get[string](w, "select policy ->> 'apply' from towpath.input where id = $1", got.ID)
			if apply != want[i] || get[int](w, "select (policy ->> 'version')::int from towpath.input where id = $1", got.ID) != 1 {
				t.Errorf("%s, case %d: %s, want %s", topic, i, apply, want[i])
			}
			switch {
			case apply == "turn" && (got.Process == nil || *got.Process == head),
				apply == "steer" && (got.Process == nil || *got.Process != head),
				apply == "wait" && (got.Process != nil || got.Phase != "queued"),
				apply == "ignore" && (got.Process != nil || got.Phase != "consumed"):
				t.Errorf("%s is %s and became %+v", topic, apply, got)
			}
		}
	}
	// The session has become busy: what waits keeps what it was given.
	w.submit("idle-event")
	if got := get[string](w, "select policy ->> 'apply' from towpath.input where session_id = 'idle-event' and topic = 'event'"); got != "wait" {
		t.Errorf("policy became %s", got)
	}
	w.submit("lanes")
	steer := w.accept("lanes", "prompt", `{}`, "", `{"lane": "steer"}`)
	if got := get[string](w, "select kind from towpath.input where id = $1", steer.ID); got != "steer" {
		t.Errorf("a prompt in lane steer is a %s", got)
	}
	w.sound()
}

// feature: C42
func TestInputsThatCannotBeAccepted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	big := fmt.Sprintf(`{"text": %q}`, strings.Repeat("x", 1<<20))
	for _, c := range []struct{ code, says, session, topic, payload, key, options string }{
		{"TW404", "unknown session", "nobody", "event", `{}`, "k", `{}`},
		{"TW400", "unknown topic", "s", "gossip", `{}`, "k", `{}`},
		{"TW400", "not a JSON object", "s", "event", `[]`, "k", `{}`},
		{"TW400", "not a JSON object", "s", "event", `null`, "k", `{}`},
		{"TW413", "limit", "s", "event", big, "k", `{}`},
		{"TW400", "idempotency_key is empty", "s", "event", `{}`, "", `{}`},
		{"TW400", "options", "s", "event", `{}`, "k", `{"speed": 1}`},
		{"TW400", "options", "s", "event", `{}`, "k", `[]`},
		{"TW400", "options", "s", "event", `{}`, "k", `{"lane": "fast"}`},
		{"TW400", "scope", "s", "event", `{}`, "k", `{"scope": ""}`},
		{"TW400", "correlation_id", "s", "event", `{}`, "k", `{"correlation_id": "` + strings.Repeat("x", 201) + `"}`},
	} {
		w.deny(c.code, c.says, "select towpath.accept_input($1, $2, $3, $4, $5)", c.session, c.topic, c.payload, c.key, json.RawMessage(c.options))
	}
	w.deny("TW400", "unknown topic", "select towpath.accept_input('s', null, '{}')")
	w.deny("TW404", "unknown session", "select towpath.accept_input(null, 'event', '{}')")
	w.deny("22P05", "", `select towpath.accept_input('s', 'event', $1::text::jsonb)`, `{"a": "\u0000"}`)
	// A long key is fine.
	w.accept("s", "event", `{}`, strings.Repeat("k", 1<<20), `{}`)
	if n := get[int](w, "select count(*) from towpath.input"); n != 1 {
		t.Errorf("%d inputs", n)
	}
}
