package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/towpath/towpath/store"
)

func speaking(schema string) store.Start {
	p := operation()
	declare("line", schema)(&p)
	return p
}

// feature: D16 D20
func TestOnlyDeclaredEventsAreStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.launch(speaking(`{"type": "object", "required": ["n"], "additionalProperties": false, "properties": {
		"n": {"type": "integer"}, "who": {"enum": ["me", "you"]}, "list": {"type": "array", "items": {"type": ["string", "null"]}},
		"any": {"additionalProperties": {"type": "boolean"}}}}`))
	for name, c := range map[string]struct {
		kind, data string
		want       error
		text       string
	}{
		"undeclared":           {"word", `{"n": 1}`, store.ErrInvalid, "declared: line"},
		"no type":              {"", `{"n": 1}`, store.ErrInvalid, "has not declared"},
		"D20 lifecycle":        {"process.completed", `{}`, store.ErrDenied, "the database's own"},
		"D20 of our name":      {"process.mine", `{}`, store.ErrDenied, "the database's own"},
		"a list":               {"line", `[]`, store.ErrInvalid, "not a JSON object"},
		"null":                 {"line", `null`, store.ErrInvalid, "not a JSON object"},
		"no JSON":              {"line", `{`, store.ErrInvalid, ""},
		"NUL":                  {"line", `{"n": 1, "\u0000": 1}`, store.ErrInvalid, ""},
		"lone surrogate":       {"line", `{"n": 1, "who": "\ud800"}`, store.ErrInvalid, ""},
		"missing":              {"line", `{}`, store.ErrInvalid, "data.n is missing"},
		"unknown":              {"line", `{"n": 1, "m": 1}`, store.ErrInvalid, "data.m is not known"},
		"fraction":             {"line", `{"n": 1.5}`, store.ErrInvalid, "data.n is of type number, not integer"},
		"text for a number":    {"line", `{"n": "1"}`, store.ErrInvalid, "data.n is of type string"},
		"not in the enum":      {"line", `{"n": 1, "who": "they"}`, store.ErrInvalid, "data.who is not one of"},
		"wrong item":           {"line", `{"n": 1, "list": ["a", null, 3]}`, store.ErrInvalid, "data.list[2] is of type number, not string or null"},
		"wrong extra property": {"line", `{"n": 1, "any": {"a": true, "b": 0}}`, store.ErrInvalid, "data.any.b is of type number"},
		"huge":                 {"line", `{"n": 1, "who": "` + strings.Repeat("x", 1<<20) + `"}`, store.ErrTooLarge, "1048576"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.store.AppendEvent(t.Context(), id, c.kind, raw(c.data), "")
			(&world{TB: t}).refused(err, c.want, c.text)
		})
	}
	w.log(id, "process.queued")
	for i, data := range []string{`{"n": 1.0}`, `{"n": -3e2, "who": "me"}`, `{"n": 1, "list": ["a", null], "any": {"a": true}}`} {
		if seq, err := w.store.AppendEvent(t.Context(), id, "line", raw(data), ""); err != nil || seq != int64(i)+2 {
			t.Errorf("%s: %d, %v", data, seq, err)
		}
	}
	_, err := w.store.AppendEvent(t.Context(), "none", "line", raw("{}"), "")
	w.refused(err, store.ErrNotFound, "none")
	w.sound()
}

