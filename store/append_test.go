package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/towpath/towpath/store"
)

func texts(w *world, id string) []string {
	w.Helper()
	return get[[]string](w, `select coalesce(array_agg(coalesce(e.data ->> 'text', '') order by e.seq), '{}') from towpath.events($1, 0, 10000) e where e.type = 'text'`, id)
}

func TestManyTurnsShareACommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := node("n")
	a, b, c := w.submit(""), w.submit(""), w.submit("")
	oa, _ := w.run(a, n)
	ob, _ := w.run(b, n)
	oc, _ := w.run(c, n)
	stored, err := w.store.Append(t.Context(), []store.Batch{batch(oc, "c1"), batch(oa, "a1", "a2"), batch(ob)})
	w.ok(err)
	if len(stored) != 3 || stored[oa.No] != 4 || stored[ob.No] != 2 || stored[oc.No] != 3 {
		t.Errorf("stored %v", stored)
	}
	w.say(oa, "a3")
	if got := strings.Join(texts(w, a), " "); got != "a1 a2 a3" {
		t.Errorf("events %s", got)
	}
	w.sound()
}

func TestAStaleFenceDropsOnlyItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.submit(""), w.submit("")
	job, args := w.deliver(a)
	old := w.claim(node("dead"), job, args)
	w.shift("31 seconds")
	c := w.claim(node("n"), job, args)
	zombie := old.Owner()
	owner := c.Owner()
	ob, _ := w.run(b, node("dead"))
	stored, err := w.store.Append(t.Context(), []store.Batch{batch(zombie, "from the grave"), batch(ob, "b1")})
	w.ok(err)
	if len(stored) != 1 || stored[ob.No] != 3 {
		t.Errorf("stored %v", stored)
	}
	// Even beside a batch of the owner.
	stored, err = w.store.Append(t.Context(), []store.Batch{batch(zombie, "from the grave"), batch(owner, "a1")})
	w.ok(err)
	if len(stored) != 1 {
		t.Errorf("stored %v", stored)
	}
	if got := texts(w, a); len(got) != 1 || got[0] != "a1" {
		t.Errorf("events %v", got)
	}
	// After the end nobody writes.
	w.complete(owner)
	if stored, err := w.store.Append(t.Context(), []store.Batch{batch(owner, "afterwards")}); err != nil || len(stored) != 0 {
		t.Errorf("after the end: %v, %v", stored, err)
	}
	w.sound()
}

func TestTwoBatchesOfOneTurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("")
	o, _ := w.run(id, node("n"))
	stored, err := w.store.Append(t.Context(), []store.Batch{batch(o, "1", "2"), batch(o, "3")})
	w.ok(err)
	if stored[o.No] != 5 {
		t.Errorf("stored %v", stored)
	}
	if got := strings.Join(texts(w, id), " "); got != "1 2 3" {
		t.Errorf("events %s", got)
	}
	w.sound()
}

