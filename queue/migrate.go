package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/towpath/towpath/sql"
)

// Options of [Migrate] and [Check]. The zero value is ready to use.
type Options struct {
	// RiverSchema holds River's tables. Default: public.
	RiverSchema string
	// LockTimeout is how long a change waits for a table that workers are using, while those wait behind it.
	// Default: 10 s.
	LockTimeout time.Duration
}

func (o Options) riverSchema() string { return cmp.Or(o.RiverSchema, "public") }

// Report says what a migration did.
type Report struct {
	River      []int    // River's migrations that were applied
	Migrations []string // ours, by file name
	Functions  bool     // the functions were installed
	Version    int      // of the functions in the database now; higher than sql.Version when a newer worker migrated
}

// migrateLock is the advisory lock of all migrations of a database.
const migrateLock = 7_308_619_451_884_021

// Migrate brings River's tables and ours up to date. Any number of nodes may call it at once: one works, the others wait
// (until ctx ends, or the connection's lock_timeout) and then find nothing to do. It works through a transaction pooler.
//
// Our part is one transaction. A database that a newer worker has migrated is left alone. Errors: [ErrStranger],
// [ErrChecksum], [ErrRiverSchema], [ErrLocked], and the database's own.
func Migrate(ctx context.Context, pool *pgxpool.Pool, opts Options) (Report, error) {
	report, err := migrate(ctx, pool, opts)
	if err != nil {
		return Report{}, fmt.Errorf("queue: migrate: %w", err)
	}
	return report, nil
}

func migrate(ctx context.Context, pool *pgxpool.Pool, opts Options) (Report, error) {
	// The lock's connection is not the pool's: a caller that waits must not hold one that the caller at work needs.
	config := pool.Config()
	if config.BeforeConnect != nil {
		if err := config.BeforeConnect(ctx, config.ConnConfig); err != nil {
			return Report{}, err
		}
	}
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return Report{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var report Report
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		// The lock is the transaction's, since a pooler gives no session. River's migrations commit one by one on other
		// connections while this one waits.
		if err := run(ctx, tx, "set local idle_in_transaction_session_timeout = 0"); err != nil {
			return err
		}
		if err := run(ctx, tx, fmt.Sprintf("select pg_advisory_xact_lock(%d)", migrateLock)); err != nil {
			return err
		}
		wait := cmp.Or(opts.LockTimeout, 10*time.Second)
		if err := run(ctx, tx, fmt.Sprintf("set local lock_timeout = %d", wait.Milliseconds())); err != nil {
			return err
		}
		report, err = (&migration{tx: tx, pool: pool, schema: opts.riverSchema()}).apply(ctx)
		return err
	})
	return report, err
}

// migration is one run, under the lock.
type migration struct {
	tx     pgx.Tx
	pool   *pgxpool.Pool
	schema string
}

func (m *migration) apply(ctx context.Context) (Report, error) {
	installed, err := readCode(ctx, m.tx)
	if err != nil && !errors.Is(err, ErrNotMigrated) {
		return Report{}, err
	}
	fresh := err != nil
	report := Report{Version: max(installed.version, sql.Version)}
	if !fresh && installed.version > sql.Version {
		return report, nil
	}
	if !fresh && installed.riverSchema != m.schema {
		return Report{}, riverSchemaError(installed.riverSchema, m.schema)
	}
	if fresh {
		if err := m.createRiverSchema(ctx); err != nil {
			return Report{}, err
		}
		if err := m.refuseStrangers(ctx); err != nil {
			return Report{}, err
		}
		if err := run(ctx, m.tx, ledger); err != nil {
			return Report{}, err
		}
	}
	if report.River, err = m.migrateRiver(ctx); err != nil {
		return Report{}, err
	}
	if report.Migrations, err = m.migrateTables(ctx); err != nil {
		return Report{}, err
	}
	report.Functions, err = m.installFunctions(ctx, installed)
	return report, err
}

func (m *migration) createRiverSchema(ctx context.Context) error {
	var plain, exists bool
	err := m.tx.QueryRow(ctx, "select quote_ident($1) = $1 and $1 !~ '[$]' and length($1) <= 46, to_regnamespace(quote_ident($1)) is not null", m.schema).Scan(&plain, &exists)
	if err != nil {
		return err
	}
	if !plain {
		return fmt.Errorf("River schema %q: use small letters, digits and _, no SQL keyword, 46 characters at most", m.schema)
	}
	if exists {
		return nil
	}
	_, err = m.pool.Exec(ctx, "create schema "+m.schema)
	return err
}

