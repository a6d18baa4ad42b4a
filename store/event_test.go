package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/towpath/towpath/store"
)

func TestReadingEventsByPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("")
	o, _ := w.run(id, node("n"))
	for i := range 10 {
		w.say(o, fmt.Sprint(i))
	}
	var seqs []int64
	for after := int64(0); ; {
		page, err := w.store.Events(t.Context(), id, after, 5)
		w.ok(err)
		for _, e := range page {
			seqs = append(seqs, e.Seq)
		}
		if len(page) < 5 {
			break
		}
		after = page[len(page)-1].Seq
	}
	if want := []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}; !slices.Equal(seqs, want) {
		t.Errorf("pages had %v", seqs)
	}
	for _, max := range []int{0, -1, 10001} {
		_, err := w.store.Events(t.Context(), id, 0, max)
		w.refused(err, store.ErrInvalid, "max is not between 1 and 10000")
	}
	_, err := w.store.Events(t.Context(), "p_none", 0, 1)
	w.refused(err, store.ErrNotFound, `unknown process "p_none"`)
	if page, err := w.store.Events(t.Context(), id, 99, 1); len(page) != 0 || err != nil {
		t.Errorf("after the end: %v, %v", page, err)
	}
}

// A reader sees each event once, in order, and stops by itself, whether notifications reach it or not.
func TestFollowingATurn(t *testing.T) {
	t.Parallel()
	for _, listen := range []bool{true, false} {
		t.Run(fmt.Sprintf("listen %t", listen), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			id := w.submit("")
			poll := time.Hour
			if !listen {
				poll = 5 * time.Millisecond
			}
			var seqs []int64
			seen := make(chan int64, 100)
			done := make(chan error, 1)
			go func() {
				done <- w.store.Follow(t.Context(), id, 0, poll, listen, func(e store.Event) error {
					seqs = append(seqs, e.Seq)
					seen <- e.Seq
					return nil
				})
			}()
			<-seen // queued
			o, _ := w.run(id, node("n"))
			<-seen // started
			w.say(o, "one", "two")
			<-seen
			<-seen
			w.complete(o)
			w.ok(<-done)
			if want := []int64{1, 2, 3, 4, 5}; !slices.Equal(seqs, want) {
				t.Errorf("saw %v", seqs)
			}
		})
	}
}

func TestFollowingEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("")
	stop := errors.New("enough")
	if err := w.store.Follow(t.Context(), id, 0, time.Hour, true, func(store.Event) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the reader's own error: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := w.store.Follow(ctx, id, 0, time.Hour, true, func(store.Event) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("its context: %v", err)
	}
	err = w.store.Follow(t.Context(), "p_none", 0, time.Hour, true, func(store.Event) error { return nil })
	w.refused(err, store.ErrNotFound, "unknown process")
}

// listener collects what a connection hears until a given number of notifications has come.
func (w *world) listener(channels ...string) (hear func(n int) []string, quiet func()) {
	w.Helper()
	conn, err := pgx.Connect(w.Context(), w.pool.Config().ConnString())
	w.ok(err)
	w.Cleanup(func() { _ = conn.Close(context.Background()) })
	for _, c := range channels {
		_, err := conn.Exec(w.Context(), "listen "+pgx.Identifier{c}.Sanitize())
		w.ok(err)
	}
	hear = func(n int) []string {
		w.Helper()
		var got []string
		for range n {
			note, err := conn.WaitForNotification(w.Context())
			w.ok(err)
			got = append(got, note.Channel+" "+note.Payload)
		}
		return got
	}
	// Notifications come in the order of commits, so a marker that comes next proves that nothing else was sent.
	quiet = func() {
		w.Helper()
		w.exec("select pg_notify($1, 'marker')", channels[0])
		if got := hear(1); got[0] != channels[0]+" marker" {
			w.Errorf("heard %q as well", got[0])
		}
	}
	return hear, quiet
}

