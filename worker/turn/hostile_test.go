package turn

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/hostabi"
)

// halfway plays a turn that says a, b, c, each in a row of its own, and dies.
func (b *bench) halfway(id string) {
	b.t.Helper()
	ctx, die := context.WithCancelCause(b.t.Context())
	b.guest = func(ctx context.Context, h hostabi.Host) error {
		for _, text := range []string{"a", "b", "c"} {
			emit(ctx, b.t, h, text)
			if err := h.(*execution).sync(ctx); err != nil {
				return err
			}
		}
		die(errLost)
		return h.Sleep(ctx, time.Hour)
	}
	if err := b.work(ctx, b.node("doomed"), b.submitted(id)); err != nil {
		b.t.Fatal(err)
	}
	b.lapse()
	b.guest = func(ctx context.Context, h hostabi.Host) error {
		for _, text := range []string{"a", "b", "c", "d"} {
			if _, err := h.Emit(ctx, fmt.Appendf(nil, `{"type":"message.delta","text":%q}`, text)); err != nil {
				return err
			}
		}
		return finish(ctx, h)
	}
}

const abcd = "message.delta{\"text\": \"a\"}\nmessage.delta{\"text\": \"b\"}\nmessage.delta{\"text\": \"c\"}\nmessage.delta{\"text\": \"d\"}"

// Whoever damages a journal makes the turn begin anew, or end where it differs; never go on from a wrong place.
func TestADamagedJournalIsNotReplayed(t *testing.T) {
	for name, damage := range map[string]string{
		"the first row is gone": "delete from towpath.journal where first_n = 0",
		"a row is gone":         "delete from towpath.journal where first_n = 2",
		"the last row is gone":  "delete from towpath.journal where first_n = (select max(first_n) from towpath.journal)",
		"a row is cut":          "update towpath.journal set entries = substr(entries, 1, length(entries) - 1) where first_n = 2",
		"a row has more":        "update towpath.journal set entries = entries || '\\x00' where first_n = 2",
		"a count is wrong":      "update towpath.journal set count = 2 where first_n = 2",
		"garbage":               "update towpath.journal set entries = '\\xffffffffffffffffffffffffffffffffffffffffffffffffff' where first_n = 2",
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.halfway("p")
			if _, err := b.pool.Exec(t.Context(), damage); err != nil {
				t.Fatal(err)
			}
			if err := b.work(t.Context(), b.runner, "p"); err != nil {
				t.Fatal(err)
			}
			got, _ := b.transcript("p")
			if p := b.process("p"); p.Status != "completed" || got != abcd || !strings.Contains(b.log("p"), "process.restarted") {
				t.Errorf("%s %s: %s\n%s", p.Status, p.Outcome, got, b.log("p"))
			}
			b.check()
		})
	}
}

func TestAReorderedJournalDiverges(t *testing.T) {
	b := newBench(t)
	b.halfway("p")
	if _, err := b.pool.Exec(t.Context(), `update towpath.journal j set entries = o.entries from towpath.journal o
		where (j.first_n, o.first_n) in ((2, 3), (3, 2))`); err != nil {
		t.Fatal(err)
	}
	if err := b.work(t.Context(), b.runner, "p"); err != nil {
		t.Fatal(err)
	}
	if p := b.process("p"); p.Status != "failed" || *p.FailureKind != "divergence" || !strings.Contains(string(p.Outcome), "divergence at call 2") {
		t.Errorf("%s %s", p.Status, p.Outcome)
	}
	b.check()
}

func TestAJournalAtItsLimitEndsTheTurn(t *testing.T) {
	b := newBench(t)
	p := b.run(func(ctx context.Context, h hostabi.Host) error {
		x := h.(*execution)
		x.written = maxJournal - 10
		if err := h.KVSet(ctx, "key", []byte("small calls still fit")); err != nil {
			return err
		}
		x.delta["big"] = make([]byte, 11)
		_, err := h.KVGet(ctx, "big")
		return err
	})
	if p.Status != "failed" || *p.FailureKind != "journal" {
		t.Errorf("%s %s", p.Status, p.Outcome)
	}
	b.check()
}

