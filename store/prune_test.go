package store_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/store"
)

// pruned prunes by retention.
func (w *world) pruned(p store.Prune) store.Pruned {
	w.Helper()
	counts, err := w.store.Prune(w.Context(), p)
	w.ok(err)
	return counts
}

// past submits a turn, runs it to its end, and lets days go by.
func (w *world) past(session, days string) string {
	w.Helper()
	id := w.submit(session)
	o, _ := w.run(id, node("n"))
	w.say(o, "a", "b")
	w.complete(o)
	w.shift(days)
	return id
}

// feature: D107
func TestPruneTakesWhatHasEndedWithAllThatDepends(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.past("s", "31 days")
	live := w.submit("s")
	fresh := w.past("other", "1 day")
	foretold := w.pruned(store.Prune{DryRun: true})
	want := store.Pruned{"processes": 1, "events": 5, "attempts": 1, "inputs": 1, "river_jobs": 1}
	if !maps.Equal(foretold, want) {
		t.Errorf("the dry run says %v, want %v", foretold, want)
	}
	w.status(old, "completed") // nothing has gone yet
	if counts := w.pruned(store.Prune{}); !maps.Equal(counts, want) {
		t.Errorf("gone are %v, want %v", counts, want)
	}
	w.status(live, "queued")
	w.status(fresh, "completed")
	if counts := w.pruned(store.Prune{}); len(counts) != 0 {
		t.Errorf("a second prune found %v", counts)
	}
	w.sound()
}

// Whoever asks for something that was pruned hears that it was there.
//
// feature: D35 D108
func TestWhatWasPrunedIsToldFromWhatNeverWas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.past("s", "31 days")
	w.pruned(store.Prune{})
	_, err := w.store.Await(t.Context(), id)
	w.refused(err, store.ErrPruned, "no longer retained")
	for _, call := range []string{
		"process($1)", "events($1)", "recent($1)", "await_output($1)", "journal($1)", "receipts($1)", "cancel($1)", "interrupt($1)",
		"steer($1, '{}')", "answer($1, '{}')", "resume($1)", "resolve($1, 'fail')", "append_event($1, 'x')", "request_abandon($1, 'me')",
		"complete_by('external_owner', $1, 'completed', '{}', 'k')", "claim_process($1, 'n', gen_random_uuid(), '1 minute')",
		"create_command($1, 'turn', '{}')", "finish_run($1, 'completed')", "cancel_run($1)", "runner_jobs($1)", "runner_job_put($1, 'k', '{}')",
		"start('external', 'externally_owned', '{}', jsonb_build_object('parent', $1::text))",
		"start('external', 'externally_owned', '{}', jsonb_build_object('id', $1::text))",
		"submit('p', '{}', 's', null, jsonb_build_object('id', $1::text))",
	} {
		w.deny("TW410", id, "select * from towpath."+call, id)
	}
	for _, call := range []string{"process($1)", "events($1)", "journal($1)", "cancel($1)"} {
		w.deny("TW404", "unknown", "select * from towpath."+call, "never")
	}
	// A job of it that River still has does nothing.
	c, err := w.store.Claim(t.Context(), node("n"), 1, raw(fmt.Sprintf(`{"process_id": %q, "generation": 1}`, id)), ttl)
	w.ok(err)
	if c.Action != store.ActionSkip {
		t.Errorf("claim says %s", c.Action)
	}
	w.sound()
}

// A request that comes again long after its process was pruned is not executed a second time, for as long as the tombstone
// is kept. Then its id may be used again, with a fence above all that it had.
//
// feature: D108 D56
func TestAKeyOutlivesItsProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	submit := func() (string, error) {
		return w.store.Submit(t.Context(), store.Submission{Profile: "p", Input: raw("{}"), Session: "s", Key: "once", Options: raw(`{"id": "p1"}`)})
	}
	id, err := submit()
	w.ok(err)
	first, _ := w.run(id, node("n"))
	w.complete(first)
	w.shift("31 days")
	if counts := w.pruned(store.Prune{}); counts["processes"] != 1 {
		t.Fatalf("gone are %v", counts)
	}
	_, err = submit()
	w.refused(err, store.ErrPruned, "p1")
	w.deny("TW410", "idempotency_key was used", "select towpath.submit('p', '{}', null, 'once')")
	w.shift("31 days")
	if counts := w.pruned(store.Prune{}); counts["tombstones"] != 1 {
		t.Errorf("gone are %v", counts)
	}
	id, err = submit()
	w.ok(err)
	if second, _ := w.run(id, node("n")); second.Fence <= first.Fence || second.No <= first.No {
		t.Errorf("a new life of the id has %+v after %+v", second, first)
	}
	w.sound()
}

