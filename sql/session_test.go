package sql_test

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/queue/queuetest"
)

// withRun has a run "r" in session "s" with a turn that runs and one that is queued, an event that waits, a reader, and a
// snapshot with a receipt.
func withRun(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool := queuetest.Pool(t)
	exec(t, pool, `select towpath.profile_put('p', 'd', '{}', '{}', 3, '1 minute', 'n')`)
	exec(t, pool, `select towpath.create_run('p', 's', null, '{"id": "r"}')`)
	exec(t, pool, `select towpath.create_command('r', 'turn', '{}'), towpath.create_command('r', 'turn', '{}')`)
	exec(t, pool, `select towpath.claim(p.river_job_id, jsonb_build_object('process_id', p.id, 'generation', 1), 'n', gen_random_uuid(), '1 hour')
		from towpath.process p where p.river_job_id is not null`)
	exec(t, pool, `select towpath.atomic_apply(l.process_no, l.fence, 'run_start', 1, array[i.id], 0, '{k}', '{v}')
		from towpath.lease l join towpath.input i using (process_no)`)
	exec(t, pool, `select towpath.accept_input('s', 'event', '{"a": 1}')`)
	exec(t, pool, `select towpath.accept_input('s', 'event', jsonb_build_object('text', repeat('x', 70000)))`)
	exec(t, pool, `select towpath.mark_read('alice', 's')`)
	return pool
}

func TestWhatEachRoleMayDoWithSessions(t *testing.T) {
	t.Parallel()
	const denied = "42501"
	client := []string{
		`select towpath.accept_input('s', 'event', '{}')`, `select towpath.session_put('new', 'p')`, `select towpath.create_run('p')`,
		`select towpath.create_command('r', 'turn', '{}')`, `select towpath.cancel_command((select id from towpath.commands where seq = 2))`,
		`select towpath.session_control('s', 'retire')`, `select towpath.cancel_run('r')`,
	}
	read := []string{
		`select * from towpath.session_list()`, `select * from towpath.session_summary('s')`, `select towpath.session_trace('s')`, `select towpath.mark_read('bob', 's')`,
		`select towpath.forget_reader('bob')`, `select * from towpath.receipts('r')`, `select * from towpath.runner_jobs('r')`, `select towpath.health()`,
		`select * from towpath.contract()`, `select * from towpath.commands`, `select * from towpath.usage_by_day`,
	}
	both := []string{`select * from towpath.kv_list('s')`, `select towpath.put_snapshot('other', '{a}', '{b}', 0)`, `select towpath.kv_put('other', 'a', 'c', 1)`,
		`select towpath.profile_health('p', 'healthy')`, `select towpath.recover('s')`, `select * from towpath.recover_all()`}
	operator := []string{`select towpath.release_quarantine('s')`}
	executor := []string{
		`select towpath.node_describe('n', '00000000-0000-0000-0000-000000000000', '{}')`, `select towpath.stage_inputs(1, 1)`,
		`select towpath.atomic_apply(1, 1, 'checkpoint', 1, '{}', 0)`, `select towpath.usage_put(1, 1, 'r')`, `select towpath.runner_job_put('r', 'k', '{}')`,
		`select towpath.ack_command((select id from towpath.commands where seq = 1), 1)`, `select towpath.finish_command((select id from towpath.commands where seq = 1), 1, 'completed')`,
	}
	nobody := []string{
		`select towpath.end_work('s', 'x', 'y')`, `select towpath.apply_delta('s', 0, '{}', '{}')`, `select towpath.settle_run('r')`, `select towpath.damage('s')`,
		`select towpath.enter_session('s', 'p', null, null)`, `select towpath.unbind(1)`, `select * from towpath.input`, `select * from towpath.input_content`,
		`update towpath.cursor set position = 9`, `select * from towpath.usage`, `select nextval('towpath.session_change_seq')`,
	}
	for role, may := range map[string][][]string{
		"towpath_client": {client, read}, "towpath_reader": {read}, "towpath_operator": {client, read, both, operator}, "towpath_worker": {client, read, both, executor},
	} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			pool := withRun(t)
			exec(t, pool, `select towpath.session_put('other', 'p')`)
			limited := as(t, pool, role)
			allowed := slices.Concat(may...)
			for _, statement := range slices.Concat(read, client, both, operator, executor, nobody) {
				_, err := limited.Exec(t.Context(), statement)
				// An executor without a lease is told so, and not that it has no right.
				if slices.Contains(allowed, statement) && err != nil && (!slices.Contains(executor, statement) || code(err)[:2] != "TW") {
					t.Errorf("%s: %v", statement, err)
				}
				if !slices.Contains(allowed, statement) && code(err) != denied {
					t.Errorf("%s is allowed: %v", statement, err)
				}
			}
		})
	}
}