// Clock and randomness cost no journal, and are the same again.
func TestReadingClockAndRandomInALoop(t *testing.T) {
	b := newBench(t)
	var seen []string
	died := errors.New("died")
	var die context.CancelCauseFunc
	b.guest = func(ctx context.Context, h hostabi.Host) error {
		sum := make([]byte, 8)
		var all uint64
		for range 200_000 {
			h.Random(sum)
			all = all*31 + binary.LittleEndian.Uint64(sum) + uint64(h.Now())
		}
		seen = append(seen, fmt.Sprint(all))
		emit(ctx, t, h, fmt.Sprint(all))
		if die != nil {
			if err := h.(*execution).sync(ctx); err != nil {
				return err
			}
			die(errLost)
			return died
		}
		return finish(ctx, h)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	die = cancel
	id := b.submitted("p")
	if err := b.work(ctx, b.node("doomed"), id); err != nil {
		t.Fatal(err)
	}
	b.lapse()
	die = nil
	if err := b.work(t.Context(), b.runner, id); err != nil {
		t.Fatal(err)
	}
	rows, err := b.store.Journal(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	calls, err := Calls(rows)
	if p := b.process(id); err != nil || p.Status != "completed" || len(calls) != 2 || len(seen) != 2 || seen[0] != seen[1] {
		t.Errorf("%s %s: %d calls in the journal, saw %v, %v", p.Status, p.Outcome, len(calls), seen, err)
	}
	b.check()
}

// A guest that heeds no refusal is held up by the database, and ends by its quota of time or journal; its worker's
// memory is bounded meanwhile.
func TestEmittingWithoutEnd(t *testing.T) {
	b := newBench(t)
	b.limits.EventsBytes = 1 << 20
	refused := 0
	biggest := 0
	p := b.run(func(ctx context.Context, h hostabi.Host) error {
		x := h.(*execution)
		x.written = maxJournal - 8<<20 // near its end already
		for {
			_, err := h.Emit(ctx, []byte(`{"type":"message.delta","text":"without end"}`))
			var refusal *hostabi.Error
			switch {
			case errors.As(err, &refusal):
				refused++
			case err != nil:
				return err
			}
			x.mu.Lock()
			biggest = max(biggest, x.size)
			x.mu.Unlock()
		}
	})
	if p.Status != "failed" || *p.FailureKind != "journal" || refused == 0 {
		t.Errorf("%s %s, %d refused", p.Status, p.Outcome, refused)
	}
	if biggest > maxUnflushed+1<<10 {
		t.Errorf("%d bytes were in memory only", biggest)
	}
	b.check()
}

// Two nodes replay the same turn: the one that was taken over says nothing.
func TestTwoNodesReplayOneTurn(t *testing.T) {
	b := newBench(t)
	b.halfway("p")
	replayed, proceed := make(chan struct{}), make(chan struct{})
	whole := b.guest
	b.guest = func(ctx context.Context, h hostabi.Host) error {
		for _, text := range []string{"a", "b", "c"} {
			emit(ctx, t, h, text)
		}
		close(replayed)
		<-proceed
		if _, err := h.Emit(ctx, []byte(`{"type":"message.delta","text":"of the loser"}`)); err != nil {
			return err
		}
		if err := h.(*execution).sync(ctx); err != nil {
			return err
		}
		return finish(ctx, h)
	}
	slow := b.node("slow")
	done := make(chan error)
	go func() { done <- b.work(t.Context(), slow, "p") }()
	<-replayed
	b.lapse()
	b.guest = whole
	if err := b.work(t.Context(), b.runner, "p"); err != nil {
		t.Fatal(err)
	}
	close(proceed)
	if err := <-done; err != nil {
		t.Error(err)
	}
	got, _ := b.transcript("p")
	if p := b.process("p"); p.Status != "completed" || got != abcd {
		t.Errorf("%s: %s\n%s", p.Status, got, b.log("p"))
	}
	b.check()
}

// FuzzHost makes many calls of the host's own methods in one turn, with whatever a guest may pass: handles that were never
// opened or are closed, texts that are no JSON or no UTF-8, calls after the end. Each is answered by a code, and the turn ends
// as its guest says.
func FuzzHost(f *testing.F) {
	b := newBench(f)
	b.redact = func(p []byte) []byte { return p }
	b.out = roundTrip(func(_ context.Context, head hostabi.HTTPHead, body []byte, _ http.Header) (*http.Response, error) {
		if head.Method != "GET" {
			return nil, hostabi.Errorf(hostabi.EDENIED, "not permitted")
		}
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body))}, nil
	})
	f.Add([]byte{1, 0, 6, 1, 7, 1, 6, 1, 7, 1}, `{"method":"GET","url":"https://a/"}`, "body")
	f.Add([]byte{2, 0, 3, 1, 4, 1, 7, 1, 3, 1}, `{"name":"tool","framing":"raw"}`, "input")
	f.Add([]byte{0, 0, 8, 0, 9, 0, 8, 0, 5, 0, 0, 0, 10, 0, 0, 0, 6, 0}, `{"type":"x","v":"\u0000\ud800"}`, "value")
	f.Add([]byte{1, 0, 1, 0, 6, 0, 6, 0}, `{"method":"GET","url":"https://a/","retry_of":1}`, "\xff\x00")
	f.Add([]byte{10, 0, 10, 0}, `{"status":"completed","text":"\u0000"}`, "")
	f.Fuzz(func(t *testing.T, calls []byte, text, other string) {
		b.t = t
		p := b.run(func(ctx context.Context, h hostabi.Host) error {
			for n := 0; len(calls) >= 2 && n < 24; n++ {
				handle := uint32(calls[1])
				if handle > 8 {
					handle *= 0x01010101
				}
				var err error
				switch calls[0] % 11 {
				case 0:
					_, err = h.Emit(ctx, []byte(text))
				case 1:
					_, err = h.HTTPOpen(ctx, []byte(text), []byte(other))
				case 2:
					_, err = h.ProcOpen(ctx, []byte(text))
				case 3:
					err = h.ProcWrite(ctx, handle, []byte(other))
				case 4:
					err = h.ProcFill(ctx, handle, []byte(other))
				case 5:
					h.Log(int32(handle), []byte(text))
				case 6:
					_, err = h.Wait(ctx, handle, time.Duration(handle&1))
				case 7:
					err = h.Close(ctx, handle)
				case 8: // the engine lets no other key through
					_, err = h.KVGet(ctx, strings.ToValidUTF8(strings.ReplaceAll(other, "\x00", ""), "")+"k")
				case 9:
					err = h.KVSet(ctx, strings.ToValidUTF8(strings.ReplaceAll(other, "\x00", ""), "")+"k", []byte(text))
				case 10:
					err = h.Finish(ctx, []byte(text))
				}
				if refused := (*hostabi.Error)(nil); err != nil && (!errors.As(err, &refused) || refused.Code <= 0) {
					return err
				}
				calls = calls[2:]
			}
			err := h.Finish(ctx, []byte(`{"status":"completed"}`))
			if refused := (*hostabi.Error)(nil); errors.As(err, &refused) && refused.Code == hostabi.ESTATE {
				return nil // it has finished before
			}
			return err
		})
		// Its result may say that it failed; the host never does.
		if p.Status != "completed" && !(p.Status == "failed" && strings.Contains(text, "status")) {
			t.Errorf("%s %s", p.Status, p.Outcome)
		}
	})
}
