package queue_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/towpath/towpath/queue"
	"github.com/towpath/towpath/queue/queuetest"
)

func TestGoAndSQLAgreeOnKindsAndQueues(t *testing.T) {
	t.Parallel()
	pool := queuetest.Pool(t)
	for _, kind := range queue.Kinds() {
		if sql := get[string](t, pool, "select coalesce(towpath.queue_of($1), '')", kind); sql != kind.Queue() || !slices.Contains(queue.Queues(), sql) {
			t.Errorf("queue of %s is %q in Go and %q in SQL", kind, kind.Queue(), sql)
		}
	}
	if queue := queue.Kind("email").Queue(); queue != "" {
		t.Errorf("a stranger's kind has queue %q", queue)
	}
}

// Rows that River's table would take, and that would then stop a queue, all rescue, or nobody ever see. Each is refused,
// and a job that comes after runs.
func TestMalformedRowsAreRefusedAndOthersRun(t *testing.T) {
	t.Parallel()
	const check, ours = "23514", "TW400"
	pool := queuetest.Pool(t)
	ran := make(chan queue.Job)
	start(t, pool, queue.Config{Handlers: map[queue.Kind]queue.Handler{queue.Turn: send(ran)}})
	for _, row := range []struct{ name, insert, code, hint string }{
		{"metadata array", `(kind, args, metadata) values ('turn', '{}', '[]')`, check, ""},
		{"metadata string", `(kind, args, metadata) values ('turn', '{}', '"x"')`, check, ""},
		{"metadata null", `(kind, args, metadata) values ('turn', '{}', 'null')`, check, ""},
		{"unique among available only", `(kind, args, unique_key, unique_states) values ('turn', '{}', 'k', B'00000001')`, check, ""},
		{"unique among running only", `(kind, args, unique_key, unique_states) values ('turn', '{}', 'k', B'01000000')`, check, ""},
		{"unique without running", `(kind, args, unique_key, unique_states) values ('turn', '{}', 'k', B'10110101')`, check, ""},
		{"args array", `(kind, args) values ('turn', '[]')`, check, ""},
		{"args string", `(kind, args) values ('turn', '"x"')`, check, ""},
		{"args number", `(kind, args) values ('turn', '1')`, check, ""},
		{"args null", `(kind, args) values ('turn', 'null')`, check, ""},
		{"args too big", `(kind, args) values ('turn', jsonb_build_object('x', (select string_agg(gen_random_uuid()::text, '') from generate_series(1, 120000))))`, check, ""},
		{"unknown kind", `(kind, args) values ('email', '{}')`, ours, "kinds are turn, start"},
		{"kind with a space", `(kind, args) values ('my turn', '{}')`, ours, "kinds are turn, start"},
		{"another kind's queue", `(kind, args, queue) values ('turn', '{}', 'lifecycle')`, ours, `use queue "turns", or leave it out`},
		{"a queue that nobody works", `(kind, args, queue) values ('start', '{}', 'starts')`, ours, `use queue "lifecycle", or leave it out`},
		{"no name for a queue", `(kind, args, queue) values ('start', '{}', 'Bad Queue!')`, ours, `use queue "lifecycle", or leave it out`},
	} {
		_, err := pool.Exec(t.Context(), "insert into river_job "+row.insert)
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != row.code || !contains(pg.Hint, row.hint) {
			t.Errorf("%s: got error %v", row.name, err)
		}
		exec(t, pool, "insert into river_job (kind, args) values ('turn', '{}')")
		<-ran
	}
	// The same rows by a later UPDATE, as a person repairing things might write it.
	exec(t, pool, "insert into river_job (kind, args) values ('turn', '{}')")
	<-ran
	for set, code := range map[string]string{
		"metadata = '[]'": check, "args = '[]'": check, "unique_states = B'00000001'": check, "queue = 'Bad Queue!'": ours, "queue = 'gc'": ours, "kind = 'my turn'": "TW403",
	} {
		_, err := pool.Exec(t.Context(), "update river_job set "+set)
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != code {
			t.Errorf("update %s: got error %v", set, err)
		}
	}
}