// feature: D18 D21 D22
func TestAKeyIsOneEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.launch(speaking("{}"))
	long := strings.Repeat("a long reason ", 1<<20/14)
	for _, key := range []string{"k", long} {
		first, err := w.store.AppendEvent(t.Context(), id, "line", raw(`{"a": -0.0, "b": [1.50, {"x": 1, "y": 2}], "authorization": "Bearer one"}`), key)
		w.ok(err)
		// The same, written otherwise, from many at once; what differs is not stored.
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				again, err := w.store.AppendEvent(t.Context(), id, "line", raw(`{"authorization": "Bearer two", "b": [1.5, {"y": 2, "x": 1}], "a": 0}`), key)
				if err != nil || again != first {
					t.Errorf("%d after %d, %v", again, first, err)
				}
			})
		}
		wg.Wait()
		_, err = w.store.AppendEvent(t.Context(), id, "line", raw(`{"a": 1}`), key)
		w.refused(err, store.ErrIdempotency, fmt.Sprintf("event %d has it", first))
	}
	if n := w.process(id).LastSeq; n != 3 {
		t.Errorf("%d events", n)
	}
	_, err := w.store.Cancel(t.Context(), id, long, 0)
	w.ok(err)
	// A replay is answered after the end too, a new event is not.
	if seq, err := w.store.AppendEvent(t.Context(), id, "line", raw(`{"a": 0, "b": [1.5, {"y": 2, "x": 1}], "authorization": ""}`), "k"); err != nil || seq != 2 {
		t.Errorf("replay after the end: %d, %v", seq, err)
	}
	_, err = w.store.AppendEvent(t.Context(), id, "line", raw(`{}`), "new")
	w.refused(err, store.ErrConflict, "is cancelled and takes no event")
	_, err = w.pool.Exec(t.Context(), "select towpath.append_event($1, 'line', '{}', '')", id)
	if err == nil || !strings.Contains(err.Error(), "TW400") {
		t.Errorf("an empty key: %v", err)
	}
	w.sound()
}

