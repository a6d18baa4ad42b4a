package store_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/store"
)

// feature: D33 D34
func TestAwaitingManyProcesses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := node("n")
	ended := w.launch(operation())
	w.ok(w.store.Complete(t.Context(), w.claimed(ended, n), done("k")))
	if p, err := w.store.Await(t.Context(), ended); err != nil || p.Status != "completed" {
		t.Errorf("%+v, %v", p, err)
	}
	if status := get[string](w, "select status from towpath.await_output($1)", ended); status != "completed" {
		t.Errorf("await_output says %s", status)
	}
	ids := make([]string, 10)
	var wg sync.WaitGroup
	for i := range ids {
		ids[i] = w.launch(operation())
		for range 20 {
			wg.Go(func() {
				p, err := w.store.Await(t.Context(), ids[i])
				if err != nil || p.ID != ids[i] || p.Status != "cancelled" {
					t.Errorf("%+v, %v", p, err)
				}
			})
		}
	}
	if rows := get[int](w, "select count(*) from towpath.await_output($1)", ids[0]); rows != 0 {
		t.Error("await_output answers for what has not ended")
	}
	// Another node ends them.
	other := store.New(w.pool)
	_, err := other.CancelAll(t.Context(), "enough", 0)
	w.ok(err)
	wg.Wait()
	for _, id := range []string{"none", ""} {
		_, err := w.store.Await(t.Context(), id)
		w.refused(err, store.ErrNotFound, "unknown process")
	}
	_, err = w.pool.Exec(t.Context(), "select * from towpath.await_output('none')")
	if err == nil {
		t.Error("await_output knows none")
	}
}

// A waiter learns of an end that it is not told of, and of its own process's being gone.
//
// feature: D33 D34
func TestAwaitingWithoutNotifications(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.pool.Config().Copy()
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec // as through a pooler
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	w.ok(err)
	t.Cleanup(pool.Close)
	s := store.New(pool)
	ends, gone := w.launch(operation()), w.launch(operation())
	var wg sync.WaitGroup
	wg.Go(func() {
		began := time.Now()
		p, err := s.Await(t.Context(), ends)
		if err != nil || p.Status != "cancelled" {
			t.Errorf("%+v, %v", p, err)
		}
		t.Logf("after %s", time.Since(began))
	})
	wg.Go(func() {
		_, err := s.Await(t.Context(), gone)
		(&world{TB: t}).refused(err, store.ErrNotFound, gone)
	})
	w.exec("set towpath.notify = off; select towpath.cancel('" + ends + "'); set towpath.notify = on; delete from towpath.event where process_no = (select no from towpath.process where id = '" + gone + "'); delete from towpath.process where id = '" + gone + "'")
	wg.Wait()
}

// feature: D34
func TestAWaitEndsWithItsCallerOrTheDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.launch(operation())
	ctx, cancel := context.WithCancel(t.Context())
	cfg := w.pool.Config().Copy()
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	w.ok(err)
	s := store.New(pool)
	one, two := make(chan error, 1), make(chan error, 1)
	go func() { _, err := w.store.Await(ctx, id); one <- err }()
	go func() { _, err := s.Await(t.Context(), id); two <- err }()
	cancel()
	if err := <-one; !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that leaves: %v", err)
	}
	pool.Close() // no more connections: what the wait asks next fails
	if err := <-two; err == nil || store.Refused(err) {
		t.Errorf("a wait without a database: %v", err)
	}
}
