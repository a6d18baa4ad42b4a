package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/store"
)

// fetchAny takes any River job that is due, as River does; false when there is none.
func (w *world) fetchAny(ctx context.Context) (job int64, args json.RawMessage, found bool) {
	err := w.pool.QueryRow(ctx, `update river_job set state = 'running', attempt = attempt + 1, attempted_at = now()
		where id = (select id from river_job where state = 'available' and queue = 'turns' and scheduled_at <= now()
		            order by priority, scheduled_at, id limit 1 for update skip locked) returning id, args`).Scan(&job, &args)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		w.Error(err)
	}
	return job, args, err == nil
}

// Clients submit, steer and cancel, workers execute, drop and retry turns, leases lapse and are swept, all at once over
// eight sessions. Nobody sees a deadlock or a broken key, and the database is sound at the end.
func TestEverythingAtOnce(t *testing.T) {
	t.Parallel()
	const sessions, rounds = 8, 40
	w := newWorld(t)
	config := w.pool.Config()
	config.MaxConns = 24
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	w.ok(err)
	t.Cleanup(pool.Close)
	w.pool, w.store = pool, store.New(pool)
	w.shift("1 minute") // past the time in which the sweep spares everybody
	ctx := t.Context()

	// allowed reports whether err is an answer that a caller must expect here.
	allowed := func(op string, err error) bool {
		if err != nil && !errors.Is(err, store.ErrFence) && !errors.Is(err, store.ErrConflict) {
			t.Errorf("%s: %v", op, err)
		}
		return err == nil
	}
	var mu sync.Mutex
	var known []string
	anyone := func(r *rand.Rand) string {
		mu.Lock()
		defer mu.Unlock()
		if len(known) == 0 {
			return ""
		}
		return known[r.IntN(len(known))]
	}
	work := func(r *rand.Rand, n store.Node) bool {
		job, args, found := w.fetchAny(ctx)
		if !found {
			return false
		}
		lease := ttl
		if r.IntN(6) == 0 {
			lease = 0 // it lapses at once, and others may take over
		}
		c, err := w.store.Claim(ctx, n, job, args, lease)
		if !allowed("claim", err) || c.Action != store.ActionRun {
			return true
		}
		o := c.Owner()
		for range r.IntN(3) {
			words, err := w.store.Poll(ctx, []store.Owner{o})
			allowed("poll", err)
			b := batch(o, "a", "b")
			for _, word := range words {
				if word.ID != nil {
					b.Applied = append(b.Applied, *word.ID)
				}
			}
			_, err = w.store.Append(ctx, []store.Batch{b})
			allowed("append", err)
		}
		end := completed(o)
		switch r.IntN(8) {
		case 0:
			_, err := w.store.Retry(ctx, o, "again", 0, r.IntN(2) == 0, nil, "", false)
			allowed("retry", err)
		case 1: // dies
			w.exec("update towpath.lease set expires_at = towpath.now() where process_no = $1 and fence = $2", o.No, o.Fence)
		case 2:
			end.Status, end.Kind = "failed", "provider"
			allowed("finish", w.store.Finish(ctx, end))
		default:
			end.Base, end.Keys, end.Values = c.Version, []string{"k"}, [][]byte{[]byte(*c.ProcessID)}
			allowed("finish", w.store.Finish(ctx, end))
		}
		return true
	}

	clients, others := sync.WaitGroup{}, sync.WaitGroup{}
	for s := range sessions {
		clients.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(s)))
			for round := range rounds {
				turn := store.Submission{Profile: "p", Input: fmt.Appendf(nil, `{"round": %d}`, round), Session: fmt.Sprintf("s%d", r.IntN(sessions))}
				switch r.IntN(8) {
				case 0:
					turn.Session = ""
				case 1:
					turn.Input, turn.Session, turn.Key = []byte("{}"), "", fmt.Sprintf("k%d", r.IntN(5))
				case 2:
					args, err := json.Marshal(turn)
					w.ok(err)
					_, err = w.pool.Exec(ctx, "insert into river_job (kind, args) values ('turn', $1)", json.RawMessage(args))
					allowed("insert", err)
					continue
				case 3:
					many := []store.Submission{turn, turn, turn}
					many[1].Session, many[2].Session = "s0", "s7"
					_, err := w.store.SubmitMany(ctx, many)
					allowed("submit many", err)
					continue
				}
				id, err := w.store.Submit(ctx, turn)
				if allowed("submit", err) {
					mu.Lock()
					known = append(known, id)
					mu.Unlock()
				}
				if id := anyone(r); id != "" {
					switch r.IntN(4) {
					case 0:
						_, err := w.store.Cancel(ctx, id, "enough", 0)
						allowed("cancel", err)
					case 1, 2:
						_, err := w.store.Steer(ctx, id, []byte(`{"text": "x"}`), fmt.Sprintf("steer%d", r.IntN(50)))
						if !errors.Is(err, store.ErrIdempotency) {
							allowed("steer", err)
						}
					}
				}
			}
		})
	}
	stop := make(chan struct{})
	for i := range 4 {
		others.Go(func() {
			r, n := rand.New(rand.NewPCG(2, uint64(i))), node(fmt.Sprintf("n%d", i))
			for {
				select {
				case <-stop:
					return
				default:
				}
				if !work(r, n) {
					_, err := w.store.Renew(ctx, n, ttl)
					allowed("renew", err)
				}
			}
		})
	}
	others.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_, err := w.store.Sweep(ctx, ttl, uuid.Nil, 5)
				allowed("sweep", err)
			}
		}
	})
	clients.Wait()
	close(stop)
	others.Wait()
	w.sound()

	// What is left runs to its end.
	n, r := node("last"), rand.New(rand.NewPCG(3, 3))
	for range 10000 {
		w.exec("update river_job set scheduled_at = now(), state = 'available' where state = 'scheduled'")
		if work(r, n) {
			continue
		}
		w.exec("update towpath.lease set expires_at = towpath.now()")
		if ids := w.sweep(); len(ids) == 0 {
			break
		}
	}
	if left := get[int](w, "select count(*) from towpath.process where finalized_at is null"); left != 0 {
		t.Errorf("%d processes never ended", left)
	}
	w.sound()
}

