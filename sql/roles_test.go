package sql_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/queue"
	"github.com/towpath/towpath/queue/queuetest"
	"github.com/towpath/towpath/store"
)

// as connects with the rights of a role.
func as(t *testing.T, pool *pgxpool.Pool, role string) *pgxpool.Pool {
	t.Helper()
	config := pool.Config()
	config.ConnConfig.RuntimeParams["role"] = role
	limited, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(limited.Close)
	return limited
}

func withTurns(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool := queuetest.Pool(t)
	exec(t, pool, `select towpath.profile_put('p', 'd', '{}', '{}', 3, '1 minute', 'n')`)
	exec(t, pool, `select towpath.submit('p', '{}', 's', null, jsonb_build_object('id', i)) from unnest(array['one', 'two', 'three']) i`)
	return pool
}

// Each role can do what it is for, and is told to stay out of the rest.
func TestWhatEachRoleMayDo(t *testing.T) {
	t.Parallel()
	const denied = "42501"
	client := []string{
		`select towpath.submit('p', '{}')`,
		`select * from towpath.submit_many('[{"profile": "p", "input": {}}]')`,
		`select towpath.steer('one', '{}')`, `select towpath.answer('one', '{}')`,
		`select towpath.interrupt('two')`, `select towpath.cancel('three')`,
	}
	read := []string{
		`select * from towpath.events('one')`, `select * from towpath.process('one')`, `select towpath.now()`,
		`select * from towpath.processes`, `select * from towpath.sessions`, `select * from towpath.profiles`, `select * from towpath.nodes`, `select * from towpath.in_doubt`,
	}
	operator := []string{`select towpath.profile_put('q', 'd', '{}', '{}', 3, '1 minute', 'n')`, `select towpath.sweep()`, `select * from towpath.check()`, `select * from towpath.journal('one')`,
		`select towpath.plugin_remove('p', 'n')`, `select * from towpath.plugins()`, `select towpath.plugin_module('d')`, `select * from towpath.permits()`, `select * from towpath.plugin_lines('p')`, `select towpath.login_start('p')`, `select towpath.login_cancel('p')`}
	executor := []string{
		`select towpath.node_start('n', gen_random_uuid(), 'v', 'h', 1, '{}')`, `select towpath.node_stop('n', gen_random_uuid())`,
		`select * from towpath.claim(1, '{"process_id": "one", "generation": 1}', 'n', gen_random_uuid(), '1 minute')`,
		`select * from towpath.append('{}', '{}', '{}', '{}', '{}')`, `select * from towpath.poll('{}', '{}')`,
		`select * from towpath.renew('n', gen_random_uuid(), '1 minute')`, `select * from towpath.emitted(1)`,
		`select towpath.login_end('l', 'failed', null)`,
	}
	steward := []string{`select towpath.permit('p', '# none')`, `select * from towpath.unpinned_modules()`}
	snapshots := []string{`select towpath.kv_get('s', 'k')`}
	jobs := []string{`select * from river_job`}
	rows := []string{
		`update river_job set priority = 3`, `delete from river_job where false`,
		`insert into river_job (kind, args) values ('turn', '{"profile": "p", "input": {}}')`,
	}
	nobody := []string{
		`select * from towpath.process`, `insert into towpath.clock (shift) values ('1 hour')`, `delete from towpath.event`, `update towpath.lease set fence = 1`,
		`select digest_key from towpath.store`, `select towpath.digest('x'::text)`, `select towpath.finalize(1, 'completed', '{}')`, `select towpath.note(1, 'x', '{}')`,
		`select towpath.enqueue('one')`, `select towpath.requeue(1, 'x', '0', true, 'completed')`, `select towpath.locked('one')`,
		`select * from towpath.accept_turn('p', '{}', null, null, '{}')`, `select nextval('towpath.fence_seq')`,
		`create table towpath.mine ()`, `create function towpath.submit() returns int language sql as 'select 1'`, `truncate river_job`,
	}
	for role, may := range map[string][][]string{
		"towpath_client":   {client, read},
		"towpath_reader":   {read, jobs},
		"towpath_operator": {client, read, operator, steward, snapshots, jobs},
		"towpath_worker":   {client, read, executor, snapshots, jobs, rows, operator[:2], operator[3:]},
	} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			pool := withTurns(t)
			limited := as(t, pool, role)
			allowed := slices.Concat(may...)
			for _, statement := range slices.Concat(client, read, operator, steward, executor, snapshots, jobs, rows, nobody) {
				_, err := limited.Exec(t.Context(), statement)
				if slices.Contains(allowed, statement) && err != nil {
					t.Errorf("%s: %v", statement, err)
				}
				if !slices.Contains(allowed, statement) && code(err) != denied {
					t.Errorf("%s is allowed: %v", statement, err)
				}
			}
		})
	}
}

