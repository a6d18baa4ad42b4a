package store_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/sql"
	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/store/embedded/pgtest"
)

// feature: C15
func TestHealth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	newest := len(sql.Migrations())
	if h := w.store.Health(t.Context()); h != (store.Health{Reachable: true, MigrationReady: true, Ready: true, Version: sql.Version, MinReader: sql.MinReader, Migration: newest, Message: "ready"}) {
		t.Errorf("%+v", h)
	}
	for _, c := range []struct{ name, do, undo, says string }{
		{"a newer schema that still serves us", "update towpath.code set version = version + 1; insert into towpath.migration (version, name, checksum) values (999, 'next', 'x')",
			"update towpath.code set version = version - 1; delete from towpath.migration where version = 999", "ready"},
		{"a newer schema that does not", "update towpath.code set version = version + 100, min_reader = min_reader + 100",
			"update towpath.code set version = version - 100, min_reader = min_reader - 100", "install a newer one"},
		{"an older schema", "update towpath.code set version = version - 1, min_reader = 0", "update towpath.code set version = version + 1, min_reader = 1", "worker migrate"},
		{"a migration with another text", "update towpath.migration set checksum = 'x' || checksum where version = 1",
			"update towpath.migration set checksum = substr(checksum, 2) where version = 1", "migration 001_process was applied with another text"},
		{"a migration that is missing", "update towpath.migration set version = -1 where version = 2", "update towpath.migration set version = 2 where version = -1", "002_journal is missing"},
	} {
		for _, sql := range strings.Split(c.do, ";") {
			w.exec(sql)
		}
		h := w.store.Health(t.Context())
		if want := c.says == "ready"; !h.Reachable || h.Ready != want || h.MigrationReady != want || !strings.Contains(h.Message, c.says) {
			t.Errorf("%s: %+v", c.name, h)
		}
		for _, sql := range strings.Split(c.undo, ";") {
			w.exec(sql)
		}
	}
	if h := w.store.Health(t.Context()); !h.Ready {
		t.Errorf("at the end: %+v", h)
	}
}

// feature: C15
func TestHealthOfADatabaseThatIsNotThere(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.New(t.Context(), pgtest.CreateDatabase(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if h := store.New(pool).Health(t.Context()); h != (store.Health{Reachable: true, Message: "the database is not migrated: run `worker migrate`"}) {
		t.Errorf("an empty database: %+v", h)
	}
	nowhere, err := pgxpool.New(t.Context(), "postgres://alice:very-private@127.0.0.1:1/none?connect_timeout=5")
	if err != nil {
		t.Fatal(err)
	}
	defer nowhere.Close()
	if h := store.New(nowhere).Health(t.Context()); h != (store.Health{Message: "the database does not answer"}) {
		t.Errorf("no database: %+v", h)
	}
}

// feature: C14
func TestTheLedgerIsOnView(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	applied, err := w.store.Migrations(t.Context())
	w.ok(err)
	ours := sql.Migrations()
	if len(applied) != len(ours) {
		t.Fatalf("%d applied, %d known", len(applied), len(ours))
	}
	for i, m := range applied {
		if m.Version != ours[i].Version || m.Name != ours[i].Name || m.Checksum != ours[i].Checksum || m.AppliedAt.IsZero() {
			t.Errorf("applied %+v", m)
		}
	}
}
