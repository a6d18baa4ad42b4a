package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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

// early runs a query that yields one row, in one round trip, and hands the row over as soon as it is there. It returns when
// the commit has come back: the server sends the row before it waits for its log.
func early[T any](ctx context.Context, s *Store, scan pgx.RowToFunc[T], sql string, args []any, known func(T)) error {
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	conn := c.Conn()
	if conn.Config().DefaultQueryExecMode != pgx.QueryExecModeCacheStatement { // a pooler keeps no statement for us
		rows, err := conn.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		row, err := pgx.CollectExactlyOneRow(rows, scan)
		if err == nil {
			known(row)
		}
		return err
	}
	statement, err := conn.Prepare(ctx, sql, sql) // once a connection
	if err != nil {
		return err
	}
	var b pgx.ExtendedQueryBuilder
	if err := b.Build(conn.TypeMap(), statement, args); err != nil {
		return err
	}
	p := conn.PgConn().StartPipeline(ctx)
	p.SendQueryStatement(statement, b.ParamValues, b.ParamFormats, b.ResultFormats)
	p.SendFlushRequest()
	if err = p.Sync(); err == nil {
		var answer any
		if answer, err = p.GetResults(); err == nil {
			var row T
			if row, err = pgx.CollectExactlyOneRow(pgx.RowsFromResultReader(conn.TypeMap(), answer.(*pgconn.ResultReader)), scan); err == nil {
				known(row)
			}
		}
	}
	if closed := p.Close(); err == nil {
		err = closed
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "0A000" { // the function was replaced, and yields another row
		_ = conn.Deallocate(ctx, sql)
	}
	return err
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
