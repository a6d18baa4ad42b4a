// Package storebench measures what the process model costs, each figure beside the plainest statements that could do the
// same.
//
//	append_rows_per_s       events in batches of 20, one batch a transaction, from four executors at once.
//	                        Baseline: INSERT of such rows into a table with the same key, batch by batch
//	claim_finish_per_s      claim and completion of an operation that does nothing, from four executors.
//	                        Baseline: two commits of one UPDATE each
//	claim_finish_rows_per_s the same. Baseline: two commits of the rows that a claim and an end store, with their indexes
//	                        and without any rule
//	claim_finish_1ms_per_s  the same as the first, with its baseline, where each flush of the server's log takes a millisecond
//	                        more, as on a disk behind a network. The server waits before it flushes, which takes a superuser
//
// Run writes to the database that it is given, which must be migrated and nobody's.
package storebench

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/towpath/towpath/store"
)

// Row is one figure. Ratio is Value over Baseline.
type Row struct {
	Name     string
	Value    float64
	Unit     string
	Baseline float64
	Ratio    float64
}

const (
	executors = 4
	batches   = 200 // per executor
	batch     = 20  // events
	noops     = 200 // per executor
	warmUp    = 20  // of each, uncounted: a connection plans our statements at their first use, once for its life
	ttl       = time.Minute
)

var payload = `{"text": "a sentence of a model's answer, of the length that such sentences have in most languages, or so"}`

// Run measures for about ten seconds.
func Run(ctx context.Context, pool *pgxpool.Pool) ([]Row, error) {
	b := bench{pool: pool, store: store.New(pool), node: store.Node{ID: "bench", Incarnation: uuid.New()}}
	if _, err := pool.Exec(ctx, `create table if not exists bench_event (no bigint, seq bigint, type text, data jsonb, at timestamptz, primary key (no, seq));
		create table if not exists bench_row (id int primary key, n int); truncate bench_event, bench_row`); err != nil {
		return nil, fmt.Errorf("storebench: %w", err)
	}
	var rows []Row
	for _, m := range []struct {
		name       string
		work, base func(ctx context.Context, executor, n int) (int, error)
		n          int
		setUp      func(context.Context) error
	}{
		{"append_rows_per_s", b.appendEvents, b.insertEvents, batches, b.setUpAppend},
		{"claim_finish_per_s", b.claimFinish, b.twoCommits, noops, b.setUpNoops},
	} {
		if err := m.setUp(ctx); err != nil {
			return nil, fmt.Errorf("storebench: %s: %w", m.name, err)
		}
		if _, err := rate(ctx, warmUp, m.work); err != nil {
			return nil, fmt.Errorf("storebench: %s: %w", m.name, err)
		}
		base, err := rate(ctx, m.n, m.base)
		if err != nil {
			return nil, fmt.Errorf("storebench: baseline of %s: %w", m.name, err)
		}
		value, err := rate(ctx, m.n, m.work)
		if err != nil {
			return nil, fmt.Errorf("storebench: %s: %w", m.name, err)
		}
		rows = append(rows, Row{Name: m.name, Value: value, Unit: "1/s", Baseline: base, Ratio: value / base})
	}
	plain, err := b.plainRows(ctx)
	if err != nil {
		return nil, fmt.Errorf("storebench: baseline of claim_finish_rows_per_s: %w", err)
	}
	value := rows[len(rows)-1].Value
	rows = append(rows, Row{Name: "claim_finish_rows_per_s", Value: value, Unit: "1/s", Baseline: plain, Ratio: value / plain})
	slow, err := b.slowDisk(ctx)
	if err != nil {
		return nil, fmt.Errorf("storebench: claim_finish_1ms_per_s: %w", err)
	}
	rows = append(rows, slow)
	if _, err := pool.Exec(ctx, "drop table bench_event, bench_row"); err != nil {
		return nil, fmt.Errorf("storebench: %w", err)
	}
	return rows, nil
}

// rate is how many things a second the executors did together.
func rate(ctx context.Context, each int, work func(context.Context, int, int) (int, error)) (float64, error) {
	var done atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	for i := range executors {
		g.Go(func() error {
			n, err := work(ctx, i, each)
			done.Add(int64(n))
			return err
		})
	}
	err := g.Wait()
	return float64(done.Load()) / time.Since(began).Seconds(), err
}

type bench struct {
	pool   *pgxpool.Pool
	store  *store.Store
	node   store.Node
	owners []store.Owner
	ids    [][]string
}

func (b *bench) start(ctx context.Context) (string, error) {
	return b.store.Start(ctx, store.Start{Class: "operation", Disposition: "rerunnable", Options: store.StartOptions{Env: json.RawMessage("{}")}})
}

func (b *bench) setUpAppend(ctx context.Context) error {
	for range executors {
		id, err := b.start(ctx)
		if err != nil {
			return err
		}
		l, err := b.store.ClaimProcess(ctx, id, b.node, ttl, 0)
		if err != nil {
			return err
		}
		b.owners = append(b.owners, l.Owner())
	}
	return nil
}

func (b *bench) appendEvents(ctx context.Context, i, batches int) (int, error) {
	owned := store.Batch{Owner: b.owners[i]}
	for range batch {
		owned.Types, owned.Data = append(owned.Types, "message.delta"), append(owned.Data, payload)
	}
	for n := range batches {
		stored, err := b.store.Append(ctx, []store.Batch{owned})
		if err != nil {
			return n * batch, err
		}
		if len(stored) != 1 {
			return n * batch, fmt.Errorf("batch %d was dropped", n)
		}
	}
	return batches * batch, nil
}

func (b *bench) insertEvents(ctx context.Context, i, batches int) (int, error) {
	for n := range batches {
		_, err := b.pool.Exec(ctx, `insert into bench_event select $1, $2::bigint * $3 + g, 'message.delta', $4::jsonb, clock_timestamp()
			from generate_series(1, $3::bigint) g`, i, n, batch, payload)
		if err != nil {
			return n * batch, err
		}
	}
	return batches * batch, nil
}

func (b *bench) setUpNoops(ctx context.Context) error {
	b.ids = make([][]string, executors)
	for i := range b.ids {
		for range warmUp + noops {
			id, err := b.start(ctx)
			if err != nil {
				return err
			}
			b.ids[i] = append(b.ids[i], id)
		}
	}
	_, err := b.pool.Exec(ctx, "insert into bench_row select g, 0 from generate_series(0, $1::int - 1) g on conflict do nothing", executors)
	return err
}

func (b *bench) claimFinish(ctx context.Context, i, noops int) (int, error) {
	end := store.Completion{Status: "completed", Outcome: json.RawMessage("{}"), Key: "done"}
	ids := b.ids[i][:noops]
	b.ids[i] = b.ids[i][noops:]
	for n, id := range ids {
		l, err := b.store.ClaimProcess(ctx, id, b.node, ttl, 0)
		if err != nil {
			return n, err
		}
		if err := b.store.Complete(ctx, l.Owner(), end); err != nil {
			return n, err
		}
	}
	return noops, nil
}

func (b *bench) twoCommits(ctx context.Context, i, noops int) (int, error) {
	for n := range noops {
		for range 2 {
			if _, err := b.pool.Exec(ctx, "update bench_row set n = n + 1 where id = $1", i); err != nil {
				return n, err
			}
		}
	}
	return noops, nil
}