// feature: D107
func TestWhatPruneRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.past("s", "31 days")
	for name, c := range map[string]struct{ code, says, args string }{
		"a cutoff in the future":    {"TW400", "in the future", "towpath.now() + '1 second'"},
		"what lives":                {"TW400", "filter.status", `filter => '{"status": "running"}'`},
		"an unknown filter":         {"TW400", "nodes", `filter => '{"nodes": "n"}'`},
		"a filter that is no text":  {"TW400", "filter.tenant", `filter => '{"tenant": 1}'`},
		"a watermark of no feed":    {"TW400", "watermark", "watermark => 'x'"},
		"a watermark of another":    {"TW40R", "begun anew", "watermark => '7:1:1:'"},
		"a place of something else": {"TW400", "after", "after => 'x'"},
		"a batch of nothing":        {"TW400", "max", "max => 0"},
		"an endless batch":          {"TW400", "max", "max => 10001"},
	} {
		t.Run(name, func(t *testing.T) {
			(&world{TB: t, pool: w.pool}).deny(c.code, c.says, "select towpath.prune("+c.args+")")
		})
	}
	w.status(id, "completed")
}

// feature: C41
func TestRetentionIsByTenantAndProfile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.profile("q", 3)
	put := func(policy, tenant, profile string) {
		w.Helper()
		w.exec("select towpath.retention_put($1, $2, $3)", policy, tenant, profile)
	}
	ids := map[string]string{}
	for _, tenant := range []string{"a", "b"} {
		for _, profile := range []string{"p", "q"} {
			id, err := w.store.Submit(t.Context(), store.Submission{Profile: profile, Input: raw("{}"), Options: fmt.Appendf(nil, `{"tenant": %q}`, tenant)})
			w.ok(err)
			_, err = w.store.Cancel(t.Context(), id, "enough", 0)
			w.ok(err)
			ids[tenant+profile] = id
		}
	}
	gone := func(want ...string) {
		t.Helper()
		w.pruned(store.Prune{})
		var got []string
		for name, id := range ids {
			if _, err := w.store.Process(t.Context(), id); errors.Is(err, store.ErrPruned) || errors.Is(err, store.ErrNotFound) {
				got = append(got, name)
			}
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("gone are %v, want %v", got, want)
		}
	}
	put(`{"processes": "forever"}`, "", "")
	put(`{"processes": "10 days"}`, "", "q")
	put(`{"processes": "20 days"}`, "a", "")
	put(`{"processes": "5 days"}`, "a", "q")
	w.shift("6 days")
	gone("aq")
	w.shift("5 days")
	gone("aq", "bq")
	w.shift("10 days")
	gone("ap", "aq", "bq")
	w.shift("90000 days")
	gone("ap", "aq", "bq")
	put(`{"processes": null}`, "a", "") // a row that says nothing is none
	if n := get[int](w, "select count(*) from towpath.retentions"); n != 3 {
		t.Errorf("%d policies", n)
	}
	const call = "select towpath.retention_put($1::jsonb)"
	for policy, says := range map[string]string{
		`{"processes": "soon"}`: "is not a time", `{"processes": "1 second"}`: "below 1 minute", `{"usage": "1 hour"}`: "below 1 day",
		`{"tombstones": "-1 day"}`: "below 0", `{"events": "1 day"}`: "events", `{"processes": 30}`: "policy.processes",
	} {
		w.deny("TW400", says, call, policy)
	}
}

