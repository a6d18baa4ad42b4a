package store_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/towpath/towpath/store"
)

// Credentials that come in by any door that is not a prompt are in no table and in no answer.
//
// feature: C24
func TestPlantedSecretsAreNowhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const planted = "sk-planted0123456789abcdef"
	object := fmt.Sprintf(`{"password": "hunter-%s", "note": "the key is %s"}`, planted, planted)
	w.exec("select towpath.session_put('s', 'p', $1)", raw(fmt.Sprintf(`{"title": "key %s", "metadata": %s}`, planted, object)))
	w.named("a", hearing, with("session:s"), func(o *store.StartOptions) { o.EventTypes["line"] = raw("{}") })
	_, err := w.store.AppendEvent(t.Context(), "a", "line", raw(object), "k")
	w.ok(err)
	_, err = w.store.Share(t.Context(), "host:h", "a", raw(`{"label": "mine"}`))
	w.ok(err)
	w.signal("a", "stop", "1", object)
	_, err = w.store.RequestAbandon(t.Context(), "a", "me", "because of "+planted)
	w.ok(err)
	o := w.claimed("a", node("n"))
	w.ok(w.store.Complete(t.Context(), o, store.Completion{Status: "failed", Kind: "auth", Outcome: raw(object), Key: "k2"}))
	w.named("b")
	_, err = w.store.Cancel(t.Context(), "b", "stop "+planted, 0)
	w.ok(err)
	run := w.createRun("s", "")
	w.exec("select towpath.runner_job_put($1, 'k', $2)", run, raw(object))
	w.exec("select towpath.cancel_run($1, $2)", run, "stop "+planted)
	w.task("t", func(n *store.NewTask) {
		n.Options.Title, n.Options.Metadata, n.Options.Spec, n.Options.References = "key "+planted, raw(object), raw(object), raw("["+object+"]")
	})
	w.ok(w.store.AttemptTask(t.Context(), "t", "running", raw(fmt.Sprintf(`{"id": "1", "password": "%s"}`, planted)), ""))
	_, err = w.store.CancelTask(t.Context(), "t", "stop "+planted)
	w.ok(err)
	r := recorded("r")
	r.Env, r.Metadata = map[string]string{"DEEPSEEK_API_KEY": planted, "GITHUB_TOKEN": planted, "LINE": "x " + planted}, raw(object)
	w.record(r)
	w.start(node("n2"), "v", "h", 1, []string{})
	w.exec("select towpath.node_describe('n2', incarnation, $1) from towpath.nodes where id = 'n2'", raw(object))
	w.exec("select towpath.profile_health('p', 'unhealthy', $1)", "key "+planted)

	rows, err := w.pool.Query(t.Context(), "select c.oid::regclass::text from pg_class c where c.relnamespace in ('towpath'::regnamespace, 'public'::regnamespace) and c.relkind = 'r'")
	w.ok(err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	w.ok(err)
	var found []string
	for _, table := range tables {
		if n := get[int](w, "select count(*) from "+table+" x where x::text like '%planted0123%'"); n > 0 {
			found = append(found, fmt.Sprintf("%s (%d rows)", table, n))
		}
	}
	slices.Sort(found)
	if len(found) > 0 {
		t.Errorf("found in %v", found)
	}
}