func TestCheckFindsBrokenSessions(t *testing.T) {
	t.Parallel()
	for statement, rule := range map[string]string{
		"update towpath.input set run_seq = 3 where run_seq = 2":                                               "a run counts its commands",
		"update towpath.process set commands = 3 where id = 'r'":                                               "a run counts its commands",
		"update towpath.process set status = 'completed', finalized_at = now(), outcome = '{}' where id = 'r'": "a run ends with its commands and turns",
		"update towpath.session set runtime_state = 'stopped'":                                                 "who closed has nothing open",
		"delete from towpath.input_content":                                                                    "sessions are sound",
		`update towpath.input set payload = '{"a": 2}' where topic = 'event' and content_bytes is null`:        "sessions are sound",
		"update towpath.session set version = 0":                                                               "sessions are sound",
		"delete from towpath.receipt":                                                                          "sessions are sound",
		"update towpath.receipt set input_ids = '{}'":                                                          "sessions are sound",
		"update towpath.session_kv set version = 9":                                                            "sessions are sound",
		"update towpath.cursor set position = position + 1000":                                                 "no reader is ahead of his session",
	} {
		t.Run(statement, func(t *testing.T) {
			t.Parallel()
			pool := withRun(t)
			rules := func() []string {
				return get[[]string](t, pool, "select coalesce(array_agg(distinct rule), '{}') from towpath.check()")
			}
			if broken := rules(); len(broken) > 0 {
				t.Fatalf("broken before: %v", broken)
			}
			exec(t, pool, "begin; set local session_replication_role = replica; "+statement+"; commit")
			if broken := rules(); !slices.Contains(broken, rule) {
				t.Errorf("found %v, want %q", broken, rule)
			}
		})
	}
}

func TestDirectWritesThatBreakASessionAreRefused(t *testing.T) {
	t.Parallel()
	pool := withRun(t)
	const check, unique, ours = "23514", "23505", "TW409"
	for statement, want := range map[string]string{
		`update towpath.session set runtime_state = 'running'`:                           ours,
		`update towpath.session set title = repeat('x', 501)`:                            check,
		`update towpath.session set metadata = '[]'`:                                     check,
		`update towpath.process set commands = 1 where class = 'turn'`:                   check,
		`update towpath.input set process_no = null where phase = 'applied'`:             check,
		`update towpath.input set phase = 'queued' where boundary_seq is not null`:       ours,
		`update towpath.input set boundary_seq = 1 where phase = 'queued'`:               check,
		`update towpath.input set run_seq = null where run_no is not null`:               check,
		`update towpath.input set run_seq = 1 where run_no is not null`:                  unique,
		`update towpath.input set topic = 'prompt', policy = '{}' where topic = 'event'`: ours,
		`update towpath.input set durability = 'forever'`:                                check,
		`update towpath.input set seq = seq + 100`:                                       ours,
		`update towpath.cursor set position = 0`:                                         ours,
		`update towpath.cursor set reader = ''`:                                          check,
		`insert into towpath.usage (process_no, response_id, session_id, tenant, project, profile, input_tokens, fence, at) values (1, 'r', 's', 't', 'p', 'p', -1, 1, now())`: check,
		`insert into towpath.input_content (input_id, body) values ('nobody', '{}')`:                                                                                           "23503",
	} {
		if _, err := pool.Exec(t.Context(), statement); code(err) != want {
			t.Errorf("%s: %v, want %s", statement, err, want)
		}
	}
	if broken := get[[]string](t, pool, "select coalesce(array_agg(rule || ': ' || subject || ': ' || detail), '{}') from towpath.check()"); len(broken) > 0 {
		t.Errorf("broken rules: %v", broken)
	}
}
