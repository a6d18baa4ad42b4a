package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/towpath/towpath/store"
)

// follow reads the feed from a cursor to its present end.
func (w *world) follow(cursor string, page int) ([]store.Change, string) {
	w.Helper()
	var seen []store.Change
	for {
		list, err := w.store.Changes(w.Context(), cursor, page)
		w.ok(err)
		if len(list) == 0 {
			return seen, cursor
		}
		seen, cursor = append(seen, list...), list[len(list)-1].Place
	}
}

// passed waits until the feed has come past all that is committed: other tests' transactions hold it back, too.
func (w *world) passed() {
	w.Helper()
	for own := get[string](w, "select pg_current_xact_id()::text"); !get[bool](w, "select pg_snapshot_xmin(pg_current_snapshot()) > $1::text::xid8 from pg_sleep(0.002)", own); {
	}
}

// feature: D104
func TestAFollowerMissesNoneOf48Writers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const writers, each = 48, 8
	ids := make([][]string, writers)
	for i := range ids {
		for range each {
			ids[i] = append(ids[i], w.launch(operation()))
		}
	}
	w.passed() // else the cursor lies before some of them
	cursor, err := w.store.ChangesNow(t.Context())
	w.ok(err)
	ctx, cancel := context.WithCancel(t.Context())
	var seen []store.Change
	reader := make(chan struct{})
	go func() {
		defer close(reader)
		for {
			live := ctx.Err() == nil // before the read: what was written until then is in it
			if !live {
				w.passed()
			}
			list, next := w.follow(cursor, 1+rand.IntN(7))
			seen, cursor = append(seen, list...), next
			if !live {
				return
			}
		}
	}()
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for j := 0; j < each; j += 2 {
				// Two in a transaction that lingers: what came before it in number commits after it in time.
				tx, err := w.pool.Begin(t.Context())
				if err == nil {
					_, err = tx.Exec(t.Context(), "select towpath.cancel($1, 'x'), pg_sleep(random() / 100)", ids[i][j])
				}
				if err == nil {
					_, err = tx.Exec(t.Context(), "select towpath.cancel($1, 'x')", ids[i][j+1])
				}
				if err == nil {
					err = tx.Commit(t.Context())
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	cancel()
	<-reader
	places := map[string]bool{}
	var last, xids []string
	for _, c := range seen {
		if places[c.Place] {
			t.Errorf("%s came twice", c.Place)
		}
		places[c.Place] = true
		last = append(last, c.ID)
		xids = append(xids, fmt.Sprintf("%020s", strings.Split(c.Place, ":")[1]))
		if c.Status != "cancelled" || c.Kind != "process" || c.FinalizedAt == nil {
			t.Errorf("change %+v", c)
		}
	}
	if !slices.IsSorted(xids) {
		t.Error("the feed is not in the order of transactions")
	}
	want := slices.Sorted(slices.Values(slices.Concat(ids...)))
	if slices.Sort(last); !slices.Equal(last, want) {
		t.Errorf("%d changes of %d processes were seen", len(last), len(want))
	}
}

// feature: D105
func TestACursorOfTheFeed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := w.launch(operation()), w.submit("s")
	w.passed()
	all, end := w.follow("", 1)
	var got []string
	for _, c := range all {
		got = append(got, c.Kind+" "+c.ID+" "+c.Status)
	}
	if want := []string{"process " + one + " queued", "process " + two + " queued", "session s idle"}; !slices.Equal(got, want) {
		t.Errorf("from the beginning: %v", got)
	}
	if bulk, _ := w.follow("", 1000); !slices.Equal(bulk, all) && len(bulk) != len(all) {
		t.Errorf("in one page: %v", bulk)
	}
	for _, max := range []int{0, 10} {
		if list, err := w.store.Changes(t.Context(), end, max); err != nil || len(list) != 0 {
			t.Errorf("nothing is new: %v, %v", list, err)
		}
	}
	// Words are no change of state; each state is.
	changed := func(want ...string) {
		t.Helper()
		w.passed()
		var list []store.Change
		list, end = w.follow(end, 10)
		var got []string
		for _, c := range list {
			if c.Kind == "process" {
				got = append(got, fmt.Sprintf("%s %s %d", c.ID, c.Status, *c.LastSeq))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("changed: %v, want %v", got, want)
		}
	}
	o, _ := w.run(two, node("n"))
	changed(two + " running 2")
	w.say(o, "a", "b")
	changed()
	_, err := w.store.Cancel(t.Context(), two, "x", ttl)
	w.ok(err)
	changed(two + " running 5")
	for _, bad := range []string{"x", "1:2:3", "1:2:3:4:5:", "-1:2:3:", "1:x:3:", strings.Repeat("9", 1<<20) + ":1:1:"} {
		if _, err := w.store.Changes(t.Context(), bad, 10); bad != "1:2:3:4:5:" {
			w.refused(err, store.ErrInvalid, "not a place")
		}
	}
	_, err = w.store.Changes(t.Context(), end, 10001)
	w.refused(err, store.ErrInvalid, "max")
	// What is not committed yet holds back what is committed already and has a higher number.
	tx := w.begin()
	_, err = tx.Exec(t.Context(), "select towpath.cancel($1, 'y')", one)
	w.ok(err)
	third := w.launch(operation())
	if list, _ := w.follow(end, 10); len(list) != 0 {
		t.Errorf("ahead of an open transaction: %+v", list)
	}
	w.ok(tx.Commit(t.Context()))
	changed(one+" cancelled 3", third+" queued 1")
	// Changes of one transaction are told apart where a page ends between them.
	fourth := w.launch(operation())
	changed(fourth + " queued 1")
	w.exec("select towpath.cancel($1, 'z'), towpath.cancel($2, 'z')", third, fourth)
	w.passed()
	if list, _ := w.follow(end, 1); len(list) != 2 || list[0].ID != third || list[1].ID != fourth {
		t.Errorf("a transaction in two pages: %+v", list)
	}
}

// feature: D105
func TestARestoredFeedBeginsAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.launch(operation())
	w.passed()
	_, end := w.follow("", 10)
	// A dump was restored into a server with lower numbers.
	w.raw("update towpath.process set change_xid = '99999999999'")
	if list, err := w.store.Changes(t.Context(), "", 10); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	epoch, err := w.store.RestartFeed(t.Context())
	w.ok(err)
	_, err = w.store.Changes(t.Context(), end, 10)
	w.refused(err, store.ErrResync, "begun anew")
	w.passed()
	if list, _ := w.follow("", 10); epoch != 2 || len(list) != 1 || list[0].ID != id {
		t.Errorf("epoch %d: %+v", epoch, list)
	}
	// A backup from an hour ago knows nothing of its readers' last hour.
	_, err = w.store.Changes(t.Context(), "2:99999999999:0:", 10)
	w.refused(err, store.ErrResync, "begun anew")
	now, err := w.store.ChangesNow(t.Context())
	w.ok(err)
	next := w.launch(operation())
	w.passed()
	if list, _ := w.follow(now, 10); len(list) != 1 || list[0].ID != next {
		t.Errorf("from now: %+v", list)
	}
}
