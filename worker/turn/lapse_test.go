package turn

import (
	"context"
	"strings"
	"testing"

	"github.com/towpath/towpath/hostabi"
)

// expire makes every lease run out without anybody noticing, as an outage of the database does.
func (b *bench) expire() {
	b.t.Helper()
	if _, err := b.pool.Exec(b.t.Context(), "update towpath.lease set expires_at = towpath.now() - interval '1 second'"); err != nil {
		b.t.Fatal(err)
	}
}

// What is on its way while the lease lapses is stored all the same, if nobody has taken the turn meanwhile.
//
// feature: D13
func TestALapsedLeaseLosesNothing(t *testing.T) {
	for name, g := range map[string]func(b *bench) guest{
		"in a flush": func(b *bench) guest {
			return func(ctx context.Context, h hostabi.Host) error {
				emit(ctx, t, h, "a")
				b.expire()
				if err := h.(*execution).sync(ctx); err != nil {
					return err
				}
				emit(ctx, t, h, "b")
				return finish(ctx, h)
			}
		},
		"at the end": func(b *bench) guest {
			return func(ctx context.Context, h hostabi.Host) error {
				emit(ctx, t, h, "a")
				emit(ctx, t, h, "b")
				b.expire()
				return finish(ctx, h)
			}
		},
		"when it goes back": func(b *bench) guest {
			first := true
			return func(ctx context.Context, h hostabi.Host) error {
				emit(ctx, t, h, "a")
				if first {
					first = false
					b.expire()
					return context.DeadlineExceeded // the host's trouble
				}
				emit(ctx, t, h, "b")
				return finish(ctx, h)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.guest = g(b)
			id := b.submitted("p")
			if err := b.work(t.Context(), b.runner, id); err != nil {
				t.Fatal(err)
			}
			if p := b.process(id); p.Status == "backoff" {
				if err := b.work(t.Context(), b.runner, id); err != nil {
					t.Fatal(err)
				}
			}
			got, _ := b.transcript(id)
			if p := b.process(id); p.Status != "completed" || got != "message.delta{\"text\": \"a\"}\nmessage.delta{\"text\": \"b\"}" {
				t.Errorf("%s: %s\n%s", p.Status, got, b.log(id))
			}
			if name == "when it goes back" && strings.Contains(b.log(id), "process.retracted") {
				t.Errorf("the journal was lost:\n%s", b.log(id))
			}
			b.check()
		})
	}
}

// The same, but somebody has taken it: nothing of the old owner is stored.
//
// feature: D13 D62
func TestATakenLeaseStoresNothing(t *testing.T) {
	b := newBench(t)
	id := b.submitted("p")
	b.guest = func(ctx context.Context, h hostabi.Host) error {
		if err := h.(*execution).sync(ctx); err != nil { // so that no flush is on its way
			return err
		}
		b.lapse()
		emit(ctx, t, h, "old")
		if err := h.(*execution).sync(ctx); err != nil {
			return err
		}
		t.Error("it was stored")
		return finish(ctx, h)
	}
	if err := b.work(t.Context(), b.runner, id); err != nil {
		t.Fatal(err)
	}
	if got, _ := b.transcript(id); got != "" {
		t.Errorf("the old owner stored %s", got)
	}
	b.check()
}