// rows that functions lock, in the one order in which they may: see package sql. %s is a process id.
var lockOrder = []struct{ name, rows string }{
	{"session", "towpath.session where id = (select session_id from towpath.process where id = $1)"},
	{"process", "towpath.process where id = $1"},
	{"inputs", "towpath.input where process_no = (select no from towpath.process where id = $1)"},
	{"River job", "river_job where id = (select river_job_id from towpath.process where id = $1)"},
}

// One session holds a row, another one runs into it: whatever that one holds by then must come before the row.
func TestLocksAreTakenInOneOrder(t *testing.T) {
	t.Parallel()
	running := func(w *world) (string, []any) {
		id := w.submit("s")
		w.submit("s")
		_, err := w.store.Steer(w.Context(), id, []byte("{}"), "")
		w.ok(err)
		o, _ := w.run(id, node("n"))
		return id, []any{o.No, o.Fence}
	}
	queued := func(w *world) (string, []any) { id := w.submit("s"); w.submit("s"); return id, []any{id} }
	for name, op := range map[string]struct {
		set  func(*world) (string, []any)
		call string
		runs []string // the locks that it runs into
	}{
		"cancel a queued turn": {queued, "select towpath.cancel($1)", []string{"session", "process", "inputs", "River job"}},
		"steer":                {queued, "select towpath.steer($1, '{}')", []string{"session", "process"}},
		"finish":               {running, "select towpath.finish($1, $2, 'completed', '{}', base_version => 0)", []string{"session", "process", "inputs", "River job"}},
		"retry":                {running, "select towpath.retry($1, $2, 'x', '0')", []string{"session", "process", "inputs", "River job"}},
		"park":                 {running, "select towpath.park($1, $2, '{}')", []string{"session", "process", "inputs"}},
		"append":               {running, "select * from towpath.append(array[$1::bigint], array[$2::bigint], array[$2::bigint], '{t}', '{\"{}\"}', (select array_agg(id) from towpath.input))", []string{"process", "inputs"}},
		"poll":                 {running, "select * from towpath.poll(array[$1::bigint], array[$2::bigint])", []string{"process", "inputs"}},
		"claim": {func(w *world) (string, []any) {
			id := w.submit("s")
			job, args := w.deliver(id)
			return id, []any{job, args}
		}, "select towpath.claim($1, $2, 'n', gen_random_uuid(), '1 minute')", []string{"session", "process", "inputs"}},
		"claim again of a client's row": {func(w *world) (string, []any) {
			job := get[int64](w, `insert into river_job (kind, args) values ('turn', '{"profile": "p", "input": {}, "session": "s"}') returning id`)
			args := w.fetch(job)
			c := w.claim(node("dead"), job, args)
			w.exec("update towpath.lease set expires_at = towpath.now()")
			return *c.ProcessID, []any{job, args}
		}, "select towpath.claim($1, $2, 'n', gen_random_uuid(), '1 minute')", []string{"session", "process", "inputs", "River job"}},
		"sweep": {func(w *world) (string, []any) {
			id, _ := running(w)
			w.shift("1 minute")
			return id, nil
		}, "select towpath.sweep()", []string{"inputs", "River job"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var ran []string
			for i, held := range lockOrder {
				w.exec("delete from towpath.session_kv; truncate towpath.receipt, towpath.input, towpath.lease, towpath.attempt, towpath.event, towpath.process, towpath.session cascade; delete from river_job")
				id, args := op.set(w)
				holder := w.begin()
				_, err := holder.Exec(t.Context(), "select 1 from "+held.rows+" for no key update", id)
				w.ok(err)
				conn, err := w.pool.Acquire(t.Context())
				w.ok(err)
				done := make(chan error, 1)
				go func() {
					_, err := conn.Exec(t.Context(), op.call, args...)
					done <- err
				}()
				if waits, err := w.blocked(holder, conn, done); waits {
					ran = append(ran, held.name)
					for _, later := range lockOrder[i+1:] {
						query := "select (select count(*) from " + later.rows + ") - (select count(*) from (select 1 from " + later.rows + " for no key update skip locked) free)"
						if locked := get[int](w, query, id); locked != 0 {
							t.Errorf("waits for %s and holds %d rows of %s", held.name, locked, later.name)
						}
					}
					w.ok(holder.Rollback(t.Context()))
					w.ok(<-done)
				} else {
					w.ok(err)
					w.ok(holder.Rollback(t.Context()))
				}
				conn.Release()
				w.sound()
			}
			if !slices.Equal(ran, op.runs) {
				t.Errorf("runs into %v, want %v", ran, op.runs)
			}
		})
	}
}

