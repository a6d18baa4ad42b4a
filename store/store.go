package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Store calls the functions of schema towpath over a pool.
type Store struct {
	pool *pgxpool.Pool

	waiting waiting // of Await
	wakes   wakes
}

// pingAfter is how long a pooled connection may rest until its next use checks it first.
const pingAfter = 30 * time.Second

// New makes a Store over a pool that stays the caller's.
func New(pool *pgxpool.Pool) *Store { return &Store{pool: pool} }

// Open makes a pool for a database URL or a key=value string. pooled keeps to what a transaction pooler such as
// pgbouncer allows: no prepared statements. It does not connect; the first use does.
func Open(ctx context.Context, dsn string, pooled bool) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("store: database url: %w", err) // pgx redacts the password
	}
	if pooled {
		cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	if cfg.ConnConfig.RuntimeParams["application_name"] == "" {
		cfg.ConnConfig.RuntimeParams["application_name"] = "towpath"
	}
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = 10 * time.Second
	}
	// pgx would ping a connection that has rested for a second: a round trip more for a node that has little to do.
	cfg.ShouldPing = func(_ context.Context, p pgxpool.ShouldPingParams) bool { return p.IdleDuration > pingAfter }
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("store: open: %w", err)
	}
	return pool, nil
}

// one runs a query that yields one row.
func one[T any](ctx context.Context, s *Store, op string, scan pgx.RowToFunc[T], sql string, args ...any) (T, error) {
	return retry(ctx, op, func() (T, error) {
		rows, err := s.pool.Query(ctx, sql, args...)
		if err != nil {
			var none T
			return none, err
		}
		return pgx.CollectExactlyOneRow(rows, scan)
	})
}

// all runs a query and collects its rows.
func all[T any](ctx context.Context, s *Store, op string, scan pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	return retry(ctx, op, func() ([]T, error) {
		rows, err := s.pool.Query(ctx, sql, args...)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, scan)
	})
}

// exec runs a function whose result nobody needs.
func exec(ctx context.Context, s *Store, op string, sql string, args ...any) error {
	_, err := retry(ctx, op, func() (struct{}, error) {
		_, err := s.pool.Exec(ctx, sql, args...)
		return struct{}{}, err
	})
	return err
}
