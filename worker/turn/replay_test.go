package turn

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/store"
)

// mortal is a host whose node dies before the call with number at.
type mortal struct {
	hostabi.Host
	calls int
	at    int
	die   func()
}

func (m *mortal) next() error {
	if m.calls++; m.calls == m.at {
		m.die()
	}
	if m.at > 0 && m.calls >= m.at {
		return errLost
	}
	return nil
}

func (m *mortal) Emit(ctx context.Context, e []byte) (uint32, error) {
	if err := m.next(); err != nil {
		return 0, err
	}
	return m.Host.Emit(ctx, e)
}

func (m *mortal) HTTPOpen(ctx context.Context, head, body []byte) (uint32, error) {
	if err := m.next(); err != nil {
		return 0, err
	}
	return m.Host.HTTPOpen(ctx, head, body)
}

func (m *mortal) Wait(ctx context.Context, h uint32, d time.Duration) (*hostabi.Record, error) {
	if err := m.next(); err != nil {
		return nil, err
	}
	return m.Host.Wait(ctx, h, d)
}

func (m *mortal) Sleep(ctx context.Context, d time.Duration) error {
	if err := m.next(); err != nil {
		return err
	}
	return m.Host.Sleep(ctx, d)
}

func (m *mortal) Close(ctx context.Context, h uint32) error {
	if err := m.next(); err != nil {
		return err
	}
	return m.Host.Close(ctx, h)
}

func (m *mortal) KVGet(ctx context.Context, k string) ([]byte, error) {
	if err := m.next(); err != nil {
		return nil, err
	}
	return m.Host.KVGet(ctx, k)
}

func (m *mortal) KVSet(ctx context.Context, k string, v []byte) error {
	if err := m.next(); err != nil {
		return err
	}
	return m.Host.KVSet(ctx, k, v)
}

func (m *mortal) Finish(ctx context.Context, r []byte) error {
	if err := m.next(); err != nil {
		return err
	}
	return m.Host.Finish(ctx, r)
}

// provider answers every request with the same chunks, and counts.
type provider struct {
	mu    sync.Mutex
	calls int
	keys  map[string]int
}

func (p *provider) Open(_ context.Context, _ hostabi.HTTPHead, body []byte, own http.Header) (*http.Response, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	p.keys[own.Get("Idempotency-Key")]++
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(io.MultiReader(
		strings.NewReader("one "), strings.NewReader("two "), strings.NewReader("three "), bytes.NewReader(body)))}, nil
}

// scripted is a turn of two exchanges that uses every call, and asks again for what was lost.
func scripted(ctx context.Context, h hostabi.Host) error {
	random := make([]byte, 8)
	h.Random(random)
	say := func(text string) error {
		_, err := h.Emit(ctx, fmt.Appendf(nil, `{"type":"message.delta","text":%q}`, text))
		return err
	}
	began := h.Now()
	for i := range 2 {
		if err := exchange(ctx, h, fmt.Sprintf("%d %x", i, random), say, 0); err != nil {
			return err
		}
		if err := h.Sleep(ctx, time.Millisecond); err != nil {
			return err
		}
	}
	if _, err := h.KVGet(ctx, "none"); err == nil {
		return fmt.Errorf("a key that was never set has a value")
	}
	if err := h.KVSet(ctx, "random", random); err != nil {
		return err
	}
	if v, err := h.KVGet(ctx, "random"); err != nil || !bytes.Equal(v, random) {
		return fmt.Errorf("kv: %x, %w", v, err)
	}
	if h.Now() <= began {
		return fmt.Errorf("the clock stands")
	}
	return h.Finish(ctx, fmt.Appendf(nil, `{"status":"completed","random":"%x"}`, random))
}

func exchange(ctx context.Context, h hostabi.Host, body string, say func(string) error, again uint32) error {
	head := fmt.Sprintf(`{"method":"POST","url":"https://provider/","retry_of":%d}`, again)
	handle, err := h.HTTPOpen(ctx, []byte(head), []byte(body))
	if err != nil {
		return err
	}
	for {
		r, err := h.Wait(ctx, handle, -1)
		if err != nil {
			return err
		}
		switch r.Kind {
		case hostabi.KindData:
			if err := say(string(r.Payload)); err != nil {
				return err
			}
		case hostabi.KindEnd:
			return h.Close(ctx, handle)
		case hostabi.KindFailed:
			if r.Code != -int32(hostabi.ELOST) {
				return fmt.Errorf("exchange: %s", r.Payload)
			}
			// Not naming the lost call is refused.
			if _, err := h.HTTPOpen(ctx, []byte(`{"method":"POST","url":"https://provider/"}`), []byte(body)); err == nil {
				return fmt.Errorf("a silent second call was let through")
			}
			return exchange(ctx, h, body, say, handle)
		}
	}
}

