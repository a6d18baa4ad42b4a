package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker"
	"github.com/towpath/towpath/worker/storage"
)

const (
	eventsOfTurn = 100
	keptOfFive   = 1 // of five turns in a row one stays
)

// retention is the suite retention: how soon a database and a disk are small again, and what live turns feel of it.
func retention(ctx context.Context, o Options, emit func(Row)) (err error) {
	s, err := startServer(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := growth(ctx, s, emit); err != nil {
		return err
	}
	if err := pruning(ctx, o, s, emit); err != nil {
		return err
	}
	return collecting(ctx, o, s, emit)
}

// growth measures what a turn with two events of its own, in a new session, adds to each table, indexes included.
func growth(ctx context.Context, s *server, emit func(Row)) error {
	pool, err := s.open(ctx, "growth")
	if err != nil {
		return err
	}
	defer pool.Close()
	l, err := newLane(ctx, pool, 1)
	if err != nil {
		return err
	}
	const turns = 3000
	for range turns {
		if _, err := l.turn(ctx); err != nil {
			return err
		}
	}
	if err := vacuum(ctx, pool); err != nil {
		return err
	}
	rows, err := pool.Query(ctx, `select c.relname::text, pg_total_relation_size(c.oid) / $1::float from pg_class c
		where c.relkind = 'r' and (c.relnamespace = 'towpath'::regnamespace or c.relname = 'river_job') and c.reltuples > $1 / 2 order by 2 desc`, turns)
	if err != nil {
		return err
	}
	var name string
	var bytes float64
	_, err = pgx.ForEachRow(rows, []any{&name, &bytes}, func() error {
		emit(Row{Name: "turn_adds_to_" + name, Unit: "B", Value: bytes})
		return nil
	})
	return err
}

// pruning prunes a million events of ten thousand turns while turns run, and loads them again.
func pruning(ctx context.Context, o Options, s *server, emit func(Row)) error {
	pool, err := s.open(ctx, "retention")
	if err != nil {
		return err
	}
	defer pool.Close()
	turns := o.Turns
	if turns == 0 {
		turns = 10_000
	}
	all := turns * 5 / (5 - keptOfFive)
	if err := load(ctx, pool, 0, all); err != nil {
		return err
	}
	before, err := size(ctx, pool)
	if err != nil {
		return err
	}
	emit(Row{Name: "turn_of_100_events_bytes", Unit: "B", Value: before / float64(all)})

	db := store.New(pool)
	l, err := newLane(ctx, pool, 4)
	if err != nil {
		return err
	}
	quiet, err := l.work(ctx, func(ctx context.Context) error { return sleep(ctx, 10*time.Second) })
	if err != nil {
		return err
	}
	var counts store.Pruned
	var took time.Duration
	busy, err := l.work(ctx, func(ctx context.Context) (err error) {
		began := time.Now()
		counts, err = db.Prune(ctx, store.Prune{})
		took = time.Since(began)
		return err
	})
	if err != nil {
		return err
	}
	if counts["processes"] != int64(turns) || counts["events"] != int64(turns*eventsOfTurn) {
		return fmt.Errorf("pruned are %v, not %d turns", counts, turns)
	}
	// The plainest way to be rid of as many rows: one DELETE of the events alone.
	plain, err := deletion(ctx, s, all)
	if err != nil {
		return err
	}
	emit(Row{Name: "prune_1m_events_s", Unit: "s", Value: took.Seconds(), Baseline: plain})
	emit(Row{Name: "prune_submit_p99_ms", Unit: "ms", Value: percentile(busy, 0.99), Baseline: percentile(quiet, 0.99)})

	// The turns that ran meanwhile are no part of what is compared.
	if err := l.forget(ctx); err != nil {
		return err
	}
	// What autovacuum and the job prune do by themselves, now.
	if err := vacuum(ctx, pool); err != nil {
		return err
	}
	began := time.Now()
	if _, err := db.Reindex(ctx, store.ThinIndexBytes); err != nil {
		return err
	}
	emit(Row{Name: "prune_reindex_s", Unit: "s", Value: time.Since(began).Seconds()})
	if err := load(ctx, pool, all, turns); err != nil {
		return err
	}
	after, err := size(ctx, pool)
	if err != nil {
		return err
	}
	emit(Row{Name: "prune_reload_size_bytes", Unit: "B", Value: after, Baseline: before})
	return nil
}

// load stores turns that have ended, a hundred events each: of five in a row one has just ended, the others long ago. It
// writes rows as the functions do, by thousands.
func load(ctx context.Context, pool *pgxpool.Pool, from, n int) error {
	_, err := pool.Exec(ctx, fmt.Sprintf(`begin; set local session_replication_role = replica;
		select towpath.profile_put('bench', 'd', '{}', '{}', 3, '1 minute', 'n');
		insert into towpath.session (id, tenant, project, profile, next_turn, next_input, created_at, updated_at)
		select 's' || k, 'default', 'default', 'bench', 1000000, 1000000, towpath.now() - interval '40 days', towpath.now() from generate_series(0, 99) k on conflict do nothing;
		create temporary table batch on commit drop as select nextval('towpath.process_no_seq') as no, k from generate_series(%[1]d, %[1]d + %[2]d - 1) k;
		insert into towpath.process (id, no, class, disposition, tenant, project, profile, session_id, turn_no, request_digest, status, generation, attempt, attempts_spent,
			max_attempts, outcome, last_seq, created_at, updated_at, finalized_at) overriding system value
		select 'b' || k, no, 'turn', 'rerunnable', 'default', 'default', 'bench', 's' || k %% 100, k / 100, sha256('x'), 'completed', 1, 1, 1,
			3, '{"text": "done"}', %[3]d, t.at, t.at, t.at
		from batch, lateral (select towpath.now() - case when k %% 5 < %[4]d then interval '1 minute' else interval '35 days' end as at) t;
		insert into towpath.event (process_no, seq, type, data, fence, at)
		select no, e, case e when 1 then 'process.queued' when 2 then 'process.started' when %[3]d then 'process.completed' else 'message.delta' end,
			jsonb_build_object('text', repeat('word ', 4 + e %% 20)), no, towpath.now() from batch, generate_series(1, %[3]d) e;
		insert into towpath.attempt (process_no, attempt, node_id, incarnation, fence, first_seq, started_at, ended_at, end_reason)
		select no, 1, 'n', gen_random_uuid(), no, 2, towpath.now(), towpath.now(), 'completed' from batch;
		insert into towpath.input (id, session_id, seq, process_no, kind, phase, payload, digest, created_at, updated_at, finalized_at)
		select 'bi' || k, 's' || k %% 100, k, no, 'turn', 'consumed', '{"text": "please do what I say"}', sha256('x'), towpath.now(), towpath.now(), towpath.now() from batch;
		insert into towpath.receipt (process_no, seq, session_id, session_version, input_ids, digest, fence, at)
		select no, 1, 's' || k %% 100, k, array['bi' || k], sha256('x'), no, towpath.now() from batch;
		commit; analyze`, from, n, eventsOfTurn, keptOfFive))
	if err != nil {
		return fmt.Errorf("load %d turns: %w", n, err)
	}
	return nil
}

// size is that of all tables of the schema, indexes included.
func size(ctx context.Context, pool *pgxpool.Pool) (bytes float64, err error) {
	err = pool.QueryRow(ctx, `select sum(pg_total_relation_size(c.oid)) from pg_class c where c.relnamespace = 'towpath'::regnamespace and c.relkind = 'r'`).Scan(&bytes)
	return bytes, err
}

func vacuum(ctx context.Context, pool *pgxpool.Pool) error {
	_, err := pool.Exec(ctx, "vacuum (analyze)")
	return err
}

// deletion measures one DELETE of the events of as many turns, in a database of their own.
func deletion(ctx context.Context, s *server, all int) (seconds float64, err error) {
	pool, err := s.open(ctx, "deletion")
	if err != nil {
		return 0, err
	}
	defer pool.Close()
	if err := load(ctx, pool, 0, all); err != nil {
		return 0, err
	}
	began := time.Now()
	_, err = pool.Exec(ctx, `delete from towpath.event e using towpath.process p where p.no = e.process_no and p.finalized_at < towpath.now() - interval '30 days'`)
	return time.Since(began).Seconds(), err
}

// lane runs turns through the functions of a node, without guests: submit, claim, two events, end.
type lane struct {
	store *store.Store
	node  store.Node
	pool  *pgxpool.Pool
	width int
}

func newLane(ctx context.Context, pool *pgxpool.Pool, width int) (*lane, error) {
	l := &lane{store: store.New(pool), node: store.Node{ID: "bench", Incarnation: uuid.New()}, pool: pool, width: width}
	_, err := l.store.StartNode(ctx, l.node, "bench", "bench", os.Getpid(), []string{"turns"})
	if err == nil {
		_, err = pool.Exec(ctx, "select towpath.profile_put('bench', 'd', '{}', '{}', 3, '1 minute', 'n')")
	}
	return l, err
}

// work runs turns while during does, and returns how long each submit took, in milliseconds.
func (l *lane) work(ctx context.Context, during func(context.Context) error) ([]float64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		mu     sync.Mutex
		took   []float64
		errs   []error
		active sync.WaitGroup
		done   = make(chan struct{})
	)
	for range l.width {
		active.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				ms, err := l.turn(ctx)
				mu.Lock()
				took = append(took, ms)
				if err != nil {
					errs = append(errs, err)
				}
				mu.Unlock()
				if err != nil {
					cancel()
					return
				}
			}
		})
	}
	err := during(ctx)
	close(done)
	active.Wait()
	return took, errors.Join(append(errs, err)...)
}