// feature: D107
func TestPruneBelowAWatermark(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := w.past("s", "20 days"), w.past("s", "31 days")
	w.passed()
	changes, _ := w.follow("", 100)
	var mark string
	for _, c := range changes {
		if c.ID == first {
			mark = c.Place
		}
	}
	w.pruned(store.Prune{Watermark: mark})
	_, err := w.store.Process(t.Context(), first)
	w.refused(err, store.ErrPruned, first)
	w.status(second, "completed")

	// The feed tells who went, at the place of the prune.
	w.passed()
	changes, _ = w.follow(mark, 1)
	last := changes[len(changes)-1]
	if last.Kind != "pruned process" || last.ID != first || last.Status != "completed" || *last.Session != "s" {
		t.Errorf("the feed ends with %+v", last)
	}
	for _, c := range changes[:len(changes)-1] {
		if c.ID == first {
			t.Errorf("the feed still has %+v", c)
		}
	}
	// So it does of sessions; no row comes twice, and none once its tombstone is past retention.
	w.shift("91 days")
	w.pruned(store.Prune{})
	w.passed()
	all, _ := w.follow("", 1)
	seen := map[string]int{}
	for _, c := range all {
		seen[c.Kind+" "+c.ID]++
	}
	if want := map[string]int{"pruned process " + second: 1, "pruned session s": 1}; !maps.Equal(seen, want) {
		t.Errorf("the feed tells %v, want %v", seen, want)
	}
}

// feature: D107
func TestAReaderAndAPruneDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.past("s", "31 days")
	reader := w.begin()
	if _, err := reader.Exec(t.Context(), "set transaction isolation level repeatable read"); err != nil {
		t.Fatal(err)
	}
	count := func() (n int) {
		t.Helper()
		if err := reader.QueryRow(t.Context(), "select count(*) from towpath.events($1)", id).Scan(&n); err != nil {
			t.Error(err)
		}
		return n
	}
	before := count()
	w.exec("set lock_timeout = '1 s'")
	if counts := w.pruned(store.Prune{}); counts["processes"] != 1 {
		t.Errorf("a prune beside a reader took %v", counts)
	}
	if after := count(); after != before || before != 5 {
		t.Errorf("the reader saw %d events, then %d", before, after)
	}
	// Whoever holds a row at work keeps it for now.
	held := w.past("s", "31 days")
	tx := w.begin()
	if _, err := tx.Exec(t.Context(), "select * from towpath.locked($1)", held); err != nil {
		t.Fatal(err)
	}
	if counts := w.pruned(store.Prune{}); counts["processes"] != 0 {
		t.Errorf("a prune took %v from under a lock", counts)
	}
	w.ok(tx.Rollback(context.Background()))
	if counts := w.pruned(store.Prune{}); counts["processes"] != 1 {
		t.Errorf("the next prune took %v", counts)
	}
	w.sound()
}

// A child that is being born keeps its parent, also when the prune does not see it yet.
func TestAPruneBesideABirth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	parent := w.launch(operation())
	_, err := w.store.Cancel(t.Context(), parent, "enough", 0)
	w.ok(err)
	w.shift("31 days")
	tx := w.begin()
	if _, err := tx.Exec(t.Context(), "select towpath.start('external', 'externally_owned', '{}', $1)", raw(fmt.Sprintf(`{"id": "child", "parent": %q}`, parent))); err != nil {
		t.Fatal(err)
	}
	if counts := w.pruned(store.Prune{}); counts["processes"] != 0 {
		t.Errorf("gone are %v", counts)
	}
	w.ok(tx.Commit(t.Context()))
	if counts := w.pruned(store.Prune{}); counts["processes"] != 0 {
		t.Errorf("gone are %v", counts)
	}
	w.exec("select towpath.complete_by('external_owner', 'child', 'completed', '{}', 'k')")
	w.shift("31 days")
	if counts := w.pruned(store.Prune{}); counts["processes"] != 2 {
		t.Errorf("gone are %v", counts)
	}
	w.sound()
}

// A turn that is submitted while its session is being pruned opens the session again.
func TestAPruneBesideASubmit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 20 {
		name := fmt.Sprintf("s%d", i)
		w.session(name)
		w.shift("91 days")
		var wg sync.WaitGroup
		wg.Go(func() { w.pruned(store.Prune{}) })
		wg.Go(func() { w.submit(name) })
		wg.Wait()
		w.sound()
	}
	if n := get[int](w, "select count(*) from towpath.process join towpath.session s on s.id = session_id"); n != 20 {
		t.Errorf("%d turns of 20", n)
	}
}