// feature: D17 D23 D25
func TestEverybodySpeaksInOneLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.launch(speaking("{}"))
	o := w.claimed(id, node("n"))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 10 {
				var err error
				data := raw(fmt.Sprintf(`{"i": %d, "j": %d, "password": "hunter2", "text": "sk-0123456789abcdefghij"}`, i, j))
				if i == 0 {
					_, err = w.store.AppendOwned(t.Context(), o, "line", data, "")
				} else {
					_, err = w.store.AppendEvent(t.Context(), id, "line", data, "")
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	log, err := w.store.Events(t.Context(), id, 2, 100)
	w.ok(err)
	next := map[int]int{}
	for n, e := range log {
		var d struct{ I, J int }
		if err := json.Unmarshal(e.Data, &d); err != nil || e.Seq != int64(n)+3 || next[d.I] != d.J {
			t.Fatalf("event %d: %+v, %v", n, e, err)
		}
		next[d.I]++
		if strings.Contains(string(e.Data), "hunter2") || strings.Contains(string(e.Data), "sk-0") {
			t.Fatalf("a secret was stored: %s", e.Data)
		}
	}
	if p := w.process(id); len(log) != 80 || p.LastSeq != 82 {
		t.Errorf("%d events, counter %d", len(log), p.LastSeq)
	}
	if fenced := get[int](w, "select count(*) from towpath.event where type = 'line' and fence is not null"); fenced != 10 {
		t.Errorf("%d events carry the fence", fenced)
	}
	tail, err := w.store.Recent(t.Context(), id, 32)
	w.ok(err)
	if len(tail) != 32 || tail[0].Seq != 51 || tail[31].Seq != 82 {
		t.Errorf("tail of %d from %d", len(tail), tail[0].Seq)
	}
	if all, err := w.store.Recent(t.Context(), id, 1000); err != nil || len(all) != 82 {
		t.Errorf("%d events, %v", len(all), err)
	}
	_, err = w.store.Recent(t.Context(), "none", 10)
	w.refused(err, store.ErrNotFound, "none")
	w.sound()
}

// feature: D9 D12 D19 D60
func TestWhoMayEndAProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	end := func(status string) store.Completion {
		c := store.Completion{Status: status, Outcome: raw(`{"text": "t"}`), Key: "k"}
		if status == "failed" {
			c.Kind = "bad"
		}
		return c
	}
	keyed := func(disposition string) string {
		p := operation()
		p.Disposition, p.Options.IdempotencyKey = disposition, "w"+disposition
		return w.launch(p)
	}
	marked := w.launch(external())
	_, err := w.store.RequestAbandon(t.Context(), marked, "me", "")
	w.ok(err)
	for name, c := range map[string]struct {
		authority, id, status, key string
		denied                     string
	}{
		"external: external owner":           {store.ByExternalOwner, w.launch(external()), "completed", "", ""},
		"external: external owner, failed":   {store.ByExternalOwner, w.launch(external()), "failed", "", ""},
		"external: external owner, gives up": {store.ByExternalOwner, w.launch(external()), "abandoned", "", "an owner knows"},
		"external: workflow":                 {store.ByWorkflowKey, w.launch(external()), "completed", "w", "not executed under a workflow"},
		"external: reconciled":               {store.ByReconciledAbandon, marked, "abandoned", "", ""},
		"external: reconciled, unasked":      {store.ByReconciledAbandon, w.launch(external()), "abandoned", "", "nobody asked"},
		"external: reconciled, completed":    {store.ByReconciledAbandon, w.launch(external()), "completed", "", "only abandon"},
		"rerunnable: external owner":         {store.ByExternalOwner, w.launch(operation()), "completed", "", "not externally owned"},
		"rerunnable: reconciled":             {store.ByReconciledAbandon, w.launch(operation()), "abandoned", "", "not externally owned"},
		"rerunnable: workflow":               {store.ByWorkflowKey, keyed("rerunnable"), "completed", "wrerunnable", ""},
		"rerunnable: another workflow":       {store.ByWorkflowKey, w.launch(operation()), "completed", "w", "not started with this"},
		"rerunnable: no workflow":            {store.ByWorkflowKey, w.launch(operation()), "completed", "", "not started with this"},
		"owner-bound: workflow":              {store.ByWorkflowKey, keyed("owner_bound"), "cancelled", "wowner_bound", ""},
		"turn: workflow":                     {store.ByWorkflowKey, w.submit(""), "completed", "", "not executed under a workflow"},
	} {
		before := w.types(c.id)
		err := w.store.CompleteBy(t.Context(), c.authority, c.id, end(c.status), c.key)
		if c.denied != "" {
			if !errors.Is(err, store.ErrDenied) || !strings.Contains(err.Error(), c.denied) {
				t.Errorf("%s: %v", name, err)
			}
			w.log(c.id, before...)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		w.status(c.id, c.status)
		if by := get[string](w, "select e.data ->> 'authority' from towpath.events($1) e order by seq desc limit 1", c.id); by != c.authority {
			t.Errorf("%s: ended by %s", name, by)
		}
	}
	// While somebody executes it, a workflow's key is not enough; the executor's word is.
	held := operation()
	held.Options.IdempotencyKey = "held"
	id := w.launch(held)
	o := w.claimed(id, node("n"))
	w.refused(w.store.CompleteBy(t.Context(), store.ByWorkflowKey, id, end("completed"), "held"), store.ErrDenied, "somebody is executing it")
	for name, c := range map[string]store.Completion{
		"no key":            {Status: "completed", Outcome: raw("{}")},
		"no status":         {Outcome: raw("{}"), Key: "k"},
		"unknown status":    {Status: "done", Outcome: raw("{}"), Key: "k"},
		"live status":       {Status: "queued", Outcome: raw("{}"), Key: "k"},
		"outcome is a text": {Status: "completed", Outcome: raw(`"x"`), Key: "k"},
		"failed how":        {Status: "failed", Outcome: raw("{}"), Key: "k"},
		"completed but how": {Status: "completed", Outcome: raw("{}"), Key: "k", Kind: "bad"},
	} {
		if err := w.store.Complete(t.Context(), o, c); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		if err := w.store.CompleteBy(t.Context(), store.ByExternalOwner, id, c, ""); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	huge := store.Completion{Status: "completed", Outcome: raw(`{"a": "` + strings.Repeat("x", 1<<20) + `"}`), Key: "k"}
	w.refused(w.store.Complete(t.Context(), o, huge), store.ErrTooLarge, "1048576")
	w.refused(w.store.CompleteBy(t.Context(), "me", id, end("completed"), ""), store.ErrInvalid, "authority")
	w.ok(w.store.Complete(t.Context(), o, end("abandoned")))
	w.sound()
}

// feature: D10 D11 D59
func TestAProcessEndsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.launch(speaking("{}"))
	n := node("n")
	o := w.claimed(id, n)
	_, err := w.store.AppendOwned(t.Context(), o, "line", raw("{}"), "mine")
	w.ok(err)
	w.refused(w.store.Complete(t.Context(), o, done("mine")), store.ErrIdempotency, "event 3 has it")
	key := strings.Repeat("k", 1<<20)
	secret := store.Completion{Status: "completed", Outcome: raw(`{"n": 1.0, "password": "one"}`), Key: key}
	w.ok(w.store.Complete(t.Context(), o, secret))
	if n := get[int](w, "select count(*) from towpath.lease"); n != 0 {
		t.Error("a lease after the end")
	}
	before := get[string](w, "select to_jsonb(p)::text from towpath.process p")
	// Its answer was lost: the same again, as it was redacted.
	for range 2 {
		w.ok(w.store.Complete(t.Context(), o, store.Completion{Status: "completed", Outcome: raw(`{"password": "two", "n": 1}`), Key: key}))
	}
	w.refused(w.store.Complete(t.Context(), o, store.Completion{Status: "completed", Outcome: raw(`{"n": 2}`), Key: key}), store.ErrIdempotency, "another end")
	w.refused(w.store.Complete(t.Context(), o, store.Completion{Status: "cancelled", Outcome: raw(`{"n": 1}`), Key: key}), store.ErrIdempotency, "another end")
	w.refused(w.store.Complete(t.Context(), o, done("other")), store.ErrConflict, "is completed already")
	w.refused(w.store.CompleteBy(t.Context(), store.ByExternalOwner, id, done("other"), ""), store.ErrConflict, "is completed already")
	if after := get[string](w, "select to_jsonb(p)::text from towpath.process p"); after != before {
		t.Errorf("the end changed from\n%s to\n%s", before, after)
	}
	w.log(id, "process.queued", "process.started", "line", "process.completed")
	w.refused(w.store.Complete(t.Context(), store.Owner{No: 77, Fence: 1}, done("k")), store.ErrNotFound, "")
	turn, _ := w.run(w.submit(""), n)
	w.refused(w.store.Complete(t.Context(), turn, done("k")), store.ErrConflict, "is a turn")
	w.sound()
}

// feature: D9 D14
func TestTheTableRefusesWhatTheFunctionsNeverDo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := node("n")
	live := func() string { return w.launch(operation()) }
	states := map[string]string{"queued": live(), "running": live(), "waiting": live(), "backoff": live(), "completed": live()}
	w.claimed(states["running"], n)
	w.ok(w.store.Park(t.Context(), w.claimed(states["waiting"], n), raw(`{"kind": "x"}`)))
	_, err := w.store.Retry(t.Context(), w.claimed(states["backoff"], n), "again", ttl, false, raw("{}"), "", false)
	w.ok(err)
	w.ok(w.store.Complete(t.Context(), w.claimed(states["completed"], n), done("k")))
	legal := map[string]string{"queued": "running", "running": "queued backoff waiting", "waiting": "queued running", "backoff": "queued running"}
	for from, id := range states {
		for _, to := range []string{"queued", "running", "waiting", "backoff"} {
			if from == to {
				continue
			}
			tx := w.begin()
			_, err := tx.Exec(t.Context(), `update towpath.process set status = $2, wait = case when $2 = 'waiting' then '{}'::jsonb end,
				next_attempt_at = case when $2 = 'backoff' then now() end, outcome = null, finalized_at = null where id = $1`, id, to)
			w.ok(tx.Rollback(t.Context()))
			if want := strings.Contains(legal[from], to); want != (err == nil) {
				t.Errorf("from %s to %s: %v", from, to, err)
			}
		}
	}
	ext := w.launch(external())
	for _, change := range []string{
		"finalized_at = now()", "outcome = '{}'", "status = 'completed'", "status = 'failed', outcome = '{}', finalized_at = now()",
		"status = 'abandoned', outcome = '{}', finalized_at = now()", "wait = '{}'", "next_attempt_at = now()", "status = 'lost'",
		"abandon_writer = 'me'", "failure_kind = 'x'", "cancel_requested_at = now()", "status = 'queued'",
	} {
		if _, err := w.pool.Exec(t.Context(), "update towpath.process set "+change+" where id = $1", ext); err == nil {
			t.Errorf("the table took %s", change)
		}
	}
	w.sound()
}