// refuseStrangers asks before anything of River's is touched.
func (m *migration) refuseStrangers(ctx context.Context) error {
	for _, look := range []struct{ what, table, column, ours string }{
		{"job kinds", "river_job", "kind", fmt.Sprintf("'%s'", strings.Join(kindNames(), "','"))},
		{"queues", "river_queue", "name", fmt.Sprintf("'%s'", strings.Join(Queues(), "','"))},
	} {
		table := m.schema + "." + look.table
		var exists bool
		if err := m.tx.QueryRow(ctx, "select to_regclass($1) is not null", table).Scan(&exists); err != nil {
			return err
		}
		if !exists {
			continue
		}
		var names []string
		query := fmt.Sprintf("select array_agg(v) from (select distinct %s from %s where %[1]s not in (%[3]s) limit 5) t(v)", look.column, table, look.ours)
		if err := m.tx.QueryRow(ctx, query).Scan(&names); err != nil {
			return err
		}
		if len(names) > 0 {
			return fmt.Errorf("%w: schema %q has %s %q; set RIVER_SCHEMA to a schema of its own, which is created", ErrStranger, m.schema, look.what, names)
		}
	}
	return nil
}

func kindNames() []string {
	var names []string
	for _, k := range Kinds() {
		names = append(names, string(k))
	}
	return names
}

func riverMigrator(pool *pgxpool.Pool, schema string) (*rivermigrate.Migrator[pgx.Tx], error) {
	return rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{
		Schema: schema,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), // the report says it
	})
}

func (m *migration) migrateRiver(ctx context.Context) ([]int, error) {
	migrator, err := riverMigrator(m.pool, m.schema)
	if err != nil {
		return nil, err
	}
	result, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	if err != nil {
		return nil, fmt.Errorf("River: %w", err)
	}
	var versions []int
	for _, v := range result.Versions {
		versions = append(versions, v.Version)
	}
	return versions, nil
}

func (m *migration) migrateTables(ctx context.Context) ([]string, error) {
	rows, err := m.tx.Query(ctx, "select version, checksum from towpath.migration")
	if err != nil {
		return nil, err
	}
	applied := map[int]string{}
	var version int
	var checksum string
	if _, err := pgx.ForEachRow(rows, []any{&version, &checksum}, func() error { applied[version] = checksum; return nil }); err != nil {
		return nil, err
	}
	var done []string
	for _, step := range sql.Migrations() {
		name := fmt.Sprintf("%03d_%s", step.Version, step.Name)
		if sum, ok := applied[step.Version]; ok {
			if sum != step.Checksum {
				return nil, fmt.Errorf("%w: sql/migrations/%s.sql; restore the file and write a new migration instead", ErrChecksum, name)
			}
			continue
		}
		if err := run(ctx, m.tx, step.SQL); err != nil {
			return nil, fmt.Errorf("migration %s: %w", name, err)
		}
		if _, err := m.tx.Exec(ctx, "insert into towpath.migration (version, name, checksum) values ($1, $2, $3)", step.Version, step.Name, step.Checksum); err != nil {
			return nil, err
		}
		done = append(done, name)
	}
	return done, nil
}

func (m *migration) installFunctions(ctx context.Context, installed code) (bool, error) {
	script, checksum := sql.Functions(m.schema)
	if installed.version == sql.Version {
		if installed.checksum != checksum {
			return false, fmt.Errorf("%w: the functions differ from the installed ones of version %d; raise sql.Version", ErrChecksum, sql.Version)
		}
		return false, nil
	}
	if err := run(ctx, m.tx, script); err != nil {
		return false, fmt.Errorf("functions: %w", err)
	}
	if _, err := m.tx.Exec(ctx, `insert into towpath.code (version, checksum, min_reader, river_schema) values ($1, $2, $3, $4)
		on conflict (one) do update set version = excluded.version, checksum = excluded.checksum, min_reader = excluded.min_reader,
		river_schema = excluded.river_schema, installed_at = clock_timestamp()`,
		sql.Version, checksum, sql.MinReader, m.schema); err != nil {
		return false, err
	}
	// Every role may ask whether it fits; the script has just revoked what public had.
	return true, run(ctx, m.tx, "grant select on towpath.migration, towpath.code to public")
}

// run executes a script that takes no arguments, statement by statement on the server. An error names the script's line.
func run(ctx context.Context, tx pgx.Tx, script string) error {
	_, err := tx.Exec(ctx, script)
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	if pg.Code == "55P03" {
		return fmt.Errorf("%w: another migration, or work on a table to be changed, holds it: try again (%s)", ErrLocked, pg.Message)
	}
	if at := int(pg.Position); at > 0 {
		before := string([]rune(script)[:at-1]) // the server counts characters
		line := strings.Count(before, "\n")
		text := slices.Collect(strings.Lines(script))[line]
		return fmt.Errorf("%w at line %d: %s", err, line+1, strings.TrimSpace(text))
	}
	if pg.Where != "" {
		return fmt.Errorf("%w in %s", err, pg.Where)
	}
	return err
}