// An env goes when nobody names it, and whoever names it just then gets it.
func TestAPruneBesideAnEnv(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 20 {
		id := w.launch(operation())
		_, err := w.store.Cancel(t.Context(), id, "enough", 0)
		w.ok(err)
		w.shift("31 days")
		w.pruned(store.Prune{Cutoff: new(get[time.Time](w, "select towpath.now()"))})
		if n := get[int](w, "select count(*) from towpath.env"); n != 1 {
			t.Fatalf("%d envs", n)
		}
		var wg sync.WaitGroup
		wg.Go(func() { w.pruned(store.Prune{}) })
		wg.Go(func() { id = w.launch(operation()) })
		wg.Wait()
		w.sound()
		if get[bool](w, "select e.id is null from towpath.process p left join towpath.env e on e.id = p.env_id where p.id = $1", id) {
			t.Fatal("its env is gone")
		}
		_, err = w.store.Cancel(t.Context(), id, "enough", 0)
		w.ok(err)
		w.shift("31 days")
		if counts := w.pruned(store.Prune{}); counts["envs"] != 1 {
			t.Fatalf("gone are %v", counts)
		}
	}
}

// feature: D107
func TestTwoPrunesAtOnceShareTheWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec("select towpath.submit('p', '{}', 's' || n % 7) from generate_series(1, 200) n; select towpath.cancel(id) from towpath.process order by no desc")
	w.shift("31 days")
	counts := make([]store.Pruned, 4)
	var wg sync.WaitGroup
	for i := range counts {
		wg.Go(func() { counts[i] = w.pruned(store.Prune{Batch: 5}) })
	}
	wg.Wait()
	rest := w.pruned(store.Prune{}) // what one had locked as another passed by, if it was not the one's
	total := rest["processes"]
	for _, c := range counts {
		total += c["processes"]
	}
	if n := get[int](w, "select count(*) from towpath.process"); total != 200 || n != 0 {
		t.Errorf("%v and %v took %d, %d are left", counts, rest, total, n)
	}
	w.sound()
}

// A clock that is set back makes things younger, never the reverse.
func TestAClockThatIsSetBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.past("s", "31 days")
	cutoff := get[time.Time](w, "select towpath.now()")
	w.shift("-10 days")
	if counts := w.pruned(store.Prune{}); len(counts) != 0 {
		t.Errorf("gone are %v", counts)
	}
	_, err := w.store.Prune(t.Context(), store.Prune{Cutoff: &cutoff})
	w.refused(err, store.ErrInvalid, "in the future")
	w.shift("-60 days") // before its end
	if counts := w.pruned(store.Prune{}); len(counts) != 0 {
		t.Errorf("gone are %v", counts)
	}
	w.status(id, "completed")
}

// The server ends the connection of a prune at each of its steps: within a batch, and between any two. What a batch has not
// committed is all there, and the next run completes the work.
//
// feature: C41
func TestAPruneThatIsKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`select towpath.start('external', 'externally_owned', '{}', '{"id": "keeps"}');
		select towpath.submit('p', '{}', 's' || n % 3) from generate_series(1, 8) n; select towpath.create_run('p', 's1', null, '{"id": "r"}');
		select towpath.create_command('r', 'turn', '{}') from generate_series(1, 3); select towpath.cancel(id) from towpath.process where class = 'turn' order by no desc;
		select towpath.cancel_run('r');
		select towpath.start('operation', 'rerunnable', '{}', '{"env": {"x": 1}, "id": "o"}'); select towpath.cancel('o')`)
	w.shift("100 days")
	all := func() string {
		return get[string](w, "select md5(string_agg(t, '|' order by t)) from (select p::text t from towpath.process p union all select e::text from towpath.event e union all select i::text from towpath.input i union all select s::text from towpath.session s union all select g::text from towpath.tombstone g) x")
	}
	for after, steps := "", 0; ; steps++ {
		conn, err := pgx.ConnectConfig(t.Context(), w.pool.Config().ConnConfig)
		w.ok(err)
		before := all()
		tx, err := conn.Begin(t.Context())
		w.ok(err)
		var next *string
		const batch = "select towpath.prune(after => $1, max => 1) ->> 'next'"
		w.ok(tx.QueryRow(t.Context(), batch, after).Scan(&next))
		w.exec("select pg_terminate_backend($1, 5000)", int32(conn.PgConn().PID()))
		if err := tx.Commit(t.Context()); err == nil {
			t.Fatal("a connection that was ended committed")
		}
		_ = conn.Close(t.Context())
		if all() != before {
			t.Fatalf("step %d: a batch that was killed left something", steps)
		}
		w.sound()
		w.ok(w.pool.QueryRow(t.Context(), batch, after).Scan(&next)) // this one lives, and dies before the next
		w.sound()
		if next == nil {
			if steps < 10 {
				t.Errorf("only %d steps", steps)
			}
			break
		}
		after = *next
	}
	if got := get[string](w, "select string_agg(id, ' ') from towpath.process"); got != "keeps" {
		t.Errorf("left are %s", got)
	}
	if n := get[int](w, "select (select count(*) from towpath.event) + (select count(*) from towpath.input) + (select count(*) from towpath.session) + (select count(*) from towpath.env)"); n != 1 {
		t.Errorf("%d rows are left", n)
	}
}

