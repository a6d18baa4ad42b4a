package turn

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/store"
)

// ended plays the scripted turn to its end and returns its journal.
func (b *bench) ended(id string) []store.Journal {
	b.t.Helper()
	b.out, b.guest = &provider{keys: map[string]int{}}, scripted
	if err := b.work(b.t.Context(), b.runner, b.submitted(id)); err != nil {
		b.t.Fatal(err)
	}
	if p := b.process(id); p.Status != "completed" {
		b.t.Fatalf("%s %s", p.Status, p.Outcome)
	}
	rows, err := b.store.Journal(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return rows
}

func TestAnEndedTurnRunsAgainFromItsJournalAlone(t *testing.T) {
	b := newBench(t)
	rows := b.ended("p")
	calls, err := Calls(rows)
	if err != nil {
		t.Fatal(err)
	}
	n, err := Offline(t.Context(), rows, nil, scripted)
	if err != nil || n != len(calls) {
		t.Errorf("%d of %d calls agree: %v", n, len(calls), err)
	}
	if last := calls[n-1]; last.Op != "finish" || last.N != n {
		t.Errorf("the last call is %+v", last)
	}
}

// Another build of a plugin that does one thing differently.
func TestTheFirstDifferenceIsNamed(t *testing.T) {
	b := newBench(t)
	rows := b.ended("p")
	calls, err := Calls(rows)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range calls {
		t.Run(fmt.Sprintf("%d %s", c.N, c.Op), func(t *testing.T) {
			// The guest makes a call of its own before the nth.
			extra := func(ctx context.Context, h hostabi.Host) error {
				return scripted(ctx, &mortal{Host: h, at: c.N, die: func() { _, _ = h.KVGet(ctx, "of its own") }})
			}
			n, err := Offline(t.Context(), rows, nil, extra)
			var d *Difference
			if n != c.N-1 || !errors.As(err, &d) || d.N != c.N || d.Want != c.Op {
				t.Errorf("%d calls agree: %v, want a difference at %d", n, err, c.N)
			}
		})
	}
}

func TestWhatADifferenceSays(t *testing.T) {
	b := newBench(t)
	rows := b.ended("p")
	for want, g := range map[string]guest{
		"call 1: the journal has http_open, the plugin has ended": func(context.Context, hostabi.Host) error { return nil },
		`call 1: the journal has http_open, the plugin calls emit({"type":"x"})`: func(ctx context.Context, h hostabi.Host) error {
			_, err := h.Emit(ctx, []byte(`{"type":"x"}`))
			return err
		},
		"call 1: other arguments for http_open: the plugin passes {}, body": func(ctx context.Context, h hostabi.Host) error {
			_, err := h.HTTPOpen(ctx, []byte("{}"), []byte("body"))
			return err
		},
	} {
		if _, err := Offline(t.Context(), rows, nil, g); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	_, err := Offline(t.Context(), rows, nil, func(ctx context.Context, h hostabi.Host) error {
		if err := scripted(ctx, h); err != nil {
			return err
		}
		_, err := h.KVGet(ctx, "more")
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "the journal has ended, the plugin calls kv_get(more)") {
		t.Error(err)
	}
}

// What ended the turn is not in the journal, so its plugin agrees up to there.
func TestATurnEndedFromOutsideAgreesUpToThere(t *testing.T) {
	b := newBench(t)
	rows := b.ended("p")
	past, _, err := unpack(rows)
	if err != nil {
		t.Fatal(err)
	}
	for n := 2; n < len(past); n++ {
		var cut store.Journal
		for _, e := range past[:n] {
			cut.Entries, cut.Count = e.appendTo(cut.Entries), cut.Count+1
		}
		if got, err := Offline(t.Context(), []store.Journal{cut}, nil, scripted); err != nil || got != n-1 {
			t.Errorf("%d calls agree, want %d: %v", got, n-1, err)
		}
	}
}