// blocked waits until a connection waits for the holder, or its call has ended. (Commits also wait for each other, for
// the sake of NOTIFY.)
func (w *world) blocked(holder pgx.Tx, conn *pgxpool.Conn, done <-chan error) (bool, error) {
	w.Helper()
	for {
		select {
		case err := <-done:
			return false, err
		default:
		}
		if get[bool](w, "select $1 = any(pg_blocking_pids($2)) from pg_sleep(0.005)", int32(holder.Conn().PgConn().PID()), int32(conn.Conn().PgConn().PID())) {
			return true, nil
		}
	}
}

// behind calls sql in a second session while the first is in a transaction: it must wait for that one, which commits
// then, and end with the code that is wanted ("" is no error).
func (w *world) behind(first pgx.Tx, want, sql string, args ...any) {
	w.Helper()
	conn, err := w.pool.Acquire(w.Context())
	w.ok(err)
	defer conn.Release()
	done := make(chan error, 1)
	go func() {
		_, err := conn.Exec(w.Context(), sql, args...)
		done <- err
	}()
	if waits, err := w.blocked(first, conn, done); !waits {
		w.Fatalf("%s %v did not wait: %v", sql, args, err)
	}
	w.ok(first.Commit(w.Context()))
	if err := <-done; code(err) != want {
		w.Errorf("%s %v, behind the first: got %v, want %q", sql, args, err, want)
	}
}

// A head that is finished and a turn that is submitted behind it meet: the new turn is not forgotten.
func TestASubmitWaitsForTheEndOfTheTurnBeforeIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o, _ := w.run(w.submit("s"), node("n"))
	tx := w.begin()
	_, err := tx.Exec(t.Context(), "select towpath.finish($1, $2, 'completed', '{}')", o.No, o.Fence)
	w.ok(err)
	conn, err := w.pool.Acquire(t.Context())
	w.ok(err)
	defer conn.Release()
	done := make(chan error, 1)
	var id string
	go func() { done <- conn.QueryRow(t.Context(), "select towpath.submit('p', '{}', 's')").Scan(&id) }()
	if waits, err := w.blocked(tx, conn, done); !waits {
		t.Fatalf("submit did not wait: %v", err)
	}
	w.ok(tx.Commit(t.Context()))
	w.ok(<-done)
	if jobs := w.live(id); jobs != 1 {
		t.Errorf("the new turn has %d River jobs", jobs)
	}
	w.sound()
}

// An append that waited for a takeover sees it: the lease is read after the lock.
func TestAnAppendThatWaitedForATakeoverWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("")
	job, args := w.deliver(id)
	c := w.claim(node("old"), job, args)
	old := c.Owner()
	w.exec("update towpath.lease set expires_at = towpath.now() + interval '1 hour'")
	tx := w.begin()
	// The takeover of a node that is known to have died, with a lease that still has time.
	_, err := tx.Exec(t.Context(), "select towpath.sweep('30 seconds', (select incarnation from towpath.lease))")
	w.ok(err)
	conn, err := w.pool.Acquire(t.Context())
	w.ok(err)
	defer conn.Release()
	done := make(chan error, 1)
	rows := -1
	go func() {
		done <- conn.QueryRow(t.Context(), "select count(*) from towpath.append(array[$1::bigint], array[$2::bigint], array[$2::bigint], '{text}', '{\"{}\"}')", old.No, old.Fence).Scan(&rows)
	}()
	if waits, err := w.blocked(tx, conn, done); !waits {
		t.Fatalf("append did not wait: %v", err)
	}
	w.ok(tx.Commit(t.Context()))
	w.ok(<-done)
	if rows != 0 {
		t.Errorf("a zombie wrote to %d processes", rows)
	}
	w.log(id, "process.queued", "process.started", "process.requeued")
	w.sound()
}
