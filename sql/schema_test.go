package sql_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/queue/queuetest"
)

func get[T any](t *testing.T, pool *pgxpool.Pool, sql string, args ...any) T {
	t.Helper()
	rows, err := pool.Query(t.Context(), sql, args...)
	if err == nil {
		var v T
		if v, err = pgx.CollectExactlyOneRow(rows, pgx.RowTo[T]); err == nil {
			return v
		}
	}
	t.Fatalf("%s: %v", sql, err)
	panic("unreachable")
}

func exec(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

func TestEverythingHasAComment(t *testing.T) {
	t.Parallel()
	silent := get[[]string](t, queuetest.Pool(t), `select coalesce(array_agg(name), '{}') from (
		select oid::regprocedure::text, obj_description(oid, 'pg_proc') from pg_proc where pronamespace = 'towpath'::regnamespace
		union all
		select oid::regclass::text, obj_description(oid, 'pg_class') from pg_class
		where relnamespace = 'towpath'::regnamespace and relkind in ('r', 'v') or oid = 'towpath.fence_seq'::regclass
	) x(name, comment) where coalesce(comment, '') = ''`)
	if len(silent) > 0 {
		t.Errorf("without a comment: %s", strings.Join(silent, ", "))
	}
}

// The page that explains the schema names every table, every error and every event type that there is.
func TestThePageIsWhole(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, reclaim, _ := strings.Cut(string(page), "one reclaim rule")
	reclaim, _, _ = strings.Cut(reclaim, "# Lock order")
	for _, table := range get[[]string](t, queuetest.Pool(t), `select array_agg(relname::text) from pg_class where relnamespace = 'towpath'::regnamespace and relkind = 'r'`) {
		if !regexp.MustCompile(`(?m)^//\t(\w+, )*` + table + `\b`).MatchString(reclaim) {
			t.Errorf("table %s has no reclaim rule in doc.go", table)
		}
	}
	retention, err := os.ReadFile("../docs/retention.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range get[[]string](t, queuetest.Pool(t), `select array_agg(relname::text) from pg_class where relnamespace = 'towpath'::regnamespace and relkind = 'r'`) {
		if !strings.Contains(string(retention), "`"+table+"`") {
			t.Errorf("table %s is not in docs/retention.md", table)
		}
	}
	files, err := filepath.Glob("*/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	sentinels, err := os.ReadFile("../store/error.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range regexp.MustCompile(`TW4[0-9A-Z]{2}\b|'process\.[a-z_]+'`).FindAllString(string(text), -1) {
			word = strings.Trim(word, "'")
			if !regexp.MustCompile(`\b` + regexp.QuoteMeta(word) + `\b`).Match(page) {
				t.Errorf("%s: %s is not in doc.go", file, word)
			}
			if strings.HasPrefix(word, "TW") && !strings.Contains(string(sentinels), `"`+word+`": Err`) {
				t.Errorf("%s: %s has no sentinel in package store", file, word)
			}
		}
	}
}

// What runs with its owner's rights must not be led astray by the caller's search path.
func TestFunctionsThatLendRightsFixTheirSearchPath(t *testing.T) {
	t.Parallel()
	open := get[[]string](t, queuetest.Pool(t), `select coalesce(array_agg(oid::regprocedure::text), '{}') from pg_proc
		where pronamespace = 'towpath'::regnamespace and prosecdef and not coalesce(proconfig, '{}') @> '{"search_path=pg_catalog, pg_temp"}'`)
	if len(open) > 0 {
		t.Errorf("security definer with an open search path: %v", open)
	}
}

// Without sequential scans a read of a small table has a price at which Postgres would compile it, at every call.
func TestFunctionsWithoutSequentialScansAreNotCompiled(t *testing.T) {
	t.Parallel()
	slow := get[[]string](t, queuetest.Pool(t), `select coalesce(array_agg(oid::regprocedure::text), '{}') from pg_proc
		where pronamespace = 'towpath'::regnamespace and proconfig @> '{enable_seqscan=off}' and not proconfig @> '{jit=off}'`)
	if len(slow) > 0 {
		t.Errorf("enable_seqscan is off and jit is on: %v", slow)
	}
}

// A person with psql and every right cannot break a row.
func TestDirectWritesThatBreakARowAreRefused(t *testing.T) {
	t.Parallel()
	pool := queuetest.Pool(t)
	exec(t, pool, `select towpath.profile_put('p', 'd', '{}', '{}', 3, '1 minute', 'n')`)
	exec(t, pool, `select towpath.submit('p', '{}', 's', null, '{"id": "queued"}'), towpath.submit('p', '{}', 's2', null, '{"id": "ended"}'), towpath.submit('p', '{}', 's3', null, '{"id": "running"}')`)
	exec(t, pool, `select towpath.cancel('ended')`)
	exec(t, pool, `select towpath.claim(p.river_job_id, jsonb_build_object('process_id', p.id, 'generation', 1), 'n', gen_random_uuid(), '1 hour') from towpath.process p where id = 'running'`)
	exec(t, pool, `select towpath.append(array[l.process_no], array[l.fence], array[l.fence], '{text}', '{"{}"}') from towpath.lease l`)
	exec(t, pool, `select towpath.submit('p', '{}', 's4', null, '{"id": "done"}')`)
	exec(t, pool, `select towpath.finish(c.process_no, c.fence, 'completed', '{}', keys => '{k}', vals => '{v}', base_version => 0) from towpath.process p,
		towpath.claim(p.river_job_id, jsonb_build_object('process_id', p.id, 'generation', 1), 'n', gen_random_uuid(), '1 hour') c where p.id = 'done'`)

	const check, unique, ours = "23514", "23505", "TW409"
	for statement, want := range map[string]string{
		// states
		`update towpath.process set status = 'done' where id = 'queued'`:                                            ours,
		`update towpath.process set status = 'completed' where id = 'queued'`:                                       ours,
		`update towpath.process set finalized_at = now() where id = 'queued'`:                                       check,
		`update towpath.process set status = 'completed', finalized_at = now() where id = 'queued'`:                 check,
		`update towpath.process set status = 'failed', finalized_at = now(), outcome = '{}' where id = 'queued'`:    check,
		`update towpath.process set status = 'abandoned', finalized_at = now(), outcome = '{}' where id = 'queued'`: check,
		`update towpath.process set status = 'backoff', next_attempt_at = now() where id = 'queued'`:                ours,
		`update towpath.process set wait = '{}' where id = 'queued'`:                                                check,
		`update towpath.process set status = 'backoff' where id = 'queued'`:                                         ours,
		`update towpath.process set next_attempt_at = now() where id = 'queued'`:                                    check,
		`update towpath.process set cancel_requested_at = now() where id = 'queued'`:                                check,
		`update towpath.process set cancel_requested_at = now(), cancel_reason = 'x' where id = 'queued'`:           check,
		`update towpath.process set attempts_spent = 1 where id = 'queued'`:                                         check,
		`update towpath.process set attempts_spent = -1 where id = 'running'`:                                       check,
		`update towpath.process set generation = 0 where id = 'queued'`:                                             check,
		`update towpath.process set max_attempts = 0 where id = 'queued'`:                                           check,
		`update towpath.process set priority = 5 where id = 'queued'`:                                               check,
		// an end is for ever
		`update towpath.process set status = 'queued', finalized_at = null, outcome = null where id = 'ended'`: ours,
		`update towpath.process set status = 'completed' where id = 'ended'`:                                   ours,
		`update towpath.process set outcome = '{"x": 1}' where id = 'ended'`:                                   ours,
		// what a process and a session are
		`update towpath.process set disposition = 'owner_bound' where id = 'queued'`: ours,
		`update towpath.process set session_id = 's2' where id = 'queued'`:           ours,
		`update towpath.process set tenant = 'x' where id = 'queued'`:                ours,
		`update towpath.session set profile = 'q' where id = 's'`:                    ours,
		`update towpath.session set project = 'q' where id = 's'`:                    ours,
		`update towpath.session set runtime_state = 'busy' where id = 's'`:           ours,
		// the log and the receipts
		`update towpath.event set data = '{"x": 1}'`: ours,
		`update towpath.receipt set digest = 'x'`:    ours,
		`insert into towpath.event (process_no, seq, type, data, at) select process_no, seq, type, data, at from towpath.event limit 1`:    unique,
		`insert into towpath.event (process_no, seq, type, data, at) values (1, 0, 'x', '{}', now())`:                                      check,
		`insert into towpath.event (process_no, seq, type, data, at) values (1, 99, 'x', '[]', now())`:                                     check,
		`insert into towpath.receipt select process_no, 2, session_id, session_version, input_ids, digest, fence, at from towpath.receipt`: unique,
		// executions
		`insert into towpath.attempt (process_no, attempt, node_id, incarnation, fence, first_seq, started_at)
			select process_no, 2, node_id, incarnation, 99, 1, now() from towpath.attempt`: unique,
		`update towpath.attempt set ended_at = now()`: check,
		`insert into towpath.lease (process_no, node_id, incarnation, fence, claimed_at, expires_at)
			select process_no, 'm', incarnation, 99, now(), now() from towpath.lease`: unique,
		`insert into towpath.lease (process_no, node_id, incarnation, fence, claimed_at, expires_at)
			select p.no, 'm', l.incarnation, l.fence, now(), now() from towpath.lease l, towpath.process p where p.id = 'queued'`: unique,
		// inputs and snapshots
		`update towpath.input set phase = 'consumed' where finalized_at is null`:                                                          check,
		`update towpath.input set finalized_at = null where finalized_at is not null`:                                                     ours,
		`update towpath.input set phase = 'eaten'`:                                                                                        ours,
		`insert into towpath.session_kv (session_id, key, value, version) values ('s', '', 'x', 1)`:                                       check,
		`insert into towpath.session_kv (session_id, key, value, version) values ('s', 'k', convert_to(repeat('x', 1048577), 'UTF8'), 1)`: check,
		`insert into towpath.store (digest_key) select digest_key from towpath.store`:                                                     unique,
		`insert into towpath.profile (name, digest, registered_at, updated_at) values ('Bad Name', 'd', now(), now())`:                    check,
	} {
		if _, err := pool.Exec(t.Context(), statement); code(err) != want {
			t.Errorf("%s: %v, want %s", statement, err, want)
		}
	}
	if broken := get[[]string](t, pool, "select coalesce(array_agg(rule || ': ' || subject || ': ' || detail), '{}') from towpath.check()"); len(broken) > 0 {
		t.Errorf("broken rules: %v", broken)
	}
}

// What no constraint can see, check does: each rule is broken once, by an owner who switched the triggers off.
func TestCheckFindsWhatIsBroken(t *testing.T) {
	t.Parallel()
	for statement, rule := range map[string]string{
		"delete from towpath.event where seq = 1":                                                                    "the log has no gap",
		"update towpath.process set last_seq = last_seq + 1 where id = 'running'":                                    "the log has no gap",
		"insert into towpath.event (process_no, seq, type, data, at) values (999, 1, 'x', '{}', now())":              "the log has no gap",
		"update towpath.event set type = 'text' where type = 'process.cancelled'":                                    "a process ends with one event, the last",
		"update towpath.session set active_process = null where id = 's'":                                            "a session's head is its first live turn",
		"update towpath.process set river_job_id = 1, generation = 1 where id = 'waits'":                             "only the head has a River job",
		"delete from river_job where args ->> 'process_id' = 'queued'":                                               "a queued head has a River job that will run it",
		"update towpath.process set generation = 7 where id = 'queued'":                                              "a queued head has a River job that will run it",
		"insert into river_job (kind, args) select kind, args from river_job where args ->> 'process_id' = 'queued'": "one River job stands for a process",
		"delete from towpath.lease":            "who runs has a lease",
		"update towpath.lease set fence = 999": "a lease goes with the newest attempt of a running process",
		"delete from towpath.attempt":          "attempts are numbered without a gap",
		"update towpath.input set phase = 'queued', finalized_at = null where finalized_at is not null":                                                                           "inputs end with their process",
		"update towpath.input set phase = 'staged' where finalized_at is null":                                                                                                    "inputs end with their process",
		"update towpath.session set next_turn = 1 where id = 's'":                                                                                                                 "a session counts its turns and inputs",
		"update towpath.session set version = 0 where id = 's4'":                                                                                                                  "the newest receipt names the snapshot",
		"insert into towpath.task (id, tenant, project, queue, payload, request_digest, created_at, updated_at) values ('t', 't', 'j', 'q', '{}', '', now(), now())":              "tasks are counted",
		"insert into towpath.task (id, tenant, project, queue, payload, request_digest, created_at, updated_at, attempts) values ('t', 't', 'j', 'q', '{}', '', now(), now(), 1)": "a task counts its attempts",
		"insert into towpath.signal select no, 'x', 1, 1 from towpath.process where id = 'running'":                                                                               "signals are numbered and are events of their name",
		"update towpath.session_kv set version = 9":                                                                                                                               "no key is newer than its snapshot",
		"insert into towpath.journal (process_no, first_n, count, entries, fence, at) values (1, 3, 1, '', 1, now())":                                                             "the journal has no gap",
		"insert into towpath.plugin (profile, digest, manifest, added_by, added_at) values ('p', repeat('0', 64), '{}', 'n', now())":                                              "a profile is its newest plugin",
	} {
		t.Run(statement, func(t *testing.T) {
			t.Parallel()
			pool := queuetest.Pool(t)
			exec(t, pool, `select towpath.profile_put('p', 'd', '{}', '{}', 3, '1 minute', 'n')`)
			exec(t, pool, `select towpath.submit('p', '{}', s, null, jsonb_build_object('id', i))
				from (values ('s', 'queued'), ('s', 'waits'), ('s2', 'ended'), ('s3', 'running'), ('s4', 'done')) v(s, i)`)
			exec(t, pool, `select towpath.cancel('ended')`)
			exec(t, pool, `select towpath.claim(p.river_job_id, jsonb_build_object('process_id', p.id, 'generation', 1), 'n', gen_random_uuid(), '1 hour')
				from towpath.process p where id in ('running', 'done')`)
			exec(t, pool, `select towpath.finish(l.process_no, l.fence, 'completed', '{}', keys => '{k}', vals => '{v}', base_version => 0)
				from towpath.lease l join towpath.process p on p.no = l.process_no where p.id = 'done'`)
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

func TestAJournalIsSmallWhereTheServerCanMakeItSo(t *testing.T) {
	t.Parallel()
	pool := queuetest.Pool(t)
	entries := []byte(strings.Repeat(`data: {"choices":[{"delta":{"content":"word"}}]}`, 1000))
	exec(t, pool, "insert into towpath.journal (process_no, first_n, count, entries, fence, at) values (1, 0, 1, $1, 1, now())", entries)
	if !bytes.Equal(get[[]byte](t, pool, "select entries from towpath.journal"), entries) {
		t.Error("the entries are not what was stored")
	}
	lz4 := get[bool](t, pool, "select 'lz4' = any(enumvals) from pg_settings where name = 'default_toast_compression'")
	if size := get[int](t, pool, "select pg_column_size(entries) from towpath.journal"); lz4 && size > len(entries)/4 {
		t.Errorf("%d bytes take %d", len(entries), size)
	}
}