// Rights come by functions and views alone: nobody has any on a table, whatever tables and functions are added.
func TestRolesHaveNoRightsOnTables(t *testing.T) {
	t.Parallel()
	pool := queuetest.Pool(t)
	open := get[[]string](t, pool, `select coalesce(array_agg(r || ' ' || c.oid::regclass::text), '{}')
		from pg_class c, unnest(array['public', 'towpath_client', 'towpath_enqueue', 'towpath_operator', 'towpath_reader', 'towpath_worker']) r
		where c.relnamespace = 'towpath'::regnamespace and c.relkind = 'r'
		  and (has_table_privilege(r, c.oid, 'insert, update, delete, truncate, references, trigger')
		       or has_table_privilege(r, c.oid, 'select') and c.relname not in ('migration', 'code'))`)
	if len(open) > 0 {
		t.Errorf("rights on tables: %v", open)
	}
	public := get[[]string](t, pool, `select coalesce(array_agg(p.oid::regprocedure::text), '{}') from pg_proc p
		where pronamespace = 'towpath'::regnamespace and has_function_privilege('public', p.oid, 'execute') and p.proname <> 'now'`)
	if len(public) > 0 {
		t.Errorf("everybody may call %v", public)
	}
	lent := get[[]string](t, pool, `select coalesce(array_agg(distinct p.oid::regprocedure::text), '{}') from pg_proc p,
		unnest(array['towpath_client', 'towpath_operator', 'towpath_reader', 'towpath_worker']) r
		where pronamespace = 'towpath'::regnamespace and has_function_privilege(r, p.oid, 'execute') and not p.prosecdef`)
	if len(lent) > 0 {
		t.Errorf("granted, but without the owner's rights: %v", lent)
	}
}

// The plain INSERT: a client's row becomes a turn. What could name, forge or block another one's is refused.
func TestThePlainInsertOfAnEnqueuer(t *testing.T) {
	t.Parallel()
	pool := withTurns(t)
	enqueue := as(t, pool, "towpath_enqueue")
	exec(t, enqueue, `insert into river_job (kind, args) values ('turn', '{"profile": "p", "input": {}}')`)
	exec(t, enqueue, `insert into river_job (kind, args, queue, priority, max_attempts, state, scheduled_at, tags)
		values ('turn', '{"profile": "p", "input": {}}', 'turns', 1, 5, 'scheduled', now() + interval '1 hour', '{mine}')`)
	exec(t, enqueue, `insert into river_job (kind, args) values ('health_check', '{}')`)
	if row := get[string](t, pool, "select string_agg(kind || ' ' || queue, ', ' order by id) from river_job where args -> 'process_id' is null"); row != "turn turns, turn turns, health_check lifecycle" {
		t.Errorf("rows: %s", row)
	}
	const denied, ours = "42501", "TW400"
	for statement, want := range map[string]string{
		`insert into river_job (kind, args) values ('turn', '{"process_id": "one", "generation": 1}')`:          denied,
		`insert into river_job (kind, args) values ('sweep', '{}')`:                                             denied,
		`insert into river_job (kind, args) values ('gc', '{}')`:                                                denied,
		`insert into river_job (kind, args) values ('prune', '{}')`:                                             denied,
		`insert into river_job (kind, args) values ('login', '{"login_id": "l"}')`:                              denied,
		`insert into river_job (kind, args) values ('scan_plugins', '{}')`:                                      denied,
		`insert into river_job (kind, args) values ('email', '{}')`:                                             ours,
		`insert into river_job (kind, args, queue) values ('turn', '{}', 'gc')`:                                 ours,
		`insert into river_job (kind, args, state) values ('turn', '{}', 'running')`:                            denied,
		`insert into river_job (kind, args, metadata) values ('turn', '{}', '{"process_id": "one"}')`:           denied,
		`insert into river_job (id, kind, args) values (1000, 'turn', '{}')`:                                    denied,
		`insert into river_job (kind, args, unique_key, unique_states) values ('turn', '{}', 'x', B'11111111')`: denied,
		`insert into river_job (kind, args, attempted_by) values ('turn', '{}', '{me}')`:                        denied,
		`insert into river_job (kind, args, finalized_at) values ('turn', '{}', now())`:                         denied,
		`select count(*) from river_job`:                                                                        denied,
		`update river_job set priority = 1`:                                                                     denied,
		`delete from river_job`:                                                                                 denied,
		`select towpath.submit('p', '{}')`:                                                                      denied,
		`select * from towpath.processes`:                                                                       denied,
		`insert into river_queue (name, updated_at) values ('turns', now())`:                                    denied,
	} {
		if _, err := enqueue.Exec(t.Context(), statement); code(err) != want {
			t.Errorf("%s: %v, want %s", statement, err, want)
		}
	}
}

