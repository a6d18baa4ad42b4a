package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/queue/queuetest"
	"github.com/towpath/towpath/store"
)

const ttl = 30 * time.Second

// world is a database with profile p (three attempts), and River played by hand: deliver hands a job out as River's
// fetch does.
type world struct {
	testing.TB
	pool  *pgxpool.Pool
	store *store.Store
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	pool := queuetest.Pool(tb)
	w := &world{TB: tb, pool: pool, store: store.New(pool)}
	w.profile("p", 3)
	return w
}

func (w *world) profile(name string, attempts int) {
	w.Helper()
	w.ok(w.store.PutProfile(w.Context(), store.Profile{Name: name, Digest: "d", Manifest: []byte("{}"), Limits: []byte("{}"),
		MaxAttempts: attempts, TurnTimeout: time.Minute}, "n"))
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) exec(sql string, args ...any) {
	w.Helper()
	if _, err := w.pool.Exec(w.Context(), sql, args...); err != nil {
		w.Fatalf("%s: %v", sql, err)
	}
}

func get[T any](w *world, sql string, args ...any) T {
	w.Helper()
	rows, err := w.pool.Query(w.Context(), sql, args...)
	if err == nil {
		var v T
		if v, err = pgx.CollectExactlyOneRow(rows, pgx.RowTo[T]); err == nil {
			return v
		}
	}
	w.Fatalf("%s: %v", sql, err)
	panic("unreachable")
}

// submit stores a turn in a session ("" is a new one).
func (w *world) submit(session string) string {
	w.Helper()
	id, err := w.store.Submit(w.Context(), store.Submission{Profile: "p", Input: []byte(`{"text": "hi"}`), Session: session})
	w.ok(err)
	return id
}

// deliver fetches a process's River job as River does.
func (w *world) deliver(id string) (job int64, args json.RawMessage) {
	w.Helper()
	job = get[int64](w, "select river_job_id from towpath.process where id = $1", id)
	return job, w.fetch(job)
}

func (w *world) fetch(job int64) json.RawMessage {
	w.Helper()
	return get[json.RawMessage](w, `update river_job set state = 'running', attempt = attempt + 1, attempted_at = now()
		where id = $1 and state = 'available' returning args`, job)
}

func node(name string) store.Node { return store.Node{ID: name, Incarnation: uuid.New()} }

func (w *world) claim(n store.Node, job int64, args json.RawMessage) store.Claim {
	w.Helper()
	c, err := w.store.Claim(w.Context(), n, job, args, ttl)
	w.ok(err)
	return c
}

// run delivers a process's job to a node, which must get the lease.
func (w *world) run(id string, n store.Node) (store.Owner, store.Claim) {
	w.Helper()
	job, args := w.deliver(id)
	c := w.claim(n, job, args)
	if c.Action != store.ActionRun || *c.ProcessID != id {
		detail := ""
		if c.Detail != nil {
			detail = *c.Detail
		}
		w.Fatalf("claim of %s: %s %s", id, c.Action, detail)
	}
	return c.Owner(), c
}

// say appends text events.
func (w *world) say(o store.Owner, texts ...string) {
	w.Helper()
	stored, err := w.store.Append(w.Context(), []store.Batch{batch(o, texts...)})
	w.ok(err)
	if _, ours := stored[o.No]; !ours {
		w.Fatalf("events of %v were dropped", o)
	}
}

func batch(o store.Owner, texts ...string) store.Batch {
	b := store.Batch{Owner: o}
	for _, text := range texts {
		data, _ := json.Marshal(map[string]string{"text": text}) // strings always marshal
		b.Types, b.Data = append(b.Types, "text"), append(b.Data, string(data))
	}
	return b
}

// complete ends a turn well, without touching its session.
func (w *world) complete(o store.Owner) {
	w.Helper()
	w.ok(w.store.Finish(w.Context(), completed(o)))
}

func completed(o store.Owner) store.End {
	return store.End{Batch: store.Batch{Owner: o}, Status: "completed", Outcome: []byte(`{"text": "done"}`)}
}

func (w *world) process(id string) store.Process {
	w.Helper()
	p, err := w.store.Process(w.Context(), id)
	w.ok(err)
	return p
}

func (w *world) status(id string, want string) {
	w.Helper()
	if p := w.process(id); p.Status != want {
		w.Errorf("process %s is %s with outcome %s, want %s", id, p.Status, p.Outcome, want)
	}
}

// types are the event types of a process.
func (w *world) types(id string) []string {
	w.Helper()
	return get[[]string](w, `select array_agg(e.type order by e.seq) from towpath.events($1) e`, id)
}

func (w *world) log(id string, want ...string) {
	w.Helper()
	if got := w.types(id); !slices.Equal(got, want) {
		w.Errorf("log of %s is %v, want %v", id, got, want)
	}
}

// shift moves the database's clock for towpath, not for River.
func (w *world) shift(by string) {
	w.Helper()
	w.exec("insert into towpath.clock (shift) values ($1::text::interval) on conflict (one) do update set shift = clock.shift + excluded.shift", by)
}

// live is how many River jobs may still run for a process.
func (w *world) live(id string) int {
	w.Helper()
	return get[int](w, `select count(*) from river_job where args ->> 'process_id' = $1 and finalized_at is null`, id)
}

// jobState is the state of a process's River job.
func (w *world) jobState(id string) string {
	w.Helper()
	return get[string](w, "select j.state::text from river_job j join towpath.process p on p.river_job_id = j.id where p.id = $1", id)
}

// sound fails if any rule between the tables is broken.
func (w *world) sound() {
	w.Helper()
	rows, err := w.pool.Query(w.Context(), "select rule || ': ' || subject || ': ' || detail from towpath.check()")
	w.ok(err)
	broken, err := pgx.CollectRows(rows, pgx.RowTo[string])
	w.ok(err)
	if len(broken) > 0 {
		w.Errorf("broken rules:\n%s", strings.Join(broken, "\n"))
	}
}

// refused checks that an error is ours, is the sentinel, and says what the text says.
func (w *world) refused(err error, sentinel error, text string) {
	w.Helper()
	var e *store.Error
	if !errors.Is(err, sentinel) || !errors.As(err, &e) || !store.Refused(err) {
		w.Errorf("got error %v, want %v", err, sentinel)
		return
	}
	if !strings.Contains(e.Message+" "+e.Hint, text) {
		w.Errorf("error %q with hint %q does not say %q", e.Message, e.Hint, text)
	}
}

// at is a database connection of its own, rolled back at the end of the test: the second session of a story.
func (w *world) begin() pgx.Tx {
	w.Helper()
	tx, err := w.pool.Begin(w.Context())
	w.ok(err)
	w.Cleanup(func() { _ = tx.Rollback(context.Background()) }) // the pool does not close before
	return tx
}

func (w *world) start(n store.Node, version, host string, pid int, queues []string) {
	w.Helper()
	_, err := w.store.StartNode(w.Context(), n, version, host, pid, queues)
	w.ok(err)
}
