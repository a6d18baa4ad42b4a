package turn

import (
	"context"
	"strings"
	"testing"

	"github.com/towpath/towpath/hostabi"
)

// atCommit makes every commit that takes a lease run a statement at its end, when the node knows the claim already.
func (b *bench) atCommit(statement string) {
	b.t.Helper()
	if _, err := b.pool.Exec(b.t.Context(), `create function at_commit() returns trigger language plpgsql as $$ begin `+statement+`; return null; end $$;
		create constraint trigger at_commit after insert on towpath.lease deferrable initially deferred for each row execute function at_commit()`); err != nil {
		b.t.Fatal(err)
	}
}

// A guest computes while the database stores the claim. What it does waits.
func TestAGuestBeginsWhileItsClaimIsStored(t *testing.T) {
	for name, g := range map[string]guest{
		"and says something": func(ctx context.Context, h hostabi.Host) error {
			emit(ctx, t, h, "a")
			return finish(ctx, h)
		},
		"and ends":  finish,
		"and traps": func(context.Context, hostabi.Host) error { return &Exceeded{Limit: "memory", Text: "too much"} },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.early = true
			b.atCommit("perform pg_advisory_xact_lock(7)")
			held, err := b.pool.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer held.Rollback(context.WithoutCancel(t.Context()))
			if _, err := held.Exec(t.Context(), "select pg_advisory_xact_lock(7)"); err != nil {
				t.Fatal(err)
			}
			began, done := make(chan struct{}), make(chan error, 1)
			b.guest = func(ctx context.Context, h hostabi.Host) error {
				if !strings.Contains(string(h.Request()), "hi") {
					t.Errorf("it was asked %s", h.Request())
				}
				close(began)
				return g(ctx, h)
			}
			id := b.submit("")
			go func() { done <- b.work(t.Context(), b.runner, id) }()
			b.reached(began, done)
			if p := b.process(id); p.Status != "queued" {
				t.Errorf("it is %s while the claim is being stored", p.Status)
			}
			if n := b.runner.Running(); n != 0 {
				t.Errorf("%d turns run", n)
			}
			if err := held.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if p := b.process(id); p.FinalizedAt == nil || !strings.Contains(b.log(id), "process.started") {
				t.Errorf("%s\n%s", p.Status, b.log(id))
			}
			if rows, err := b.store.Journal(t.Context(), id); err != nil || len(rows) == 0 || rows[0].First != 0 {
				t.Errorf("journal: %v, %v", rows, err)
			}
			b.check()
		})
	}
}

// What a guest did on the strength of a claim that was not stored is gone, and the job comes again.
func TestAClaimThatIsNotStoredLeavesNothing(t *testing.T) {
	b := newBench(t)
	b.early = true
	b.atCommit("raise exception 'no room'")
	b.guest = func(ctx context.Context, h hostabi.Host) error {
		if _, err := h.Emit(ctx, []byte(`{"type":"message.delta","text":"a"}`)); err == nil {
			t.Error("it was heard")
		}
		return finish(ctx, h)
	}
	id := b.submit("")
	if err := b.work(t.Context(), b.runner, id); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("the job ended with %v", err)
	}
	if log := b.log(id); b.process(id).Status != "queued" || strings.Contains(log, "\n") {
		t.Errorf("%s\n%s", b.process(id).Status, log)
	}
	if _, err := b.pool.Exec(t.Context(), "drop trigger at_commit on towpath.lease"); err != nil {
		t.Fatal(err)
	}
	b.guest = func(ctx context.Context, h hostabi.Host) error {
		emit(ctx, t, h, "a")
		return finish(ctx, h)
	}
	if err := b.work(t.Context(), b.runner, id); err != nil {
		t.Fatal(err)
	}
	if p := b.process(id); p.Status != "completed" || strings.Count(b.log(id), "message.delta") != 1 {
		t.Errorf("%s\n%s", p.Status, b.log(id))
	}
	b.check()
}