// transcript is what a reader is left with: the guest's events that are not taken back.
func (b *bench) transcript(id string) (text string, reissued int) {
	b.t.Helper()
	events, err := b.store.Events(b.t.Context(), id, 0, 10000)
	if err != nil {
		b.t.Fatal(err)
	}
	lines := map[int64]string{}
	for _, e := range events {
		switch {
		case e.Type == "process.retracted":
			var r struct {
				From int64 `json:"from_seq"`
				To   int64 `json:"to_seq"`
			}
			if err := json.Unmarshal(e.Data, &r); err != nil {
				b.t.Fatal(err)
			}
			for seq := r.From; seq <= r.To; seq++ {
				delete(lines, seq)
			}
		case e.Type == "process.reissued":
			reissued++
		case !strings.HasPrefix(e.Type, "process."):
			lines[e.Seq] = e.Type + string(e.Data)
		}
	}
	var all []string
	for _, e := range events {
		if line, kept := lines[e.Seq]; kept {
			all = append(all, line)
		}
	}
	return strings.Join(all, "\n"), reissued
}

// lapse makes every lease of the dead run out, and lets the sweep find them. Nodes called doomed are dead from here on:
// one that still stored something would take its lapsed lease up again.
func (b *bench) lapse() {
	b.t.Helper()
	for _, stop := range b.dead {
		stop()
	}
	b.dead = nil
	if _, err := b.pool.Exec(b.t.Context(), "update towpath.lease set expires_at = towpath.now() - interval '1 second'"); err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.store.Sweep(b.t.Context(), time.Nanosecond, uuid.Nil, 10); err != nil {
		b.t.Fatal(err)
	}
}

// submitted makes a turn with a given id, so that its random stream is the same in every run.
func (b *bench) submitted(id string) string {
	b.t.Helper()
	got, err := b.store.Submit(b.t.Context(), store.Submission{Profile: "p", Input: []byte(`{}`), Options: fmt.Appendf(nil, `{"id":%q,"max_attempts":100}`, id)})
	if err != nil {
		b.t.Fatal(err)
	}
	return got
}

func TestATurnGoesOnWhereverItsWorkerDied(t *testing.T) {
	b := newBench(t)
	var p provider
	b.out = &p
	p.keys = map[string]int{}
	counted := &mortal{}
	b.guest = func(ctx context.Context, h hostabi.Host) error { counted.Host = h; return scripted(ctx, counted) }
	whole := b.submitted("undisturbed")
	if err := b.work(t.Context(), b.runner, whole); err != nil {
		t.Fatal(err)
	}
	if s := b.process(whole); s.Status != "completed" || p.calls != 2 {
		t.Fatalf("undisturbed: %s %s, %d calls", s.Status, s.Outcome, p.calls)
	}
	want, _ := b.transcript(whole)

	for at := 1; at <= counted.calls; at++ {
		for _, flushed := range []bool{false, true} {
			t.Run(fmt.Sprintf("call %d flushed %t", at, flushed), func(t *testing.T) {
				b.t = t
				p.calls, p.keys = 0, map[string]int{}
				id := b.submitted(fmt.Sprintf("p%d%t", at, flushed))
				ctx, die := context.WithCancelCause(t.Context())
				b.guest = func(ctx context.Context, h hostabi.Host) error {
					return scripted(ctx, &mortal{Host: h, at: at, die: func() {
						if flushed {
							if err := h.(*execution).sync(ctx); err != nil {
								t.Error(err)
							}
						}
						die(errLost)
					}})
				}
				// A node that dies says nothing more: not even what it had in memory.
				doomed := b.node("doomed")
				if err := b.work(ctx, doomed, id); err != nil {
					t.Fatal(err)
				}
				b.lapse()
				b.guest = scripted
				if err := b.work(t.Context(), b.runner, id); err != nil {
					t.Fatal(err)
				}
				s := b.process(id)
				if s.Status != "completed" {
					t.Fatalf("%s %s\n%s", s.Status, s.Outcome, b.log(id))
				}
				got, reissued := b.transcript(id)
				if mask(got) != mask(want) {
					t.Errorf("transcript\n%s\nwant\n%s\nlog\n%s", got, want, b.log(id))
				}
				if p.calls != 2+reissued {
					t.Errorf("%d calls, %d reported as made again\n%s", p.calls, reissued, b.log(id))
				}
				if len(p.keys) != 2 {
					t.Errorf("%d idempotency keys, want one a call", len(p.keys))
				}
				b.check()
			})
		}
	}
}