// A batch is bounded by what hangs on its processes, too: one of many events goes alone, and in one piece.
func TestABatchIsNotHeavy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`select towpath.cancel(towpath.submit('p', '{}', 's' || n)) from generate_series(1, 5) n;
		begin; set local session_replication_role = replica; update towpath.process set last_seq = 30000 where session_id in ('s2', 's3'); commit`)
	w.shift("100 days")
	var took []int
	for after := new(""); after != nil; {
		var n *int
		w.ok(w.pool.QueryRow(t.Context(), "select (r ->> 'processes')::int, r ->> 'next' from towpath.prune(after => $1) r", *after).Scan(&n, &after))
		if n != nil {
			took = append(took, *n)
		}
	}
	if !slices.Equal(took, []int{2, 1, 2}) {
		t.Errorf("batches of %v processes", took)
	}
}

// What was spent is still known when its rows are gone.
func TestUsageIsSummedBeforeItGoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const put = "select towpath.usage_put($1, $2, $3, $4, $5, $6, $7, $8)"
	const sums = `select string_agg(concat_ws(' ', day - (select min(day) from towpath.usage_by_day), tenant, profile, model, responses, unknown, input_tokens, cached_tokens, output_tokens, reasoning_tokens), ', ' order by day, model)
		from (select day, tenant, profile, model, sum(responses) responses, sum(unknown) as unknown, sum(input_tokens) input_tokens, sum(cached_tokens) cached_tokens,
			sum(output_tokens) output_tokens, sum(reasoning_tokens) reasoning_tokens from towpath.usage_by_day group by 1, 2, 3, 4) x`
	for range 3 {
		o, _ := w.run(w.submit("s"), node("n"))
		w.exec(put, o.No, o.Fence, "r1", "m", 100, 40, 7, nil)
		w.exec(put, o.No, o.Fence, "r2", "m", nil, nil, 3, nil)
		w.exec(put, o.No, o.Fence, "r3", nil, 10, nil, 1, 2)
		w.complete(o)
		w.shift("2 days")
	}
	before := get[string](w, sums)
	if !strings.HasPrefix(before, "0 default p m 2 1 100 40 10, 0 default p 1 0 10 1 2, 2 ") {
		t.Errorf("usage: %s", before)
	}
	w.exec(`select towpath.retention_put('{"usage": "3 days"}')`)
	if counts := w.pruned(store.Prune{}); counts["usage_rows"] != 6 {
		t.Errorf("gone are %v", counts)
	}
	if after := get[string](w, sums); after != before {
		t.Errorf("usage was %s and is %s", before, after)
	}
	// What a day has left joins the sum that it has.
	o, _ := w.run(w.submit("s"), node("n"))
	w.exec(put, o.No, o.Fence, "r4", "m", 1, 1, 1, 1)
	w.complete(o)
	before = get[string](w, sums)
	for _, n := range []string{"r1", "r2"} {
		w.exec("update towpath.usage set at = at - interval '50 days' where response_id = $1 and at > towpath.now() - interval '3 days'", n)
		w.pruned(store.Prune{})
	}
	w.shift("30 days")
	w.pruned(store.Prune{})
	if n := get[int](w, "select count(*) from towpath.usage"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	if total := get[string](w, "select concat_ws(' ', sum(responses), sum(unknown), sum(input_tokens), sum(output_tokens)) from towpath.usage_by_day"); total != "10 3 331 34" {
		t.Errorf("in all %s; before: %s", total, before)
	}
}

// The batches of a prune may be as small as one likes; a reader through a pooler may ask too.
func TestPruneThroughAPooler(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.past("s", "31 days")
	cfg := w.pool.Config().Copy()
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	w.ok(err)
	t.Cleanup(pool.Close)
	counts, err := store.New(pool).Prune(t.Context(), store.Prune{Batch: 1, Filter: raw(`{"session": "s"}`)})
	if err != nil || counts["processes"] != 1 {
		t.Errorf("%v, %v", counts, err)
	}
}
