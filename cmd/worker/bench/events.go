package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	eventsPerTurn = 100
	eventBytes    = 200
)

// events measures how fast turns that do nothing but speak are stored.
func events(ctx context.Context, o Options, s *server, emit func(Row)) (err error) {
	pool, err := s.open(ctx, "events")
	if err != nil {
		return err
	}
	defer pool.Close()
	wasm := assemble("burst", eventsPerTurn, eventBytes)
	// A first node registers the profile, compiles the plugin, and runs turns that do not count: a connection plans each
	// statement of ours at its first use, once for its life.
	n, err := startNode(ctx, o, pool, s.dir, "burst", wasm)
	if err != nil {
		return err
	}
	var warm int64
	err = errors.Join(burst(ctx, pool, o.Turns), pool.QueryRow(ctx, "select max(no) from towpath.process").Scan(&warm), n.stop())
	if err != nil {
		return err
	}
	turns := 4 * o.Turns
	if _, err := pool.Exec(ctx, "select count(towpath.submit('burst', '{}')) from generate_series(1, $1)", turns); err != nil {
		return err
	}
	if n, err = startNode(ctx, o, pool, s.dir, "burst", wasm); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	if err := settled(ctx, pool); err != nil {
		return err
	}
	var rows, bad int
	var took time.Duration
	// From the first claim to the last end, by the database's clock.
	err = pool.QueryRow(ctx, `select (select count(*) from towpath.event where type = 'message.delta' and process_no > $1),
		count(*) filter (where status <> 'completed'), max(finalized_at) - min((first_started ->> 'at')::timestamptz)
		from towpath.process where no > $1`, warm).Scan(&rows, &bad, &took)
	if err != nil {
		return err
	}
	if bad > 0 || rows != turns*eventsPerTurn {
		return fmt.Errorf("%d of %d turns did not complete; they stored %d events", bad, turns, rows)
	}
	base, err := insertAgain(ctx, pool, warm)
	if err != nil {
		return err
	}
	emit(Row{Name: "event_rows_per_s", Unit: "1/s", Value: float64(rows) / took.Seconds(), Baseline: float64(rows) / base.Seconds()})
	return nil
}

// burst submits turns and waits for their ends.
func burst(ctx context.Context, pool *pgxpool.Pool, turns int) error {
	if _, err := pool.Exec(ctx, "select count(towpath.submit('burst', '{}')) from generate_series(1, $1)", turns); err != nil {
		return err
	}
	return settled(ctx, pool)
}

// settled waits until every process has ended.
func settled(ctx context.Context, pool *pgxpool.Pool) error {
	for began := time.Now(); ; {
		var live int
		if err := pool.QueryRow(ctx, "select count(*) from towpath.process where finalized_at is null").Scan(&live); err != nil {
			return err
		}
		if live == 0 {
			return nil
		}
		if time.Since(began) > 5*time.Minute {
			return fmt.Errorf("%d turns have not ended after 5 min", live)
		}
		time.Sleep(100 * time.Millisecond) // each look costs what is measured; the figure is of the rows' own times
	}
}

// insertAgain stores the same rows in the same batches, as the plainest program would, and says how long that took.
func insertAgain(ctx context.Context, pool *pgxpool.Pool, after int64) (time.Duration, error) {
	if _, err := pool.Exec(ctx, "create table plain (process_no bigint, seq bigint, type text, data jsonb, at timestamptz, primary key (process_no, seq))"); err != nil {
		return 0, err
	}
	type batch struct {
		Nos, Seqs   []int64
		Types, Data []string
	}
	// Rows of one append carry one time.
	rows, err := pool.Query(ctx, `select array_agg(process_no order by process_no, seq) as nos, array_agg(seq order by process_no, seq) as seqs,
		array_agg(type order by process_no, seq) as types, array_agg(data::text order by process_no, seq) as data
		from towpath.event where type = 'message.delta' and process_no > $1 group by at order by at`, after)
	if err != nil {
		return 0, err
	}
	batches, err := pgx.CollectRows(rows, pgx.RowToStructByName[batch])
	if err != nil {
		return 0, err
	}
	began := time.Now()
	for _, b := range batches {
		_, err := pool.Exec(ctx, `insert into plain (process_no, seq, type, data, at)
			select no, seq, type, data::jsonb, clock_timestamp() from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[]) t(no, seq, type, data)`,
			b.Nos, b.Seqs, b.Types, b.Data)
		if err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}