// feature: D15
func TestARowIsWhatItsLogAddsUpTo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := node("n")
	for _, id := range []string{w.launch(external()), w.launch(operation()), w.submit("s"), w.submit("s")} {
		_, err := w.store.RequestAbandon(t.Context(), id, "me", "")
		w.ok(err)
	}
	id := w.launch(operation())
	o := w.claimed(id, n)
	_, err := w.store.Retry(t.Context(), o, "again", ttl, false, raw("{}"), "", false)
	w.ok(err)
	ended := w.launch(operation())
	w.ok(w.store.Complete(t.Context(), w.claimed(ended, n), store.Completion{Status: "failed", Kind: "bad", Outcome: raw(`{"kind": "mine", "text": "t"}`), Key: "k"}))
	const all = "select coalesce(string_agg(r, '; '), '') from towpath.process p, towpath.refold(p.no) r"
	if got := get[string](w, all); got != "" {
		t.Errorf("rows and logs differ: %s", got)
	}
	for change, want := range map[string]string{
		"update towpath.process set status = 'queued', next_attempt_at = null where id = '" + id + "'":                                 "status is queued, the log says backoff",
		"update towpath.process set outcome = '{}' where id = '" + ended + "'":                                                         "outcome is {}, the log says",
		"update towpath.process set failure_kind = 'x' where id = '" + ended + "'":                                                     "outcome is",
		"update towpath.process set attempt = 7 where id = '" + id + "'":                                                               "attempt is 7, the log says 1",
		"update towpath.process set abandon_request = null where abandon_request is not null":                                          "abandon asked f, the log says f and t",
		"update towpath.process set cancel_requested_at = now(), cancel_reason = 'x', cancel_deadline = now() where id = '" + id + "'": "cancel asked t",
	} {
		tx := w.begin()
		_, err := tx.Exec(t.Context(), "set local session_replication_role = replica")
		w.ok(err)
		_, err = tx.Exec(t.Context(), change)
		w.ok(err)
		var got string
		w.ok(tx.QueryRow(t.Context(), all).Scan(&got))
		w.ok(tx.Rollback(t.Context()))
		if !strings.Contains(got, want) {
			t.Errorf("%s: %q", change, got)
		}
	}
}

