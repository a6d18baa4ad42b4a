package store_test

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/towpath/towpath/store"
)

// makers make a row in each table that the story of TestEveryTableIsReclaimed leaves empty. A new table needs one here, if
// the story does not fill it, and the words "Reclaim: RULE" in its comment. What the rows hang on must end by itself, by
// the loop that ends everything, or by end.
var makers = []struct{ table, make, end string }{
	{table: "clock", make: "insert into towpath.clock (shift) values ('0')"},
	{table: "env", make: `select towpath.start('operation', 'rerunnable', '{}', '{"env": {"x": 1}}')`},
	{table: "share", make: `select towpath.start('external', 'externally_owned', '{}', '{"id": "shared", "share": ["session:s"], "event_types": {"line": {"type": "object"}}}')`,
		end: `select towpath.complete_by('external_owner', 'shared', 'completed', '{}', 'k')`},
	{table: "wake_target", make: `select towpath.start('external', 'externally_owned', '{}', '{"id": "wakes", "wake": "s"}')`,
		end: `select towpath.complete_by('external_owner', 'wakes', 'completed', '{}', 'k')`},
	{table: "completion", make: `select towpath.start('external', 'externally_owned', '{}', '{"id": "woke", "wake": "s"}'),
		towpath.complete_by('external_owner', 'woke', 'completed', '{}', 'k')`},
	{table: "signal", make: `select towpath.start('external', 'externally_owned', '{}', '{"id": "hears", "event_types": {"signal.go": {}}}'), towpath.signal('hears', 'go', '1')`,
		end: `select towpath.complete_by('external_owner', 'hears', 'completed', '{}', 'k')`},
	{table: "task", make: `select towpath.task_create('q', '{}', null, '{"id": "t"}')`, end: `select towpath.task_cancel('t')`},
	{table: "task_attempt", make: `select towpath.task_attempt('t', 'running', '{"id": "a"}')`},
	{table: "login_flow", make: `select towpath.login_admit('device', sha256('x'), 't', 'p', null, '\x01' || sha256('y'))`},
	{table: "login", make: `select towpath.login_start('p')`, end: `select towpath.login_cancel('p')`},
	{table: "credential", make: `select towpath.credential_put('t', 'p', '\x01' || sha256('y'), null)`},
	{table: "runtime_record", make: `select towpath.runtime_set('{"id": "r", "client_id": "c", "pid": null, "status": "running", "cwd": "/", "command": "x", "args": [], "started_at": 1}')`,
		end: `select towpath.runtime_stop('r')`},
	{table: "runner_job", make: `select towpath.create_run('p', 'of runs', null, '{"id": "r"}'), towpath.runner_job_put('r', 'k', '{}')`},
	{table: "gate", make: `select towpath.gate_put('p', '{"capacity": 900}')`},
	{table: "cursor", make: `select towpath.mark_read('me', 's')`},
	{table: "input_content", make: `select towpath.submit('p', jsonb_build_object('text', repeat('x', 70000)), 'big')`},
	{table: "usage_day", make: `insert into towpath.usage_day (day, tenant, project, profile, model, responses, unknown) values ('2026-01-01', 't', 'j', 'p', 'm', 1, 0)`},
	{table: "child", make: `select towpath.daemon_claim(towpath.daemon_start('ollama'), 1, null, 'n', gen_random_uuid(), '1 minute', 'm', 'b')`,
		end: `select towpath.daemon_stop('ollama'), towpath.daemon_exit(l.process_no, l.fence, 'end') from towpath.child c join towpath.lease l using (process_no)`},
	{table: "storage", make: `select towpath.session_put('filed', 'p'), towpath.storage_put('filed', 'dir', 'r', true, 'n')`},
	{table: "plugin", make: `select towpath.plugin_put('q', encode(sha256(b), 'hex'), b, '{}', '{}', 3, '1 minute', 'me') from (values ('12345678'::bytea)) v(b)`},
	{table: "permit", make: `select towpath.permit('q', 'x')`},
	{table: "plugin_log", make: `select towpath.plugin_note('q', 'n', '{info}', '{here}')`},
	{table: "tombstone", make: `insert into towpath.tombstone (kind, id, no, status, tenant, project, pruned_at) values ('process', 'long gone', 0, 'completed', 't', 'j', towpath.now())`},
}