func (l *lane) turn(ctx context.Context) (ms float64, err error) {
	began := time.Now()
	id, err := l.store.Submit(ctx, store.Submission{Profile: "bench", Input: []byte(`{"text": "hi"}`), Options: []byte(`{"tenant": "lane"}`)})
	ms = time.Since(began).Seconds() * 1000
	if err != nil {
		return ms, err
	}
	var job int64
	if err := l.pool.QueryRow(ctx, "update river_job j set state = 'running', attempt = 1, attempted_at = now() from towpath.process p where p.id = $1 and j.id = p.river_job_id returning j.id", id).Scan(&job); err != nil {
		return ms, err
	}
	c, err := l.store.Claim(ctx, l.node, job, fmt.Appendf(nil, `{"process_id": %q, "generation": 1}`, id), 30*time.Second)
	if err != nil || c.Action != store.ActionRun {
		return ms, errors.Join(err, fmt.Errorf("claim of %s: %s", id, c.Action))
	}
	return ms, l.store.Finish(ctx, store.End{Status: "completed", Outcome: []byte(`{}`), Batch: store.Batch{
		Owner: c.Owner(), Types: []string{"message.delta", "message"}, Data: []string{`{"text": "hello"}`, `{"text": "hello"}`},
	}})
}

// forget prunes the lane's own turns.
func (l *lane) forget(ctx context.Context) error {
	now, err := l.store.Now(ctx)
	if err == nil {
		_, err = l.store.Prune(ctx, store.Prune{Cutoff: &now, Filter: []byte(`{"tenant": "lane"}`)})
	}
	if err == nil {
		_, err = l.pool.Exec(ctx, "delete from towpath.tombstone where tenant = 'lane'")
	}
	return err
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// collecting collects ten thousand directories whose sessions are past retention.
func collecting(ctx context.Context, o Options, s *server, emit func(Row)) error {
	pool, err := s.open(ctx, "collect")
	if err != nil {
		return err
	}
	defer pool.Close()
	root, err := storage.Open(filepath.Join(s.dir, "files"), false, 0)
	if err != nil {
		return err
	}
	defer root.Close()
	const dirs = 10_000
	names := make([]string, dirs)
	for i := range names {
		session := fmt.Sprintf("s%d", i)
		names[i] = storage.Name(session)
		path, err := root.Dir(session)
		if err == nil {
			err = os.WriteFile(filepath.Join(path, "notes.txt"), []byte("hello"), 0o600)
		}
		if err != nil {
			return err
		}
	}
	_, err = pool.Exec(ctx, `select towpath.profile_put('bench', 'd', '{}', '{}', 3, '1 minute', 'n')`)
	if err == nil {
		_, err = pool.Exec(ctx, `select towpath.session_put('s' || k - 1, 'bench'), towpath.storage_put('s' || k - 1, 'dir', $1, false, n)
			from unnest($2::text[]) with ordinality u(n, k)`, root.ID, names)
	}
	if err == nil {
		_, err = pool.Exec(ctx, "insert into towpath.clock (shift) values ('31 days')")
	}
	if err != nil {
		return err
	}
	plain, err := removal(s.dir, dirs)
	if err != nil {
		return err
	}
	temp := filepath.Join(s.dir, "tmp")
	if err := os.Mkdir(temp, 0o700); err != nil {
		return err
	}
	began := time.Now()
	done, err := worker.Collect(ctx, store.New(pool), store.Node{ID: "bench", Incarnation: uuid.New()}, root, temp, slog.New(slog.DiscardHandler))
	took := time.Since(began)
	if err != nil || done.Evicted != dirs {
		return errors.Join(err, fmt.Errorf("collected %+v", done))
	}
	emit(Row{Name: "gc_10k_dirs_s", Unit: "s", Value: took.Seconds(), Baseline: plain})
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	emit(Row{Name: "gc_10k_dirs_MiB", Unit: "MiB", Value: float64(m.Sys) / (1 << 20)})
	return nil
}

// removal measures os.RemoveAll of as many directories.
func removal(dir string, n int) (seconds float64, err error) {
	base := filepath.Join(dir, "plain")
	for i := range n {
		path := filepath.Join(base, fmt.Sprint(i))
		if err := os.MkdirAll(path, 0o700); err != nil {
			return 0, err
		}
		if err := os.WriteFile(filepath.Join(path, "notes.txt"), []byte("hello"), 0o600); err != nil {
			return 0, err
		}
	}
	began := time.Now()
	err = os.RemoveAll(base)
	return time.Since(began).Seconds(), err
}