// What an outside call waits for has no events. It is its owner's alone too, also when the turn is taken while it waits.
func TestAJournalAloneIsItsOwners(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	recorded := func(o store.Owner, first int) store.Batch {
		return store.Batch{Owner: o, Journal: store.Journal{First: first, Count: 1, Entries: []byte("entry"), Open: []byte(`[{"handle": 1}]`)}}
	}
	keep := func(o store.Owner, first int) map[int64]int64 {
		t.Helper()
		stored, err := w.store.Append(t.Context(), []store.Batch{recorded(o, first)})
		w.ok(err)
		return stored
	}
	id, other := w.submit(""), w.submit("")
	job, args := w.deliver(id)
	old := w.claim(node("dead"), job, args)
	zombie := old.Owner()
	if stored := keep(zombie, 0); len(stored) != 1 || stored[zombie.No] != 2 {
		t.Errorf("stored %v", stored)
	}
	w.shift("31 seconds")
	if stored := keep(zombie, 1); len(stored) != 0 {
		t.Errorf("with a lapsed lease: stored %v", stored)
	}
	c := w.claim(node("n"), job, args)
	owner := c.Owner()
	if stored := keep(zombie, 1); len(stored) != 0 {
		t.Errorf("with a stale fence: stored %v", stored)
	}
	if stored := keep(owner, 1); len(stored) != 1 {
		t.Errorf("stored %v", stored)
	}
	oo, _ := w.run(other, node("n"))
	if stored, err := w.store.Append(t.Context(), []store.Batch{recorded(owner, 2), recorded(oo, 0), recorded(zombie, 2)}); err != nil || len(stored) != 2 {
		t.Errorf("many: stored %v, %v", stored, err)
	}

	taker, err := w.pool.Begin(t.Context())
	w.ok(err)
	defer func() { _ = taker.Rollback(context.WithoutCancel(t.Context())) }()
	_, err = taker.Exec(t.Context(), "select from towpath.process where no = $1 for update", owner.No)
	w.ok(err)
	_, err = taker.Exec(t.Context(), "update towpath.lease set fence = fence + 1000 where process_no = $1", owner.No)
	w.ok(err)
	late := make(chan map[int64]int64, 1)
	go func() {
		stored, err := w.store.Append(context.WithoutCancel(t.Context()), []store.Batch{recorded(owner, 3)})
		if err != nil {
			t.Error(err)
		}
		late <- stored
	}()
	for len(late) == 0 && !get[bool](w, "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock') from pg_sleep(0.005)") {
	}
	w.ok(taker.Commit(t.Context()))
	if stored := <-late; len(stored) != 0 {
		t.Errorf("taken meanwhile: stored %v", stored)
	}
	rows, err := w.store.Journal(t.Context(), id)
	w.ok(err)
	if len(rows) != 3 || rows[1].Fence != owner.Fence || string(rows[2].Entries) != "entry" || string(rows[1].Open) != `[{"handle": 1}]` {
		t.Errorf("the journal is %v", rows)
	}
	if got := get[int](w, "select last_seq from towpath.process where id = $1", id); got != len(get[[]int64](w, "select array_agg(seq) from towpath.events($1, 0, 100)", id)) {
		t.Errorf("last_seq is %d", got)
	}
}