// mask hides the random bytes of a turn, which are its own.
func mask(s string) string {
	var out []string
	for line := range strings.SplitSeq(s, "\n") {
		if i := strings.Index(line, `"0 `); i >= 0 {
			line = line[:i+3]
		}
		if i := strings.Index(line, `"1 `); i >= 0 {
			line = line[:i+3]
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

func TestReplayStopsAtTheFirstOtherCall(t *testing.T) {
	b := newBench(t)
	id := b.submitted("p")
	ctx, die := context.WithCancelCause(t.Context())
	b.guest = func(ctx context.Context, h hostabi.Host) error {
		emit(ctx, t, h, "a")
		emit(ctx, t, h, "b")
		if err := h.(*execution).sync(ctx); err != nil {
			t.Error(err)
		}
		die(errLost)
		return h.Sleep(ctx, time.Hour)
	}
	if err := b.work(ctx, b.node("doomed"), id); err != nil {
		t.Fatal(err)
	}
	b.lapse()
	b.guest = func(ctx context.Context, h hostabi.Host) error {
		emit(ctx, t, h, "a")
		_, err := h.Emit(ctx, []byte(`{"type":"message.delta","text":"c"}`))
		return err
	}
	if err := b.work(t.Context(), b.runner, id); err != nil {
		t.Fatal(err)
	}
	if p := b.process(id); p.Status != "failed" || *p.FailureKind != "divergence" || !strings.Contains(string(p.Outcome), "divergence at call 2: emit") {
		t.Errorf("%s %s", p.Status, p.Outcome)
	}
	b.check()
}

func TestInDoubtPolicies(t *testing.T) {
	for _, c := range []struct{ policy, decision, want string }{
		{"fail", "", "failed"}, {"ask", "retry", "completed"}, {"ask", "fail", "failed"},
	} {
		t.Run(c.policy+" "+c.decision, func(t *testing.T) {
			b := newBench(t)
			p := &provider{keys: map[string]int{}}
			b.out, b.doubt = p, c.policy
			id := b.submitted("p")
			ctx, die := context.WithCancelCause(t.Context())
			b.guest = func(ctx context.Context, h hostabi.Host) error {
				return scripted(ctx, &mortal{Host: h, at: 2, die: func() { die(errLost) }})
			}
			if err := b.work(ctx, b.node("doomed"), id); err != nil {
				t.Fatal(err)
			}
			b.lapse()
			var calls string
			if err := b.pool.QueryRow(t.Context(), "select calls::text from towpath.in_doubt where id = $1", id).Scan(&calls); err != nil ||
				!strings.Contains(calls, `"target": "provider"`) {
				t.Errorf("in_doubt shows %s, %v", calls, err)
			}
			b.guest = scripted
			if err := b.work(t.Context(), b.runner, id); err != nil {
				t.Fatal(err)
			}
			if c.decision != "" {
				if s := b.process(id); s.Status != "waiting" {
					t.Fatalf("before the decision: %s", s.Status)
				}
				if _, err := b.store.Resolve(t.Context(), id, c.decision); err != nil {
					t.Fatal(err)
				}
				if c.decision == "retry" {
					if err := b.work(t.Context(), b.runner, id); err != nil {
						t.Fatal(err)
					}
				}
			}
			s := b.process(id)
			if s.Status != c.want || c.want == "failed" && *s.FailureKind != "in_doubt" {
				t.Errorf("%s %s, want %s", s.Status, s.Outcome, c.want)
			}
			if c.want == "failed" && p.calls != 1 {
				t.Errorf("%d calls although nobody allowed a second", p.calls)
			}
			b.check()
		})
	}
}

func TestAJournalThatCannotBeReplayedBeginsAnew(t *testing.T) {
	b := newBench(t)
	id := b.submitted("p")
	ctx, die := context.WithCancelCause(t.Context())
	b.guest = func(ctx context.Context, h hostabi.Host) error {
		emit(ctx, t, h, "old")
		if err := h.(*execution).sync(ctx); err != nil {
			t.Error(err)
		}
		die(errLost)
		return h.Sleep(ctx, time.Hour)
	}
	if err := b.work(ctx, b.node("doomed"), id); err != nil {
		t.Fatal(err)
	}
	b.lapse()
	b.digest = "another module"
	b.guest = func(ctx context.Context, h hostabi.Host) error { emit(ctx, t, h, "new"); return finish(ctx, h) }
	if err := b.work(t.Context(), b.runner, id); err != nil {
		t.Fatal(err)
	}
	got, _ := b.transcript(id)
	if p := b.process(id); p.Status != "completed" || got != `message.delta{"text": "new"}` || !strings.Contains(b.log(id), "process.restarted") {
		t.Errorf("%s: %s\n%s", p.Status, got, b.log(id))
	}
	b.check()
}

func FuzzParseEntry(f *testing.F) {
	f.Add(entry{op: opWait, ret: 5, at: 12345, data: []byte("hello")}.appendTo(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, rest, err := parseEntry(b)
		if err != nil {
			return
		}
		again, tail, err := parseEntry(append(e.appendTo(nil), rest...))
		if err != nil || again.op != e.op || again.digest != e.digest || again.ret != e.ret || again.at != e.at ||
			!bytes.Equal(again.data, e.data) || !bytes.Equal(tail, rest) {
			t.Errorf("%v %v: %v", e, again, err)
		}
	})
}
