package store_test

import (
	"context"
	"strings"
	"testing"
	"time"
)

// Each planted fault is found, with what to do about it; none of them is found before.
func TestPlantedFaultsAreFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.store.StartNode(t.Context(), node("n"), "v1", "host", 1, []string{"turns", "lifecycle", "gc"})
	w.ok(err)
	open, err := w.pool.Begin(t.Context()) // somebody forgot to commit
	w.ok(err)
	defer open.Rollback(context.Background())
	_, err = open.Exec(t.Context(), "select pg_current_xact_id()")
	w.ok(err)

	look := func(patience time.Duration) string {
		t.Helper()
		found, err := w.store.Findings(t.Context(), patience)
		w.ok(err)
		var b strings.Builder
		for _, f := range found {
			if f.Fix == "" || f.Level != "error" && f.Level != "warning" {
				t.Errorf("finding without a fix or level: %+v", f)
			}
			// The throwaway server of the tests is not durable, which is found too.
			if f.Area != "settings" || strings.Contains(f.Text, "statement_timeout") {
				b.WriteString(f.Area + ": " + f.Text + " → " + f.Fix + "\n")
			}
		}
		return b.String()
	}
	if found := look(time.Hour); found != "" {
		t.Fatalf("a healthy deployment: %s", found)
	}

	orphan, doubtful, dead := w.submit("orphan"), w.submit("doubtful"), w.submit("dead")
	w.run(doubtful, node("n"))
	w.run(dead, node("n"))
	w.profile("off", 1)
	for _, fault := range []struct{ name, plant, found string }{
		{"a trigger is disabled", "alter table river_job disable trigger towpath_wake", "guard: trigger towpath_wake of public.river_job is missing or disabled"},
		{"a job's kind may change", "alter table river_job disable trigger towpath_kind", "guard: trigger towpath_kind of public.river_job is missing or disabled"},
		{"jobs are not checked", "alter table river_job disable trigger towpath_route", "guard: trigger towpath_route of public.river_job is missing or disabled"},
		{"a grant is revoked", "revoke execute on function towpath.submit from towpath_client", "roles: role towpath_client may not call towpath.submit → grant execute on function towpath.submit(text,jsonb,text,text,jsonb) to towpath_client"},
		{"a queue is paused", "insert into river_queue (name, created_at, updated_at, paused_at) values ('turns', now(), now(), now())", "queue: queue turns is paused since"},
		{"a job is gone", "delete from river_job where args->>'process_id' = '" + orphan + "'; update towpath.process set updated_at = updated_at - interval '1 day' where id = '" + orphan + "'", "turns: process " + orphan + " is queued, but its River job is gone"},
		{"a call is in doubt", "insert into towpath.journal (process_no, first_n, count, entries, open, fence, at) select no, 0, 1, '', '[{\"handle\": 1}]', -1, now() from towpath.process where id = '" + doubtful + "'", "turns: turn " + doubtful + " has an outside call in doubt"},
		{"nobody takes over", "update towpath.lease set expires_at = expires_at - interval '1 day' where process_no = (select no from towpath.process where id = '" + dead + "')", "turns: the lease of process " + dead + " lapsed"},
		{"a session is damaged", "update towpath.session set quarantine = 'digest differs' where id = 'dead'", "sessions: session dead is quarantined: digest differs"},
		{"a profile is unhealthy", "select towpath.profile_health('p', 'unhealthy', 'no key')", "profiles: profile p is unhealthy: no key"},
		{"a profile is off", "select towpath.submit('off', '{}'); update towpath.profile set enabled = false where name = 'off'", "profiles: profile off is disabled, and 1 turns of it wait"},
		{"a queue is stuck", "update river_job set scheduled_at = now() - interval '1 day' where state = 'available'", "queue: the oldest due job of queue turns has waited for"},
		{"nobody works a queue", "update towpath.node set queues = '{turns,gc}'", "nodes: no node works queue lifecycle"},
	} {
		if found := look(time.Hour); strings.Contains(found, fault.found) {
			t.Fatalf("%s is found before it is planted: %s", fault.name, found)
		}
		for _, statement := range strings.Split(fault.plant, "; ") {
			w.exec(statement)
		}
		if found := look(time.Hour); !strings.Contains(found, fault.found) {
			t.Errorf("%s: found only %s", fault.name, found)
		}
	}
	if found := look(0); !strings.Contains(found, "vacuum and the change feed wait for it → end it: select pg_terminate_backend(") {
		t.Errorf("a transaction that stays open: found only %s", found)
	}
	// One statement to the server, so that the same connection counts and tells the dead rows.
	w.exec(`alter table river_job set (autovacuum_enabled = off);
		insert into river_job (kind, args, state, finalized_at) select 'sweep', '{}', 'completed', now() from generate_series(1, 10100);
		delete from river_job where kind = 'sweep'; select pg_stat_force_next_flush()`)
	if found := look(time.Hour); !strings.Contains(found, "rows of public.river_job are dead → vacuum public.river_job") {
		t.Errorf("a bloated table: found only %s", found)
	}
	w.shift("1 second")
	if found := look(time.Hour); !strings.Contains(found, "clock: towpath.now() is shifted by 00:00:01") {
		t.Errorf("a shifted clock: found only %s", found)
	}
}

// The numbers for a monitor are those of the rows.
func TestGaugesCountTheDeployment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.store.StartNode(t.Context(), node("n"), "v1", "host", 1, []string{"turns"})
	w.ok(err)
	w.submit("a")
	w.submit("a")
	w.run(w.submit("b"), node("n"))
	w.exec("update towpath.lease set expires_at = expires_at - interval '1 day'")
	w.exec("update towpath.session set quarantine = 'bad' where id = 'a'")
	w.exec("update river_job set scheduled_at = now() - interval '1 hour' where state = 'available'")
	gauges, err := w.store.Gauges(t.Context())
	w.ok(err)
	got := map[string]float64{}
	for _, g := range gauges {
		got[g.Name+" "+g.Labels["class"]+g.Labels["queue"]+" "+g.Labels["status"]+g.Labels["state"]] = g.Value
	}
	for name, want := range map[string]float64{
		"processes turn queued": 2, "processes turn running": 1, "jobs turns available": 1, "jobs turns running": 1,
		"nodes  ": 1, "lapsed_leases  ": 1, "in_doubt  ": 0, "quarantined_sessions  ": 1,
		"oldest_job_seconds lifecycle ": 0,
	} {
		if value, there := got[name]; !there || value != want {
			t.Errorf("%s is %v, want %v", name, value, want)
		}
	}
	if age := got["oldest_job_seconds turns "]; age < 3600 || age > 3700 {
		t.Errorf("the oldest job is %v seconds old", age)
	}
}
