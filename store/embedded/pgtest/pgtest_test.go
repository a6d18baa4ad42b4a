package pgtest_test

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/towpath/towpath/store/embedded/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func connect(tb testing.TB, dsn string) *pgx.Conn {
	tb.Helper()
	conn, err := pgx.Connect(tb.Context(), dsn)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// Two tests clone one template: each sees what the template holds, and nothing of the other.
func TestEachTestHasItsOwnClone(t *testing.T) {
	name := "pgtest_" + strings.ToLower(rand.Text()) // a server that outlives this binary may hold an earlier one
	var built atomic.Int32
	build := func(ctx context.Context, dsn string) error {
		built.Add(1)
		conn, err := pgx.Connect(ctx, dsn)
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, "create table note (text text); insert into note values ('from the template')")
		return err
	}
	t.Run("side by side", func(t *testing.T) {
		for _, mine := range []string{"a", "b", "c"} {
			t.Run(mine, func(t *testing.T) {
				t.Parallel()
				conn := connect(t, pgtest.CreateDatabase(t, pgtest.Template(t, name, build)))
				if _, err := conn.Exec(t.Context(), "insert into note values ($1)", mine); err != nil {
					t.Fatal(err)
				}
				var notes []string
				if err := conn.QueryRow(t.Context(), "select array_agg(text order by text) from note").Scan(&notes); err != nil {
					t.Fatal(err)
				}
				if len(notes) != 2 || notes[0] != mine || notes[1] != "from the template" {
					t.Errorf("notes are %q", notes)
				}
			})
		}
	})
	server := connect(t, pgtest.DSN(t, "postgres"))
	for _, sql := range []string{"alter database towpath_template_" + name + " is_template false", "drop database towpath_template_" + name} {
		if _, err := server.Exec(t.Context(), sql); err != nil {
			t.Error(err)
		}
	}
	if n := built.Load(); n != 1 {
		t.Errorf("the template was built %d times", n)
	}
}

func TestACloneIsDroppedWithItsTestThoughSomebodyIsConnected(t *testing.T) {
	var dsn string
	var conn *pgx.Conn
	t.Run("inner", func(t *testing.T) {
		dsn = pgtest.CreateDatabase(t, "")
		var err error
		if conn, err = pgx.Connect(t.Context(), dsn); err != nil {
			t.Fatal(err)
		}
	})
	defer conn.Close(t.Context())
	if conn, err := pgx.Connect(t.Context(), dsn); err == nil {
		conn.Close(t.Context())
		t.Error("the database is still there")
	}
}
