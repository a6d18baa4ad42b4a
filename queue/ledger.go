package queue

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/sql"
)

// ledger is what a migration knows of the ones before it.
const ledger = `
create schema if not exists towpath;
create table towpath.migration (
  version    integer primary key,
  name       text not null,
  checksum   text not null,
  applied_at timestamptz not null default clock_timestamp()
);
comment on table towpath.migration is 'Applied steps of the tables. Reclaim: never.';
create table towpath.code (
  one          boolean primary key default true check (one),
  version      integer not null,
  checksum     text not null,
  min_reader   integer not null,
  river_schema text not null,
  installed_at timestamptz not null default clock_timestamp()
);
comment on table towpath.code is 'One row: the installed functions, and the oldest worker that can use them. Reclaim: never.';
`

// code is the row of towpath.code.
type code struct {
	version, minReader    int
	checksum, riverSchema string
}

// readCode returns the zero code with ErrNotMigrated when nothing is installed.
func readCode(ctx context.Context, db interface {
	QueryRow(context.Context, string, ...any) pgx.Row
}) (code, error) {
	// Asked for by name first: a failed statement would end a caller's transaction.
	var exists bool
	if err := db.QueryRow(ctx, "select to_regclass('towpath.code') is not null").Scan(&exists); err != nil {
		return code{}, err
	}
	if !exists {
		return code{}, notMigrated("it has no schema towpath")
	}
	var c code
	err := db.QueryRow(ctx, "select version, min_reader, checksum, river_schema from towpath.code").
		Scan(&c.version, &c.minReader, &c.checksum, &c.riverSchema)
	return c, err
}

func notMigrated(why string) error {
	return fmt.Errorf("%w: %s; run `worker migrate`", ErrNotMigrated, why)
}

func riverSchemaError(installed, wanted string) error {
	return fmt.Errorf("%w: RIVER_SCHEMA is %q here and %q in the database; set it to %[3]q", ErrRiverSchema, wanted, installed)
}

// Check says whether this worker and the database fit, before the worker starts. It changes nothing and needs no right
// beyond those of role towpath_worker. Errors: [ErrNotMigrated], [ErrTooOld], [ErrRiverSchema], and the database's own.
func Check(ctx context.Context, pool *pgxpool.Pool, opts Options) error {
	if err := check(ctx, pool, opts); err != nil {
		return fmt.Errorf("queue: check the database: %w", err)
	}
	return nil
}

func check(ctx context.Context, pool *pgxpool.Pool, opts Options) error {
	c, err := readCode(ctx, pool)
	switch {
	case err != nil:
		return err
	case c.minReader > sql.Version:
		return fmt.Errorf("%w: it needs version %d or newer of the functions and this worker knows %d; install a newer worker", ErrTooOld, c.minReader, sql.Version)
	case c.version < sql.Version:
		return notMigrated(fmt.Sprintf("its functions are version %d and this worker needs %d", c.version, sql.Version))
	case c.riverSchema != opts.riverSchema():
		return riverSchemaError(c.riverSchema, opts.riverSchema())
	}
	migrator, err := riverMigrator(pool, c.riverSchema)
	if err != nil {
		return err
	}
	valid, err := migrator.Validate(ctx, nil)
	if err != nil {
		return err
	}
	if !valid.OK {
		return notMigrated(fmt.Sprintf("River's tables lack migrations (%v)", valid.Messages))
	}
	return nil
}
