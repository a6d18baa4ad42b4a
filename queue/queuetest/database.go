// Package queuetest gives each test a migrated database of its own.
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
//
//	func TestX(t *testing.T) { pool := queuetest.Pool(t); … }
//
// Migrating takes a while, so it is done once per server and version of the SQL, into a template that tests clone.
//
// TOWPATH_TEST_SQL names a script that each clone runs before its test gets it: a function that is broken on purpose,
// to see that a test notices.
package queuetest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/queue"
	"github.com/towpath/towpath/sql"
	"github.com/towpath/towpath/store/embedded/pgtest"
)

// Database returns the connection string of a fresh, migrated database, dropped when tb ends. The connecting user is a
// superuser. What the test has stored by then is checked against the vocabulary of events.
func Database(tb testing.TB) string {
	tb.Helper()
	dsn := pgtest.CreateDatabase(tb, pgtest.Template(tb, fingerprint(), migrate))
	if path := os.Getenv("TOWPATH_TEST_SQL"); path != "" {
		if err := script(tb.Context(), dsn, path); err != nil {
			tb.Fatalf("queuetest: %s: %v", path, err)
		}
	}
	tb.Cleanup(func() { spoken(tb, dsn) })
	return dsn
}

func script(ctx context.Context, dsn, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, string(text))
	return err
}

// Pool connects to a [Database]. The pool is closed when tb ends.
func Pool(tb testing.TB) *pgxpool.Pool {
	tb.Helper()
	pool, err := pgxpool.New(tb.Context(), Database(tb))
	if err != nil {
		tb.Fatalf("queuetest: %v", err)
	}
	tb.Cleanup(pool.Close)
	return pool
}

func migrate(ctx context.Context, dsn string) error {
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return err
	}
	defer pool.Close()
	_, err = queue.Migrate(ctx, pool, queue.Options{})
	return err
}

// fingerprint changes with what a migration makes, since a shared server outlives the test binary.
func fingerprint() string {
	h := sha256.New()
	for _, m := range sql.Migrations() {
		fmt.Fprintln(h, m.Checksum)
	}
	_, functions := sql.Functions("public")
	fmt.Fprintln(h, functions, sql.Version)
	return fmt.Sprintf("queue_%x", h.Sum(nil)[:8])
}