// Owners, clients and the sweep write to one log at once; its numbers have no gap.
func TestTheLogHasNoGaps(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := node("n")
	id := w.submit("")
	o, _ := w.run(id, n)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for j := range 5 {
				if _, err := w.store.Append(t.Context(), []store.Batch{batch(o, fmt.Sprintf("%d.%d", i, j), "x")}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 5 {
		wg.Go(func() {
			w.exec(`do $$ declare p towpath.process; begin
				select * into p from towpath.process; p := towpath.locked(p.id); perform towpath.note(p.no, 'process.noted', '{}'); end $$`)
		})
		wg.Go(func() {
			if _, err := w.store.Cancel(t.Context(), id, "enough", ttl); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := get[int](w, "select last_seq from towpath.processes"); n != 2+20*5*2+5+1 {
		t.Errorf("last seq %d", n)
	}
	// What one call stored stands together, in its order.
	torn := get[int](w, `select count(*) from towpath.event a join towpath.event b on b.process_no = a.process_no and b.seq = a.seq + 1
		where a.data ->> 'text' like '%.%' and b.data ->> 'text' is distinct from 'x'`)
	if torn != 0 {
		t.Errorf("%d batches are torn", torn)
	}
	w.sound()
}

func TestEventsThatCannotBeStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, other := w.submit(""), w.submit("")
	o, _ := w.run(id, node("n"))
	oo, _ := w.run(other, node("n"))
	for name, data := range map[string]string{
		"not JSON": `{`, "NUL": `{"a": "\u0000"}`, "surrogate": `{"a": "\ud800"}`, "UTF-8": "{\"a\": \"\xff\"}", "array": `[]`, "null": `null`,
	} {
		_, err := w.store.Append(t.Context(), []store.Batch{batch(oo, "fine"), {Owner: o, Types: []string{"text"}, Data: []string{data}}})
		if !store.Rejected(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := w.store.Append(t.Context(), []store.Batch{{Owner: o, Types: []string{"process.completed"}, Data: []string{`{}`}}})
	w.refused(err, store.ErrDenied, "process.")
	if got := len(w.types(id)) + len(w.types(other)); got != 4 {
		t.Errorf("%d events", got)
	}
	w.sound()
}

func TestSecretsAreNotStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("")
	o, _ := w.run(id, node("n"))
	const key = "sk-0123456789abcdefghij"
	secrets := []string{
		`{"text": "my key is ` + key + `, keep it"}`,
		`{"headers": {"Authorization": "Bearer x-` + "very" + `-private"}}`,
		`{"a": [{"password": "very-private"}, {"API_KEY": "very-private"}, {"api-key": {"deep": "very-private"}}]}`,
		`{"pass\u0077ord": "very-private"}`,
		`{"text": "\u0073k-0123456789abcdefghij"}`,
		`{"text": "one line:\nsk-0123456789abcdefghij\tghp_0123456789abcdefghijABCDEF"}`,
		`{"text": "ghp_0123456789abcdefghijABCDEF"}`,
		`{"text": "AKIA0123456789ABCDEF"}`,
		`{"text": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.sig-nature_0"}`,
		`{"text": "a\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nb"}`,
	}
	var b store.Batch
	b.Owner = o
	for _, data := range secrets {
		b.Types, b.Data = append(b.Types, "text"), append(b.Data, data)
	}
	_, err := w.store.Append(t.Context(), []store.Batch{b})
	w.ok(err)
	_, err = w.store.Cancel(t.Context(), id, "leaked "+key, ttl)
	w.ok(err)
	_, err = w.store.Retry(t.Context(), o, "the provider said "+key, 0, false, []byte(`{}`), "", false)
	w.ok(err)
	second := w.submit("")
	o, _ = w.run(second, node("n"))
	end := completed(o)
	end.Outcome = []byte(`{"text": "` + key + `"}`)
	w.ok(w.store.Finish(t.Context(), end))

	for _, secret := range []string{key, "very-private", "ghp_0", "AKIA0", "eyJhbGci", "MIIE"} {
		for _, from := range []string{"towpath.event e", "towpath.process e", "towpath.attempt e", "towpath.lease e", "river_job e"} {
			if n := get[int](w, "select count(*) from "+from+" where e::text like '%' || $1 || '%'", secret); n != 0 {
				t.Errorf("%s has %q", from, secret)
			}
		}
	}
	if got := texts(w, id)[0]; got != "my key is [redacted], keep it" {
		t.Errorf("what stands around a secret: %q", got)
	}
}

func TestOrdinaryTextIsStoredAsItIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("")
	o, _ := w.run(id, node("n"))
	for _, text := range []string{
		"a task-oriented-disk-management plan", "desk-0123456789abcdefghij", "ask sk- and eyJ", "the password is a secret", "\u4f60\u597d \u0001 \\u0041", "",
	} {
		w.say(o, text)
		list := texts(w, id)
		if got := list[len(list)-1]; got != text {
			t.Errorf("%q is stored as %q", text, got)
		}
	}
	raw := json.RawMessage(`{"a":{"b":[1,2.50,null,true,""]},"n":123456789012345678901234567890}`)
	_, err := w.store.Append(t.Context(), []store.Batch{{Owner: o, Types: []string{"raw"}, Data: []string{string(raw)}}})
	w.ok(err)
	if same := get[bool](w, "select data = $1::jsonb from towpath.events($2) where type = 'raw'", raw, id); !same {
		t.Error("an object changed")
	}
}
