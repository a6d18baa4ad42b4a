package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// code is the SQLSTATE of an error, "" of none.
func code(err error) string {
	if err == nil {
		return ""
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return err.Error()
}

func TestKeysAreWrittenByCompareAndSwap(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	put := func(key, value string, expected any) int64 {
		return get[int64](w, "select towpath.kv_put('s', $1, $2, $3)", key, []byte(value), expected)
	}
	if v := put("a", "1", 0); v != 1 {
		t.Errorf("version %d", v)
	}
	w.deny("TW40V", "is at version 1, not 0", "select towpath.kv_put('s', 'a', '2', 0)")
	w.deny("TW40V", "not null", "select towpath.kv_put('s', 'a', '2', null)")
	put("b/1", "22", 1)
	put("b/2", "", 2) // deletes what is not there
	put("b/3", "4444", 3)
	list := get[string](w, "select string_agg(concat_ws(' ', key, bytes, version), ', ') from towpath.kv_list('s')")
	if list != "a 1 1, b/1 2 2, b/3 4 4" {
		t.Errorf("keys: %s", list)
	}
	if page := get[string](w, "select string_agg(key, ' ') from towpath.kv_list('s', 'b/', 'b/1', 1)"); page != "b/3" {
		t.Errorf("page: %s", page)
	}
	put("a", "", 4)
	if got, err := w.store.KVGet(t.Context(), "s", "a"); got != nil || err != nil {
		t.Errorf("deleted key: %q, %v", got, err)
	}
	w.deny("TW404", "unknown session", "select towpath.kv_put('nobody', 'a', '1', 0)")
	w.deny("TW404", "unknown session", "select towpath.kv_list('nobody')")
	w.deny("TW400", "max", "select towpath.kv_list('s', '', '', 0)")
	w.deny("TW400", "512 bytes", "select towpath.kv_put('s', '', '1', 5)")
	w.deny("TW400", "value is missing", "select towpath.kv_put('s', 'a', null, 5)")
	w.sound()
}

// A turn that has begun decides what the session is: nobody changes it under its hands, so its end does not conflict.
func TestKeysAreNotWrittenUnderARunningTurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("s")
	w.exec("select towpath.kv_put('s', 'a', '1', 0)") // it has not begun
	o, c := w.run(id, node("n"))
	w.deny("TW409", "has begun", "select towpath.kv_put('s', 'a', '2', 1)")
	_, err := w.store.Retry(t.Context(), o, "again", 0, false, []byte(`{}`), "", false)
	w.ok(err)
	w.deny("TW409", "has begun", "select towpath.kv_put('s', 'a', '2', 1)")
	o, c = w.run(id, node("n"))
	end := completed(o)
	end.Base, end.Keys, end.Values = c.Version, []string{"a"}, [][]byte{[]byte("3")}
	w.ok(w.store.Finish(t.Context(), end))
	w.exec("select towpath.kv_put('s', 'a', '4', 2)")
	w.exec("select towpath.session_control('s', 'destroy')")
	w.deny("TW409", "destroyed", "select towpath.kv_put('s', 'a', '5', 3)")
	w.sound()
}

func TestAPageOfKeysCostsWhatItShows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	var keys []string
	var vals [][]byte
	for i := range 5000 {
		keys, vals = append(keys, fmt.Sprintf("k%05d", i)), append(vals, []byte("v"))
	}
	w.exec("select towpath.put_snapshot('s', $1, $2, 0)", keys, vals)
	w.exec("analyze towpath.session_kv")
	first := w.buffers("select * from towpath.kv_list('s', '', '', 50)")
	last := w.buffers("select * from towpath.kv_list('s', '', 'k04949', 50)")
	if last > 2*first {
		t.Errorf("page 1 reads %d buffers, page 100 %d", first, last)
	}
}

// buffers is how many pages a query touches when it has run before.
func (w *world) buffers(sql string, args ...any) int {
	w.Helper()
	plan := ""
	for range 2 {
		rows, err := w.pool.Query(w.Context(), "explain (analyze, buffers, costs off, timing off, summary off) "+sql, args...)
		w.ok(err)
		plan = ""
		for rows.Next() {
			var line string
			w.ok(rows.Scan(&line))
			plan += line + "\n"
		}
		w.ok(rows.Err())
	}
	_, rest, found := strings.Cut(plan, "Buffers: shared hit=")
	n := 0
	if _, err := fmt.Sscan(rest, &n); !found || err != nil {
		w.Fatalf("no buffers in plan:\n%s", plan)
	}
	return n
}