// The validator never fails and never contradicts itself, whatever it is given.
func TestAnySchemaAndAnyValue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	value := jsonValue(3)
	rapid.Check(t, func(r *rapid.T) {
		v, err := json.Marshal(value.Draw(r, "value"))
		w.ok(err)
		s, err := json.Marshal(map[string]any{"enum": []any{json.RawMessage(v)}, "type": []string{"object", "array", "string", "number", "boolean", "null"}})
		w.ok(err)
		var misfit, other *string
		w.ok(w.pool.QueryRow(t.Context(), "select towpath.misfit($1::jsonb, $2::jsonb, 'x'), towpath.misfit(jsonb_build_array($1::jsonb), $2::jsonb, 'x')", raw(string(v)), raw(string(s))).Scan(&misfit, &other))
		if misfit != nil || other == nil {
			r.Fatalf("%s in %s: %v, wrapped: %v", v, s, misfit, other)
		}
		// Any value for a schema is refused or taken, with one of our errors.
		if _, err := w.pool.Exec(t.Context(), "select towpath.check_schema($1, 'x')", raw(string(v))); err != nil && !strings.Contains(err.Error(), "TW400") {
			r.Fatalf("schema %s: %v", v, err)
		}
	})
}

func jsonValue(depth int) *rapid.Generator[any] {
	leaf := rapid.OneOf(rapid.Just[any](nil), rapid.Map(rapid.Bool(), boxed), rapid.Map(rapid.Int32(), boxed), rapid.Map(rapid.StringMatching(`[a-z"\\ ]{0,5}`), boxed))
	if depth == 0 {
		return leaf
	}
	key := rapid.SampledFrom([]string{"type", "enum", "required", "properties", "additionalProperties", "items", "x"})
	return rapid.OneOf(leaf, rapid.Map(rapid.SliceOfN(jsonValue(depth-1), 0, 3), func(l []any) any { return l }),
		rapid.Map(rapid.MapOfN(key, jsonValue(depth-1), 0, 3), func(m map[string]any) any { return m }))
}

func boxed[T any](v T) any { return v }