// operators are the rows of what is an operator's to delete that this test deletes.
var operators = map[string]string{"profile": "name = 'q'", "retention": "tenant <> ''"}

// Every table has a rule in its comment, and the rule works: with all that lives ended and the time passed, nothing is left
// but what is kept for ever or is an operator's to delete.
//
// feature: D109
func TestEveryTableIsReclaimed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rows, err := w.pool.Query(t.Context(), `select c.relname::text, coalesce(obj_description(c.oid, 'pg_class'), '') from pg_class c
		where c.relnamespace = 'towpath'::regnamespace and c.relkind = 'r' order by 1`)
	w.ok(err)
	type table struct{ Name, Comment string }
	tables, err := pgx.CollectRows(rows, pgx.RowToStructByPos[table])
	w.ok(err)
	rule := regexp.MustCompile(`Reclaim: ([a-z][^.]*)`)
	rules := map[string]string{}
	for _, t := range tables {
		if m := rule.FindStringSubmatch(t.Comment); m == nil {
			w.Errorf("the comment of table %s does not say how it is reclaimed: end it with \"Reclaim: RULE.\"", t.Name)
		} else {
			rules[t.Name] = m[1]
		}
	}

	// A turn with everything that one can have.
	w.start(node("n"), "v", "host", 1, []string{"turns"})
	id := w.submit("s")
	o, _ := w.run(id, node("n"))
	w.say(o, "a")
	w.exec("select towpath.append($1, $2, '{}', '{}', '{}', '{}', $2, '{0}', '{1}', '{x}', '{[]}')", []int64{o.No}, []int64{o.Fence})
	w.exec("select towpath.usage_put($1, $2, 'r1', 'm', 1, 1, 1, 1)", o.No, o.Fence)
	w.exec("select towpath.atomic_apply($1, $2, 'checkpoint', 1, (select array_agg(id order by seq) from towpath.input where process_no = $1 and phase = 'staged'), 0, '{k}', '{v}')", o.No, o.Fence)
	for _, m := range makers {
		w.exec(m.make)
	}
	count := func(table string) int { return get[int](w, "select count(*) from towpath."+table) }
	for _, table := range tables {
		if count(table.Name) == 0 {
			t.Errorf("table %s has no row: let a maker make one", table.Name)
		}
	}

	for _, m := range makers {
		if m.end != "" {
			w.exec(m.end)
		}
	}
	w.complete(o)
	w.exec("select towpath.cancel(id) from towpath.process where finalized_at is null order by no desc")
	w.sound()
	for _, table := range tables {
		if strings.HasPrefix(rules[table.Name], "an operator's") {
			w.exec("delete from towpath." + table.Name + " where " + cmp.Or(operators[table.Name], "true"))
		}
	}
	for range 3 { // journal and nodes, processes and sessions, tombstones
		w.shift("500 days")
		w.sweep()
		w.exec("select towpath.storage_gone(array_agg(d.session), array_agg(null::text)) from towpath.storage_due('{r}') d") // as gc does, having removed the files
		w.pruned(store.Prune{})
	}
	var left []string
	for _, table := range tables {
		n, rule := count(table.Name), rules[table.Name]
		switch {
		case strings.HasPrefix(rule, "never"), strings.HasPrefix(rule, "an operator's"):
		case strings.HasPrefix(rule, "its own writer"): // bounded by whoever writes it, who has a test of that
		case n != 0:
			left = append(left, fmt.Sprintf("%s (%d rows; %s)", table.Name, n, rule))
		}
	}
	if slices.Sort(left); len(left) > 0 {
		t.Errorf("not reclaimed:\n%s", strings.Join(left, "\n"))
	}
	w.sound()
}