// locked lets a log be read after its writers have gone.
type locked struct {
	mu sync.Mutex
	w  *strings.Builder
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// A whole node runs with the worker's role: River's own statements, leadership and LISTEN, and a turn from claim to end.
func TestANodeRunsWithTheWorkersRole(t *testing.T) {
	t.Parallel()
	pool := queuetest.Pool(t)
	limited := as(t, pool, "towpath_worker")
	s := store.New(limited)
	n := store.Node{ID: "n", Incarnation: uuid.New()}
	if _, err := s.StartNode(t.Context(), n, "v", "h", 1, queue.Queues()); err != nil {
		t.Fatal(err)
	}
	if err := s.PutProfile(t.Context(), store.Profile{Name: "p", Digest: "d", Manifest: []byte("{}"), Limits: []byte("{}"), MaxAttempts: 3, TurnTimeout: time.Minute}, "n"); err != nil {
		t.Fatal(err)
	}
	var trouble strings.Builder
	log := slog.New(slog.NewTextHandler(&locked{w: &trouble}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	swept := make(chan error, 1)
	client, err := queue.New(queue.Config{Pool: limited, NodeID: "n", Logger: log, Handlers: map[queue.Kind]queue.Handler{
		queue.Turn: func(ctx context.Context, job queue.Job) error {
			c, err := s.Claim(ctx, n, job.ID, job.Args, time.Minute)
			if err != nil || c.Action != store.ActionRun {
				return err
			}
			o := c.Owner()
			if _, err := s.Append(ctx, []store.Batch{{Owner: o, Types: []string{"text"}, Data: []string{`{"text": "hi"}`}}}); err != nil {
				return err
			}
			if _, err := s.Poll(ctx, []store.Owner{o}); err != nil {
				return err
			}
			if *c.Attempt == 1 {
				_, err := s.Retry(ctx, o, "again", 0, false, nil, "", true)
				return err
			}
			return s.Finish(ctx, store.End{Batch: store.Batch{Owner: o}, Status: "completed", Outcome: []byte("{}"),
				Base: c.Version, Keys: []string{"k"}, Values: [][]byte{[]byte("v")}})
		},
		queue.Sweep: func(ctx context.Context, _ queue.Job) error {
			_, err := s.Sweep(ctx, time.Minute, uuid.Nil, 10)
			select {
			case swept <- err:
			default:
			}
			return err
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	id, err := s.Submit(t.Context(), store.Submission{Profile: "p", Input: []byte("{}"), Session: "s"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Follow(t.Context(), id, 0, time.Second, true, func(store.Event) error { return nil }); err != nil {
		t.Error(err)
	}
	if p, err := s.Process(t.Context(), id); err != nil || p.Status != "completed" || p.Attempt != 2 {
		t.Errorf("process %+v, %v", p, err)
	}
	if err := <-swept; err != nil { // the leader's periodic job has run too
		t.Error(err)
	}
	if err := client.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
	if err := s.StopNode(t.Context(), n); err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(trouble.String()) {
		if !strings.Contains(line, "context canceled") { // what River was at when it was stopped
			t.Errorf("the node complained: %s", line)
		}
	}
	if broken := get[json.RawMessage](t, pool, "select coalesce(jsonb_agg(c), '[]') from towpath.check() c"); string(broken) != "[]" {
		t.Errorf("broken rules: %s", broken)
	}
}
