package queue_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/queue"
	"github.com/towpath/towpath/queue/queuetest"
)

// start runs a node until the test ends or the returned function is called.
func start(t testing.TB, pool *pgxpool.Pool, config queue.Config) (stop func()) {
	t.Helper()
	config.Pool = pool
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	client, err := queue.New(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		if err := client.Stop(context.Background()); err != nil { // the test's context has ended in Cleanup
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// send is a handler that hands its jobs to the test.
func send(to chan<- queue.Job) queue.Handler {
	return func(ctx context.Context, job queue.Job) error {
		select {
		case to <- job:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func contains(text, part string) bool { return strings.Contains(text, part) }

const insertTurn = "insert into river_job (kind, args) values ('turn', '{}') returning id"

// states returns a function that waits until a job is in a state, and returns its row.
func states(t testing.TB, pool *pgxpool.Pool) func(id int64, state string) row {
	t.Helper()
	conn := listen(t, pool, "changed")
	exec(t, pool, `create function changed() returns trigger language plpgsql as $$ begin notify changed; return null; end $$;
		create trigger changed after update on river_job for each statement execute function changed()`)
	return func(id int64, state string) row {
		t.Helper()
		for {
			var r row
			if err := pool.QueryRow(t.Context(), `select state::text, attempt, coalesce(to_jsonb(errors), '[]'), metadata from river_job where id = $1`, id).
				Scan(&r.state, &r.attempt, &r.errors, &r.metadata); err != nil {
				t.Fatal(err)
			}
			if r.state == state {
				return r
			}
			if _, err := conn.WaitForNotification(t.Context()); err != nil {
				t.Fatalf("job %d is %+v, not %s: %v", id, r, state, err)
			}
		}
	}
}

// A job is a message: that it was fetched, or has ended, need not wait for the disk. A pooler of transactions keeps no
// settings, and none may reach our own statements.
func TestRiversStatementsDoNotWaitForTheLog(t *testing.T) {
	t.Parallel()
	for name, pooled := range map[string]bool{"of a connection of its own": false, "of a pooler's": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := queuetest.Pool(t)
			exec(t, pool, `do $$ begin execute format('alter database %I set synchronous_commit = on', current_database()); end $$`) // the tests' server has it off
			pool.Reset()
			exec(t, pool, `create table waited (synchronous text);
				create function note_commit() returns trigger language plpgsql as $$ begin insert into public.waited values (current_setting('synchronous_commit')); return null; end $$;
				create trigger note_commit after update on river_job for each row execute function note_commit()`)
			wait := states(t, pool)
			var ours string
			start(t, pool, queue.Config{NodeID: "n", Pooled: pooled, Handlers: map[queue.Kind]queue.Handler{
				queue.Turn: func(ctx context.Context, _ queue.Job) error {
					return pool.QueryRow(ctx, "show synchronous_commit").Scan(&ours)
				},
			}})
			var id int64
			if err := pool.QueryRow(t.Context(), insertTurn).Scan(&id); err != nil {
				t.Fatal(err)
			}
			wait(id, "completed")
			var rivers string
			if err := pool.QueryRow(t.Context(), "select string_agg(distinct synchronous, ' ') from waited").Scan(&rivers); err != nil {
				t.Fatal(err)
			}
			if want := map[bool]string{false: "off", true: "on"}[pooled]; rivers != want || ours != "on" {
				t.Errorf("River's commits wait: %s, ours: %s", rivers, ours)
			}
		})
	}
}

func listen(t testing.TB, pool *pgxpool.Pool, channel string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.ConnectConfig(t.Context(), pool.Config().ConnConfig)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	if _, err := conn.Exec(t.Context(), "listen "+pgx.Identifier{channel}.Sanitize()); err != nil {
		t.Fatal(err)
	}
	return conn
}

type row struct {
	state    string
	attempt  int
	errors   []struct{ Error, Trace string }
	metadata struct {
		Output json.RawMessage
		Log    []struct{ Log string } `json:"river:log"`
	}
}

// Two columns are enough for anybody to have a turn run.
func TestAPlainInsertReachesItsHandler(t *testing.T) {
	t.Parallel()
	pool := queuetest.Pool(t)
	reaches := states(t, pool)
	ran := make(chan queue.Job)
	start(t, pool, queue.Config{Handlers: map[queue.Kind]queue.Handler{queue.Turn: send(ran), queue.Start: send(ran), queue.Prune: send(ran)}})
	for kind, in := range map[queue.Kind]string{queue.Turn: queue.Turns, queue.Start: queue.Lifecycle, queue.Prune: queue.Upkeep} {
		id := get[int64](t, pool, `insert into river_job (kind, args) values ($1, '{"n": 1e2, "s": "\u00fc"}') returning id`, kind)
		job := <-ran
		for job.ID != id && job.Kind == queue.Prune { // there is one every hour
			job = <-ran
		}
		if job.ID != id || job.Kind != kind || job.Attempt != 1 || string(job.Args) != `{"n": 100, "s": "ü"}` {
			t.Errorf("inserted job %d, got %+v with args %s", id, job, job.Args)
		}
		if created := get[time.Time](t, pool, "select created_at from river_job where id = $1", id); !created.Equal(job.CreatedAt) {
			t.Errorf("created at %s, got %s", created, job.CreatedAt)
		}
		if q := get[string](t, pool, "select queue from river_job where id = $1", id); q != in {
			t.Errorf("%s went to queue %q", kind, q)
		}
		reaches(id, "completed")
	}
}

// The documented args of a turn are what the row holds.
func TestTheArgsOfATurn(t *testing.T) {
	t.Parallel()
	pool := queuetest.Pool(t)
	ran := make(chan queue.Job)
	start(t, pool, queue.Config{Handlers: map[queue.Kind]queue.Handler{queue.Turn: send(ran)}})
	for _, args := range []queue.TurnArgs{
		{ProcessID: "p", Generation: 2},
		{Profile: "codex", Input: json.RawMessage(`{"text": "hello"}`), Session: "s", IdempotencyKey: "k", Options: json.RawMessage(`{"priority": 1}`)},
	} {
		exec(t, pool, "insert into river_job (kind, args) values ('turn', $1)", args)
		var got queue.TurnArgs
		if err := json.Unmarshal((<-ran).Args, &got); err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", args) {
			t.Errorf("sent %+v, got %+v (%v)", args, got, err)
		}
	}
}

// One statement wakes each queue once, however many rows it inserts.
func TestABulkInsertNotifiesOnce(t *testing.T) {
	t.Parallel()
	pool := queuetest.Pool(t)
	conn := listen(t, pool, "public.river_insert")
	exec(t, pool, `insert into river_job (kind, args) select 'turn', '{}' from generate_series(1, 100)`)
	exec(t, pool, `begin; set local towpath.notify = off; insert into river_job (kind, args) values ('sweep', '{}'); commit`)
	exec(t, pool, `insert into river_job (kind, args) values ('start', '{}')`)
	for _, want := range []string{`{"queue" : "turns"}`, `{"queue" : "lifecycle"}`} {
		if n, err := conn.WaitForNotification(t.Context()); err != nil || n.Payload != want {
			t.Errorf("notification %+v, want %s (%v)", n, want, err)
		}
	}
}

// worker --queues lifecycle
func TestANodeWorksOnlyTheQueuesItIsGiven(t *testing.T) {
	t.Parallel()
	pool := queuetest.Pool(t)
	ran := make(chan queue.Job)
	handlers := map[queue.Kind]queue.Handler{queue.Turn: send(ran), queue.Stop: send(ran)}
	start(t, pool, queue.Config{NodeID: "one", Queues: []string{queue.Lifecycle}, Handlers: handlers})
	turn := get[int64](t, pool, insertTurn)
	exec(t, pool, "insert into river_job (kind, args) values ('stop', '{}')")
	if job := <-ran; job.Kind != queue.Stop {
		t.Errorf("got %+v", job)
	}
	if s := get[string](t, pool, "select state from river_job where id = $1", turn); s != "available" {
		t.Errorf("the turn is %s", s)
	}
	start(t, pool, queue.Config{NodeID: "two", Queues: []string{queue.Turns}, Handlers: handlers})
	if job := <-ran; job.ID != turn {
		t.Errorf("got %+v", job)
	}
}

// SIGTERM while a turn runs: the next node takes it, at once and as if for the first time.
func TestStoppingGivesTheAttemptBack(t *testing.T) {
	t.Parallel()
	for name, give := range map[string]func(ctx context.Context) error{
		"the context's error": func(ctx context.Context) error { return ctx.Err() },
		"the cause":           func(ctx context.Context) error { return fmt.Errorf("turn 7: %w", context.Cause(ctx)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := queuetest.Pool(t)
			reaches := states(t, pool)
			running, cause := make(chan struct{}), make(chan error, 1)
			stop := start(t, pool, queue.Config{SoftStop: time.Millisecond, Handlers: map[queue.Kind]queue.Handler{
				queue.Turn: func(ctx context.Context, _ queue.Job) error {
					close(running)
					<-ctx.Done()
					cause <- context.Cause(ctx)
					return give(ctx)
				}}})
			id := get[int64](t, pool, insertTurn)
			<-running
			stop()
			if err := <-cause; !errors.Is(err, queue.ErrStopping) {
				t.Errorf("cause %v", err)
			}
			if r := reaches(id, "available"); r.attempt != 0 || len(r.errors) != 0 {
				t.Errorf("row %+v", r)
			}
			ran := make(chan queue.Job)
			start(t, pool, queue.Config{Handlers: map[queue.Kind]queue.Handler{queue.Turn: send(ran)}})
			if job := <-ran; job.ID != id || job.Attempt != 1 {
				t.Errorf("job %+v", job)
			}
		})
	}
}

// A job that is nearly done when the node stops may end by itself.
func TestStoppingLetsAJobEnd(t *testing.T) {
	t.Parallel()
	pool := queuetest.Pool(t)
	reaches := states(t, pool)
	running, end := make(chan struct{}), make(chan struct{})
	stop := start(t, pool, queue.Config{SoftStop: time.Hour, Handlers: map[queue.Kind]queue.Handler{
		queue.Turn: func(ctx context.Context, _ queue.Job) error {
			close(running)
			<-end
			return ctx.Err()
		}}})
	id := get[int64](t, pool, insertTurn)
	<-running
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	close(end)
	<-stopped
	reaches(id, "completed")
}

// A job that ignores its context cannot hold up the caller of Stop for ever.
func TestStopHasAnEnd(t *testing.T) {
	t.Parallel()
	pool := queuetest.Pool(t)
	running, end := make(chan struct{}), make(chan struct{})
	client, err := queue.New(queue.Config{Pool: pool, SoftStop: time.Millisecond, Logger: slog.New(slog.DiscardHandler), Handlers: map[queue.Kind]queue.Handler{
		queue.Turn: func(context.Context, queue.Job) error { close(running); <-end; return nil },
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	exec(t, pool, insertTurn)
	<-running
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := client.Stop(ctx); !errors.Is(err, context.Canceled) || !contains(err.Error(), "still running") {
		t.Errorf("error %v", err)
	}
	close(end)
	if err := client.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// An operator cancels a running job, in River UI or by SQL.
func TestACancelledJobIsTold(t *testing.T) {
	t.Parallel()
	pool := queuetest.Pool(t)
	reaches := states(t, pool)
	running, cause := make(chan struct{}), make(chan error, 1)
	start(t, pool, queue.Config{Handlers: map[queue.Kind]queue.Handler{
		queue.Turn: func(ctx context.Context, _ queue.Job) error {
			close(running)
			<-ctx.Done()
			cause <- context.Cause(ctx)
			return ctx.Err()
		}}})
	id := get[int64](t, pool, insertTurn)
	<-running
	exec(t, pool, `select pg_notify('public.river_control', json_build_object('action', 'cancel', 'job_id', $1::bigint, 'queue', 'turns')::text)`, id)
	if err := <-cause; !errors.Is(err, queue.ErrCancelled) || errors.Is(err, queue.ErrStopping) {
		t.Errorf("cause %v", err)
	}
	reaches(id, "cancelled")
}

func TestOutcomesOfAHandler(t *testing.T) {
	t.Parallel()
	pool := queuetest.Pool(t)
	reaches := states(t, pool)
	tries := make(chan int, 10)
	first := func(again error) queue.Handler { // the first delivery ends so, the second one well
		var once sync.Once
		return func(_ context.Context, job queue.Job) (err error) {
			tries <- job.Attempt
			once.Do(func() { err = again })
			return err
		}
	}
	start(t, pool, queue.Config{Handlers: map[queue.Kind]queue.Handler{
		queue.Turn:        first(errors.New("no connection")),
		queue.Start:       first(queue.Snooze(-time.Second)),
		queue.Stop:        first(queue.Cancel(errors.New("no such process"))),
		queue.HealthCheck: func(context.Context, queue.Job) error { panic("out of cheese") },
	}})

	turn := get[int64](t, pool, insertTurn)
	if a, b := <-tries, <-tries; a != 1 || b != 2 {
		t.Errorf("an error: attempts %d and %d", a, b)
	}
	if r := reaches(turn, "completed"); r.errors[0].Error != "no connection" {
		t.Errorf("an error: %+v", r)
	}

	exec(t, pool, "insert into river_job (kind, args) values ('start', '{}')")
	if a, b := <-tries, <-tries; a != 1 || b != 1 {
		t.Errorf("a snooze: attempts %d and %d", a, b)
	}

	stop := get[int64](t, pool, "insert into river_job (kind, args) values ('stop', '{}') returning id")
	<-tries
	if r := reaches(stop, "cancelled"); !contains(r.errors[0].Error, "no such process") {
		t.Errorf("a cancel: %+v", r)
	}

	check := get[int64](t, pool, "insert into river_job (kind, args, max_attempts) values ('health_check', '{}', 1) returning id")
	if r := reaches(check, "discarded"); r.errors[0].Error != "out of cheese" || !contains(r.errors[0].Trace, "TestOutcomesOfAHandler") {
		t.Errorf("a panic: %+v", r)
	}

	none := get[int64](t, pool, "insert into river_job (kind, args) values ('scan_plugins', '{}') returning id")
	if r := reaches(none, "cancelled"); !contains(r.errors[0].Error, `this worker has no handler for kind "scan_plugins"`) {
		t.Errorf("no handler: %+v", r)
	}
}

// What a handler logs and puts out stands in the job's row, where River UI shows it, and the log in the node's too.
func TestLogAndOutputStandInTheRow(t *testing.T) {
	t.Parallel()
	pool := queuetest.Pool(t)
	reaches := states(t, pool)
	var node strings.Builder
	stop := start(t, pool, queue.Config{
		Logger: slog.New(slog.NewTextHandler(&node, nil)),
		Handlers: map[queue.Kind]queue.Handler{queue.Turn: func(ctx context.Context, job queue.Job) error {
			queue.Log(ctx).Info("asked the model", "tokens", 12)
			if job.Attempt == 1 {
				return errors.New("no connection")
			}
			return queue.Output(ctx, map[string]string{"process_id": "p"})
		}}})
	id := get[int64](t, pool, insertTurn)
	r := reaches(id, "completed")
	stop()
	if string(r.metadata.Output) != `{"process_id": "p"}` {
		t.Errorf("output %s", r.metadata.Output)
	}
	if len(r.metadata.Log) != 2 || !contains(r.metadata.Log[1].Log, `msg="asked the model" tokens=12`) {
		t.Errorf("log of the row: %+v", r.metadata.Log)
	}
	if !contains(node.String(), fmt.Sprintf(`msg="asked the model" job=%d kind=turn tokens=12`, id)) {
		t.Errorf("log of the node: %s", &node)
	}
	if err := queue.Output(t.Context(), 1); err == nil {
		t.Error("output outside a job")
	}
}

// Through a transaction pooler there is no LISTEN, and jobs still run.
func TestPooledNodesPoll(t *testing.T) {
	t.Parallel()
	for _, pooled := range []bool{true, false} {
		t.Run(fmt.Sprint(pooled), func(t *testing.T) {
			t.Parallel()
			var seen statements
			pool := connect(t, queuetest.Database(t), func(c *pgxpool.Config) { c.ConnConfig.Tracer = &seen })
			ran := make(chan queue.Job)
			start(t, pool, queue.Config{Pooled: pooled, Handlers: map[queue.Kind]queue.Handler{queue.Turn: send(ran)}})
			for range 2 { // the second one has missed the fetch at the start
				exec(t, pool, insertTurn)
				<-ran
			}
			if listened := seen.count("LISTEN") > 0; listened == pooled {
				t.Errorf("LISTEN: %v", listened)
			}
		})
	}
}

func TestAConfigurationThatCannotWork(t *testing.T) {
	t.Parallel()
	for _, bad := range []struct {
		config queue.Config
		tells  string
	}{
		{queue.Config{Queues: []string{"turn"}}, `no queue "turn"; queues are turns, lifecycle, gc`},
		{queue.Config{Handlers: map[queue.Kind]queue.Handler{"email": nil}}, `unknown kind "email"; kinds are turn, start`},
		{queue.Config{Concurrency: map[string]int{queue.Turns: -1}}, "turns"},
		{queue.Config{Schema: "a b"}, "Schema"},
		{queue.Config{NodeID: strings.Repeat("x", 101)}, "ID"},
	} {
		if _, err := queue.New(bad.config); err == nil || !contains(err.Error(), bad.tells) {
			t.Errorf("error %v does not tell %q", err, bad.tells)
		}
	}
}
