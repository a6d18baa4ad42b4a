package pgtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
)

const urlVariable = "TOWPATH_TEST_DATABASE_URL"

// DSN connects a superuser to a database of the server under test.
func DSN(tb testing.TB, database string) string {
	tb.Helper()
	base := os.Getenv(urlVariable)
	if base == "" {
		return Server(tb).DSNFor(database)
	}
	u, err := url.Parse(base)
	if err != nil || !strings.HasPrefix(u.Scheme, "postgres") {
		tb.Fatalf("%s must be a URL such as postgres://user@host/postgres", urlVariable)
	}
	u.Path = "/" + database
	return u.String()
}

// Template is a database that build fills once, for [CreateDatabase] to clone. When the server outlives the test binary
// the template does too, so name should change with what build makes. build must close its connections.
func Template(tb testing.TB, name string, build func(ctx context.Context, dsn string) error) string {
	tb.Helper()
	ctx := tb.Context()
	name = "towpath_template_" + name
	conn := connect(tb)
	defer conn.Close(ctx)
	// Test binaries that share a server take turns.
	run(tb, conn, "select pg_advisory_lock(hashtext($1))", name)
	var ready bool
	if err := conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1 and datistemplate)", name).Scan(&ready); err != nil {
		tb.Fatalf("pgtest: look for the template: %v", err)
	}
	if ready {
		return name
	}
	id := pgx.Identifier{name}.Sanitize()
	run(tb, conn, "drop database if exists "+id+" with (force)") // a build that failed
	run(tb, conn, "create database "+id+" template template0")
	if err := build(ctx, DSN(tb, name)); err != nil {
		tb.Fatalf("pgtest: build template %s: %v", name, err)
	}
	run(tb, conn, "alter database "+id+" is_template true allow_connections false")
	return name
}

var (
	sequence atomic.Int64
	prefix   = "towpath_test_" + strings.ToLower(rand.Text()[:8]) + "_" // other binaries may share the server
)

// CreateDatabase clones template ("" is an empty database) and returns the clone's connection string. The clone is
// dropped when tb ends, whoever is still connected.
func CreateDatabase(tb testing.TB, template string) string {
	tb.Helper()
	name := fmt.Sprintf("%s%d", prefix, sequence.Add(1))
	if template == "" {
		template = "template0"
	}
	conn := connect(tb)
	defer conn.Close(tb.Context())
	run(tb, conn, fmt.Sprintf("create database %s template %s", pgx.Identifier{name}.Sanitize(), pgx.Identifier{template}.Sanitize()))
	tb.Cleanup(func() { drop(tb, name) })
	return DSN(tb, name)
}

func drop(tb testing.TB, name string) {
	ctx := context.Background() // the test's own has ended
	conn, err := pgx.Connect(ctx, DSN(tb, "postgres"))
	if err == nil {
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, "drop database "+pgx.Identifier{name}.Sanitize()+" with (force)")
	}
	if err != nil {
		tb.Errorf("pgtest: drop %s: %v", name, err)
	}
}

func connect(tb testing.TB) *pgx.Conn {
	tb.Helper()
	conn, err := pgx.Connect(tb.Context(), DSN(tb, "postgres"))
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	return conn
}

func run(tb testing.TB, conn *pgx.Conn, sql string, args ...any) {
	tb.Helper()
	if _, err := conn.Exec(tb.Context(), sql, args...); err != nil {
		tb.Fatalf("pgtest: %s: %v", sql, err)
	}
}
