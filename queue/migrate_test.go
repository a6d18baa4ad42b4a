package queue_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"golang.org/x/sync/errgroup"

	"github.com/towpath/towpath/queue"
	"github.com/towpath/towpath/queue/queuetest"
	"github.com/towpath/towpath/sql"
	"github.com/towpath/towpath/store/embedded/pgtest"
)

func connect(t testing.TB, dsn string, adjust ...func(*pgxpool.Config)) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range adjust {
		f(config)
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func emptyPool(t testing.TB, adjust ...func(*pgxpool.Config)) *pgxpool.Pool {
	t.Helper()
	return connect(t, pgtest.CreateDatabase(t, ""), adjust...)
}

func exec(t testing.TB, pool *pgxpool.Pool, query string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// get returns the one value of a query.
func get[T any](t testing.TB, pool *pgxpool.Pool, query string, args ...any) T {
	t.Helper()
	var v T
	if err := pool.QueryRow(t.Context(), query, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

func migrate(t testing.TB, pool *pgxpool.Pool, opts queue.Options) queue.Report {
	t.Helper()
	report, err := queue.Migrate(t.Context(), pool, opts)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// refused checks that err is of a kind and tells the reader all that is listed.
func refused(t testing.TB, err, want error, tells ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
	for _, text := range tells {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not tell %q", err, text)
		}
	}
}

// Eight nodes start at once on an empty database, each with few connections. One migrates; all of them can start.
func TestNodesThatStartTogetherOnAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	dsn := pgtest.CreateDatabase(t, "")
	reports := make([]queue.Report, 8)
	var group errgroup.Group
	shared := connect(t, dsn, func(c *pgxpool.Config) { c.MaxConns = 1 })
	for i := range reports {
		group.Go(func() error {
			pool := shared // some in one program, some in their own
			if i%2 == 0 {
				pool = connect(t, dsn, func(c *pgxpool.Config) { c.MaxConns = 1 })
			}
			var err error
			if reports[i], err = queue.Migrate(t.Context(), pool, queue.Options{}); err != nil {
				return err
			}
			return queue.Check(t.Context(), pool, queue.Options{})
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	worked := slices.DeleteFunc(reports, func(r queue.Report) bool { return !r.Functions })
	if len(worked) != 1 || len(worked[0].River) == 0 || len(worked[0].Migrations) != len(sql.Migrations()) {
		t.Errorf("%d callers did the work: %+v", len(worked), worked)
	}
}

func TestMigratingAgainDoesNothing(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			pool := emptyPool(t, func(c *pgxpool.Config) { c.ConnConfig.DefaultQueryExecMode = mode })
			refused(t, queue.Check(t.Context(), pool, queue.Options{}), queue.ErrNotMigrated, "worker migrate")
			migrate(t, pool, queue.Options{})
			before := get[string](t, pool, "select xmin::text from towpath.code")
			if again := migrate(t, pool, queue.Options{}); len(again.River)+len(again.Migrations) != 0 || again.Functions || again.Version != sql.Version {
				t.Errorf("second migration reports %+v", again)
			}
			if after := get[string](t, pool, "select xmin::text from towpath.code"); after != before {
				t.Error("the ledger was written again")
			}
		})
	}
}

func TestEveryTableSaysWhenItsRowsGo(t *testing.T) {
	t.Parallel()
	silent := get[[]string](t, queuetest.Pool(t), `select coalesce(array_agg(relname::text), '{}') from pg_class
		where relnamespace = 'towpath'::regnamespace and relkind = 'r' and coalesce(obj_description(oid), '') !~ 'Reclaim: '`)
	if len(silent) > 0 {
		t.Errorf("tables without a reclaim rule: %v", silent)
	}
}

func TestRiverInASchemaOfItsOwn(t *testing.T) {
	t.Parallel()
	pool := emptyPool(t)
	opts := queue.Options{RiverSchema: "river_of_towpath"}
	migrate(t, pool, opts)
	exec(t, pool, "insert into river_of_towpath.river_job (kind, args) values ('turn', '{}')")
	if err := queue.Check(t.Context(), pool, opts); err != nil {
		t.Error(err)
	}
	refused(t, queue.Check(t.Context(), pool, queue.Options{}), queue.ErrRiverSchema, `"public"`, `set it to "river_of_towpath"`)
	_, err := queue.Migrate(t.Context(), pool, queue.Options{})
	refused(t, err, queue.ErrRiverSchema, `set it to "river_of_towpath"`)
}

func TestARiverSchemaThatNeedsQuotesIsRefused(t *testing.T) {
	t.Parallel()
	pool := emptyPool(t)
	for _, name := range []string{"River", "user", "a b", "a;drop", "a$b", strings.Repeat("x", 47)} {
		if _, err := queue.Migrate(t.Context(), pool, queue.Options{RiverSchema: name}); err == nil || !strings.Contains(err.Error(), "small letters") {
			t.Errorf("schema %q: %v", name, err)
		}
	}
}

func TestAFileThatWasEditedAfterItWasApplied(t *testing.T) {
	t.Parallel()
	pool := queuetest.Pool(t)
	exec(t, pool, "update towpath.migration set checksum = 'other' where version = 1")
	_, err := queue.Migrate(t.Context(), pool, queue.Options{})
	refused(t, err, queue.ErrChecksum, "sql/migrations/001_process.sql", "write a new migration")
}

func TestFunctionsThatChangedWithoutANewVersion(t *testing.T) {
	t.Parallel()
	pool := queuetest.Pool(t)
	exec(t, pool, "update towpath.code set checksum = 'other'")
	_, err := queue.Migrate(t.Context(), pool, queue.Options{})
	refused(t, err, queue.ErrChecksum, "raise sql.Version")
}

// A new worker meets the database of an older one.
func TestANewWorkerReplacesOlderFunctions(t *testing.T) {
	t.Parallel()
	pool := queuetest.Pool(t)
	exec(t, pool, "update towpath.code set version = $1, checksum = 'older'", sql.Version-1)
	exec(t, pool, "create or replace function towpath.queue_of(kind text) returns text language sql immutable parallel safe as 'select null'")
	refused(t, queue.Check(t.Context(), pool, queue.Options{}), queue.ErrNotMigrated, "worker migrate")
	if report := migrate(t, pool, queue.Options{}); !report.Functions || len(report.Migrations) > 0 {
		t.Errorf("report %+v", report)
	}
	if got := get[string](t, pool, "select towpath.queue_of('turn')"); got != queue.Turns {
		t.Errorf("queue of turns is %q", got)
	}
}

// An old worker meets the database of a newer one: it leaves it alone, and works only while it still can.
func TestAnOldWorkerLeavesANewerDatabaseAlone(t *testing.T) {
	t.Parallel()
	pool := queuetest.Pool(t)
	exec(t, pool, "update towpath.code set version = $1, checksum = 'newer'", sql.Version+1)
	if report := migrate(t, pool, queue.Options{}); report.Functions || report.Version != sql.Version+1 {
		t.Errorf("report %+v", report)
	}
	if err := queue.Check(t.Context(), pool, queue.Options{}); err != nil {
		t.Errorf("a newer database that still serves this worker: %v", err)
	}
	exec(t, pool, "update towpath.code set min_reader = $1", sql.Version+1)
	refused(t, queue.Check(t.Context(), pool, queue.Options{}), queue.ErrTooOld, "install a newer worker")
}

// Somebody else's program already works jobs in this database, with an older River.
func TestAStrangersRiverTablesAreNotTouched(t *testing.T) {
	t.Parallel()
	tables := func(pool *pgxpool.Pool, version int) {
		migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
		if err == nil {
			_, err = migrator.Migrate(t.Context(), rivermigrate.DirectionUp, &rivermigrate.MigrateOpts{TargetVersion: version})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, stranger := range map[string]struct {
		version       int
		insert, tells string
	}{
		"jobs":      {3, "insert into river_job (kind, args, max_attempts) values ('email', '{}', 25)", "email"},
		"no jobs":   {6, "insert into river_queue (name, updated_at) values ('default', now())", "default"},
		"mixed":     {8, "insert into river_job (kind, args) values ('email', '{}'), ('turn', '{}')", "email"},
		"many jobs": {8, "insert into river_job (kind, args) select 'kind_' || n, '{}' from generate_series(1, 50) n", "kind_"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := emptyPool(t)
			tables(pool, stranger.version)
			exec(t, pool, stranger.insert)
			_, err := queue.Migrate(t.Context(), pool, queue.Options{})
			refused(t, err, queue.ErrStranger, "RIVER_SCHEMA", stranger.tells)
			if v := get[int](t, pool, "select max(version) from river_migration"); v != stranger.version {
				t.Errorf("the stranger's River went from %d to %d", stranger.version, v)
			}
			if get[bool](t, pool, "select exists (select from pg_namespace where nspname = 'towpath')") {
				t.Error("schema towpath was left behind")
			}

			opts := queue.Options{RiverSchema: "river_of_towpath"} // as the error says
			migrate(t, pool, opts)
			exec(t, pool, "insert into river_of_towpath.river_job (kind, args) values ('turn', '{}')")
			exec(t, pool, "insert into river_job (kind, args, max_attempts) values ('email', '[]', 25)") // the stranger works on
		})
	}
}

// Waiting for another migration ends with the caller's patience.
func TestAMigrationThatMustWaitCanBeCancelled(t *testing.T) {
	t.Parallel()
	pool := emptyPool(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	wanted := make(chan struct{})
	slow := connect(t, pool.Config().ConnString(), func(c *pgxpool.Config) {
		c.BeforeConnect = func(context.Context, *pgx.ConnConfig) error { close(wanted); return nil }
	})
	tx := lockAsMigration(t, pool)
	failed := make(chan error)
	go func() {
		_, err := queue.Migrate(ctx, slow, queue.Options{})
		failed <- err
	}()
	<-wanted
	cancel()
	refused(t, <-failed, context.Canceled)

	impatient := connect(t, pool.Config().ConnString(), func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["lock_timeout"] = "10ms" })
	_, err := queue.Migrate(t.Context(), impatient, queue.Options{})
	refused(t, err, queue.ErrLocked, "try again")

	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	migrate(t, impatient, queue.Options{})
}

// lockAsMigration is a migration that takes its time.
func lockAsMigration(t testing.TB, pool *pgxpool.Pool) pgx.Tx {
	t.Helper()
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "select pg_advisory_xact_lock($1)", int64(queue.MigrateLock)); err != nil {
		t.Fatal(err)
	}
	return tx
}

// A long transaction of a client holds a table that the migration must change. The migration gives up rather than have
// everybody queue up behind it, and leaves nothing half done.
func TestATableInUseDoesNotStopTheWorld(t *testing.T) {
	t.Parallel()
	pool := queuetest.Pool(t)
	exec(t, pool, "update towpath.code set version = $1, checksum = 'older'", sql.Version-1)
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "insert into river_job (kind, args) values ('turn', '{}')"); err != nil {
		t.Fatal(err)
	}
	_, err = queue.Migrate(t.Context(), pool, queue.Options{LockTimeout: 1e7})
	refused(t, err, queue.ErrLocked, "try again")
	if v := get[int](t, pool, "select version from towpath.code"); v != sql.Version-1 {
		t.Errorf("version %d", v)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	migrate(t, pool, queue.Options{})
}

// The worker's role can check the database without a right to change it.
func TestTheWorkersRoleMayCheck(t *testing.T) {
	t.Parallel()
	pool := queuetest.Pool(t)
	worker := connect(t, pool.Config().ConnString(), func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["role"] = "towpath_worker" })
	if err := queue.Check(t.Context(), worker, queue.Options{}); err != nil {
		t.Error(err)
	}
	if report := migrate(t, worker, queue.Options{}); report.Functions {
		t.Errorf("report %+v", report)
	}
}
