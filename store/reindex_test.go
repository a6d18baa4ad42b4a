package store_test

import (
	"slices"
	"testing"
)

// An index of which a prune has left a little on every page is built anew, and nothing else is.
func TestAThinIndexIsBuiltAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.raw(`insert into towpath.event (process_no, seq, type, data, at) select p, s, 'x', '{}', towpath.now() from generate_series(1, 500) p, generate_series(1, 100) s`)
	size := func() int { return get[int](w, "select pg_relation_size('towpath.event_pkey')") }
	w.exec("analyze towpath.event")
	if names, err := w.store.Reindex(t.Context(), 1<<20); err != nil || len(names) != 0 {
		t.Errorf("a full index: %v, %v", names, err)
	}
	w.exec("delete from towpath.event where process_no % 10 <> 0")
	w.exec("vacuum (analyze) towpath.event")
	before := size()
	if names, err := w.store.Reindex(t.Context(), 1<<30); err != nil || len(names) != 0 {
		t.Errorf("a small index: %v, %v", names, err)
	}
	names, err := w.store.Reindex(t.Context(), 1<<20)
	if err != nil || !slices.Contains(names, "towpath.event_pkey") || size() > before/4 {
		t.Errorf("built anew are %v, %v; %d bytes were %d", names, err, size(), before)
	}
	if names, err := w.store.Reindex(t.Context(), 1<<20); err != nil || len(names) != 0 {
		t.Errorf("again: %v, %v", names, err)
	}
	// One at a time.
	tx := w.begin()
	if _, err := tx.Exec(t.Context(), "select pg_advisory_xact_lock(hashtextextended('towpath reindex', 0))"); err != nil {
		t.Fatal(err)
	}
	if names, err := w.store.Reindex(t.Context(), 0); err != nil || len(names) != 0 {
		t.Errorf("two at once: %v, %v", names, err)
	}
}