func TestWhoIsWokenByWhat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hear, quiet := w.listener(store.ChannelEvents, store.ChannelControl, "public.river_insert")
	expect := func(want ...string) {
		t.Helper()
		got := hear(len(want))
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("heard %q, want %q", got, want)
		}
		quiet()
	}
	a, b := w.submit("s"), ""
	expect(`public.river_insert {"queue" : "turns"}`)
	b = w.submit("s")
	quiet() // it waits: nobody to wake
	oa, _ := w.run(a, node("n"))
	expect("towpath_events " + a)
	other := w.submit("")
	ob, _ := w.run(other, node("n"))
	expect(`public.river_insert {"queue" : "turns"}`, "towpath_events "+other)
	// One notification for a flush of two turns.
	_, err := w.store.Append(t.Context(), []store.Batch{batch(oa, "1", "2"), batch(ob, "1", "2")})
	w.ok(err)
	got := hear(1)
	if got[0] != "towpath_events "+a+","+other && got[0] != "towpath_events "+other+","+a {
		t.Errorf("heard %q", got)
	}
	quiet()
	_, err = w.store.Append(t.Context(), []store.Batch{batch(store.Owner{No: oa.No, Fence: -1}, "stale")})
	w.ok(err)
	quiet()
	_, err = w.store.Steer(t.Context(), a, []byte("{}"), "")
	w.ok(err)
	expect("towpath_control " + a)
	_, err = w.store.Cancel(t.Context(), a, "x", 0)
	w.ok(err)
	expect("towpath_control "+a, "towpath_events "+a)
	w.complete(oa)
	expect("towpath_events "+a, `public.river_insert {"queue" : "turns"}`)
	_, err = w.store.Cancel(t.Context(), b, "x", 0)
	w.ok(err)
	expect("towpath_events "+b, `public.river_insert {"queue" : "turns"}`) // the steer that came too late for a is next
	// Bulk loads may keep quiet.
	w.exec(`begin; set local towpath.notify = off; select towpath.submit('p', '{}'); commit`)
	quiet()
}

// An executor's commits wait for the disk together: those that notify could not. Whoever executes from SQL has nobody who
// would do it afterwards.
func TestReadersAreWokenAfterTheCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hear, quiet := w.listener(store.ChannelEvents)
	for _, c := range []struct {
		set   string
		heard bool
	}{{"", true}, {"off", false}, {"after", false}} {
		id := w.launch(operation())
		hear(1)
		tx := w.begin()
		says := func(sql string, args ...any) {
			t.Helper()
			_, err := tx.Exec(t.Context(), sql, args...)
			w.ok(err)
		}
		says("select set_config('towpath.notify', $1, true)", c.set)
		var no, fence int64
		w.ok(tx.QueryRow(t.Context(), "select process_no, fence from towpath.claim_process($1, 'n', gen_random_uuid(), '1 minute')", id).Scan(&no, &fence))
		says("select towpath.append(array[$1::bigint], array[$2::bigint], array[$2::bigint], '{said}', '{\"{}\"}')", no, fence)
		says("select towpath.complete($1, $2, 'completed', '{}', 'done')", no, fence)
		w.ok(tx.Commit(t.Context()))
		if c.heard {
			hear(1)
		}
		quiet()
	}
	id := w.launch(operation())
	hear(1)
	l, err := w.store.ClaimProcess(t.Context(), id, node("n"), time.Minute, 0)
	w.ok(err)
	if got := hear(1); got[0] != "towpath_events "+id {
		t.Errorf("a claim: heard %q", got)
	}
	quiet()
	w.ok(w.store.Complete(t.Context(), l.Owner(), done("k")))
	if got := hear(1); got[0] != "towpath_events "+id {
		t.Errorf("an end: heard %q", got)
	}
	quiet()
	// Nobody knows which process an owner without its name is of.
	o, _ := w.run(w.submit("s"), node("n"))
	hear(1)
	o.ID = ""
	w.say(o, "something")
	if got := hear(1); got[0] != "towpath_events *" {
		t.Errorf("a nameless owner: heard %q", got)
	}
}

func TestAFlushOfManyTurnsWakesEverybodyOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hear, quiet := w.listener(store.ChannelEvents)
	var batches []store.Batch
	for i := range 40 {
		id := fmt.Sprintf("%0200d", i) // 40 of these do not fit into one notification
		_, err := w.store.Submit(t.Context(), store.Submission{Profile: "p", Input: []byte("{}"), Options: fmt.Appendf(nil, `{"id": %q}`, id)})
		w.ok(err)
		o, _ := w.run(id, node("n"))
		hear(1)
		batches = append(batches, batch(o, "x"))
	}
	_, err := w.store.Append(t.Context(), batches)
	w.ok(err)
	if got := hear(1); got[0] != "towpath_events *" {
		t.Errorf("heard %.40q", got)
	}
	quiet()
}

func TestListeningEndsWithItsConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- w.store.Listen(t.Context(), []string{"a b"}, func() { close(ready) }, func(string, string) {})
	}()
	<-ready
	w.exec("select pg_terminate_backend(pid) from pg_stat_activity where query like 'listen%' and datname = current_database() and pid <> pg_backend_pid()")
	if err := <-done; err == nil {
		t.Error("no error when the connection broke")
	}
}
