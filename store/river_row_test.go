package store_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A River client inserts a unique row as River does, and gets the row that is there already. It may write what stands there,
// and nothing else: not to its own rows, not to others'.
func TestARiverClientRepeatsAUniqueRowAndChangesNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`insert into river_job (kind, args, queue, max_attempts) values ('sweep', '{}', 'default', 1)`)
	tx := w.begin()
	defer func() { w.ok(tx.Rollback(t.Context())) }()
	for _, statement := range []string{"grant select, insert, update (kind) on river_job to towpath_enqueue", "set local role towpath_enqueue"} {
		_, err := tx.Exec(t.Context(), statement)
		w.ok(err)
	}
	insert := func(kind string) (id int64, skipped bool) {
		err := tx.QueryRow(t.Context(), `insert into river_job (id, kind, args, queue, max_attempts, unique_key, unique_states)
			values (nextval('river_job_id_seq'), $1, '{"profile": "p", "input": {}}', 'default', 25, 'k', B'11110101')
			on conflict (unique_key) where unique_key is not null and unique_states is not null and river_job_state_in_bitmask(unique_states, state)
			do update set kind = river_job.kind returning id, xmax <> 0`, kind).Scan(&id, &skipped)
		w.ok(err)
		return id, skipped
	}
	one, skipped := insert("turn")
	if skipped {
		t.Error("the first row is said to be there already")
	}
	if two, skipped := insert("turn"); two != one || !skipped {
		t.Errorf("the second insert gave row %d, skipped %t; want row %d", two, skipped, one)
	}
	for statement, want := range map[string]string{
		"update river_job set kind = kind":                          "",
		"update river_job set kind = 'stop' where kind = 'turn'":    "TW403",
		"update river_job set kind = kind || 's'":                   "TW403",
		"update river_job set args = '{}'":                          "42501",
		"update river_job set state = 'cancelled'":                  "42501",
		"update river_job set unique_key = null, kind = kind":       "42501",
		"update river_job set metadata = '{}'":                      "42501",
		"delete from river_job":                                     "42501",
		"insert into river_job (kind, args) values ('sweep', '{}')": "42501",
		`insert into river_job (id, kind, args, max_attempts) select id, 'turn', '{}', 1 from river_job where kind = 'sweep'
			on conflict (id) do update set kind = river_job.kind`: "42501",
	} {
		nested, err := tx.Begin(t.Context())
		w.ok(err)
		_, err = nested.Exec(t.Context(), statement)
		var got string
		if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) {
			got = pg.Code
		}
		if got != want || err != nil && got == "" {
			t.Errorf("%s: %v, want %q", statement, err, want)
		}
		w.ok(nested.Rollback(t.Context()))
	}
	rows, err := tx.Query(t.Context(), "update river_job set kind = kind returning kind")
	w.ok(err)
	touched, err := pgx.CollectRows(rows, pgx.RowTo[string])
	w.ok(err)
	if strings.Join(touched, " ") != "turn" {
		t.Errorf("rows of %v were within reach, want that of the turn alone", touched)
	}
}

// River reads its rows in Go: one that it cannot read would stop a queue, whoever wrote it, and whether at first or later.
func TestARowThatRiverCouldNotReadIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`insert into river_job (kind, args) values ('turn', '{}')`)
	for constraint, columns := range map[string][]string{
		"towpath_args_is_object":     {"args = '[]'", "args = 'null'"},
		"towpath_metadata_is_object": {"metadata = '[]'", `metadata = '"x"'`, "metadata = 'null'"},
		"towpath_unique_states":      {"unique_states = B'00000001'", "unique_states = B'10110101'"},
		"towpath_args_size":          {`args = jsonb_build_object('x', (select string_agg(gen_random_uuid()::text, '') from generate_series(1, 120000)))`},
	} {
		for _, set := range columns {
			w.deny("23514", constraint, "update river_job set "+set)
			column, value, _ := strings.Cut(set, " = ")
			if column != "args" {
				column, value = "args, "+column, "'{}', "+value
			}
			w.deny("23514", constraint, "insert into river_job (kind, "+column+") values ('turn', "+value+")")
		}
	}
	if n := get[int](w, "select count(*)::int from river_job"); n != 1 {
		t.Errorf("%d rows", n)
	}
}
