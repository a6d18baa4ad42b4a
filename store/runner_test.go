package store_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// feature: C40
func TestANodeKeepsTheTimeItWasFirstSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := node("n")
	_, err := w.store.StartNode(t.Context(), old, "v1", "host", 1, []string{"turns"})
	w.ok(err)
	registered := get[string](w, "select registered_at::text from towpath.nodes")
	const describe = "select towpath.node_describe($1, $2, $3)"
	w.exec(describe, "n", old.Incarnation, `{"zone": "a", "env": {"API_KEY": "very-private"}, "note": "sk-0123456789abcdefghij"}`)
	if row := get[string](w, "select metadata::text from towpath.node"); strings.Contains(row, "very-private") || strings.Contains(row, "sk-0") || !strings.Contains(row, `"zone": "a"`) {
		t.Errorf("metadata %s", row)
	}
	seen := "select seen_at::text from towpath.nodes"
	before := get[string](w, seen)
	w.shift("10 seconds")
	_, err = w.store.Renew(t.Context(), old, ttl)
	w.ok(err)
	if after := get[string](w, seen); after <= before {
		t.Errorf("a heartbeat left seen_at at %s", after)
	}
	next := node("n")
	_, err = w.store.StartNode(t.Context(), next, "v2", "host", 2, []string{"turns"})
	w.ok(err)
	if row := get[string](w, "select concat_ws(' ', version, registered_at::text = $1, incarnation = $2) from towpath.nodes", registered, next.Incarnation); row != "v2 t t" {
		t.Errorf("after a new start: %s", row)
	}
	w.deny("TW409", "no incarnation", describe, "n", old.Incarnation, "{}")
	w.deny("TW409", "no incarnation", describe, "nobody", next.Incarnation, "{}")
	w.deny("TW400", "not a JSON object", describe, "n", next.Incarnation, "[]")
	w.deny("TW413", "64 KiB", describe, "n", next.Incarnation, fmt.Sprintf(`{"a": %q}`, strings.Repeat("x", 70_000)))
}

// feature: C39
func TestRegisteringABackendKeepsItsHealth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec("select towpath.profile_health('p', 'unhealthy', 'the provider says sk-0123456789abcdefghij is no key')")
	w.profile("p", 7)
	row := get[string](w, "select concat_ws(' ', max_attempts, health, health_detail, health_at is not null, manifest, limits) from towpath.profiles")
	if row != "7 unhealthy the provider says [redacted] is no key t {} {}" {
		t.Errorf("profile %s", row)
	}
	w.exec("select towpath.profile_health('p', 'healthy')")
	if row := get[string](w, "select concat_ws(' ', health, health_detail) from towpath.profiles"); row != "healthy" {
		t.Errorf("profile %s", row)
	}
	w.deny("TW404", "unknown profile", "select towpath.profile_health('gpt', 'healthy')")
	w.deny("TW400", "is not unknown, healthy or unhealthy", "select towpath.profile_health('p', 'fine')")
	w.deny("TW404", "known profiles: p", "select towpath.session_put('s', 'gpt')")
}

// feature: C38
func TestARunnerJobIsRecordedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run := w.createRun("s", "")
	const put = "select (towpath.runner_job_put($1, $2, $3)).id"
	var wg sync.WaitGroup
	ids := make([]string, 20)
	for i := range ids {
		wg.Go(func() {
			if err := w.pool.QueryRow(t.Context(), put, run, "k", `{"image": "x", "env": {"password": "very-private"}}`).Scan(&ids[i]); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("two jobs for one key: %s, %s", id, ids[0])
		}
	}
	w.deny("TW40I", ids[0], put, run, "k", `{"image": "y"}`)
	w.deny("TW400", "idempotency_key is missing", put, run, nil, `{}`)
	w.deny("TW400", "not a JSON object", put, run, "k2", `[]`)
	w.deny("TW404", "unknown process", put, "nobody", "k", `{}`)
	for i := range 7 {
		w.exec(put, run, fmt.Sprint("more ", i), `{}`)
	}
	if got := get[int](w, "select count(*) from towpath.runner_jobs($1) j where j.spec::text like '%private%'", run); got != 0 {
		t.Error("a secret is stored")
	}
	if got := get[string](w, "select string_agg(seq::text, ' ') from towpath.runner_jobs($1, 3, 3)", run); got != "4 5 6" {
		t.Errorf("page: %s", got)
	}
	w.deny("TW404", "unknown run", "select towpath.runner_jobs($1)", w.submit("s"))
	w.deny("TW400", "max", "select towpath.runner_jobs($1, 0, 1001)", run)
	// Another run, another key space; one that has ended starts nothing more.
	other := w.createRun("s", "")
	if id := get[string](w, put, other, "k", `{"image": "y"}`); id == ids[0] {
		t.Error("two runs share a job")
	}
	w.exec("select towpath.cancel_run($1)", run)
	w.deny("TW409", "is cancelled", put, run, "new", `{}`)
	if again := get[string](w, put, run, "k", `{"image": "x", "env": {"password": "very-private"}}`); again != ids[0] {
		t.Errorf("a replay: %s", again)
	}
}
