package turn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/hostabi"
)

func TestLimitsEndATurnByName(t *testing.T) {
	b := newBench(t)
	b.limits = Limits{EventBytes: 100, EventsBytes: 250, Handles: 1, Calls: 1000, Idle: 50 * time.Millisecond}
	p := b.run(func(ctx context.Context, h hostabi.Host) error {
		var refused *hostabi.Error
		if _, err := h.Emit(ctx, []byte(`{"type":"x","v":"`+strings.Repeat("y", 100)+`"}`)); !errors.As(err, &refused) || refused.Code != hostabi.E2BIG {
			t.Errorf("a large event: %v", err)
		}
		var err error
		for range 10 {
			if _, err = h.Emit(ctx, []byte(`{"type":"x","v":"`+strings.Repeat("y", 50)+`"}`)); err != nil {
				break
			}
		}
		if !errors.As(err, &refused) || refused.Code != hostabi.EQUOTA {
			t.Errorf("many events: %v", err)
		}
		_, err = h.Wait(ctx, 0, -1)
		return err
	})
	if p.Status != "failed" || *p.FailureKind != "idle" {
		t.Errorf("%s %s", p.Status, p.Outcome)
	}
}

// What a guest may have in all ends its turn by name; another turn beside it goes on.
func TestBudgetsEndATurnByName(t *testing.T) {
	floodSeconds = 1
	defer func() { floodSeconds = 10 }()
	b := newBench(t)
	for _, c := range []struct {
		kind   string
		limits Limits
		guest  guest
	}{
		{"calls", Limits{EventBytes: 100, EventsBytes: 1 << 20, Handles: 1, Calls: 100, Idle: time.Minute}, func(ctx context.Context, h hostabi.Host) error {
			for range 1000 {
				if _, err := h.KVGet(ctx, "k"); err != nil && !strings.Contains(err.Error(), "no key") {
					return err
				}
			}
			return nil
		}},
		{"journal", Limits{EventBytes: 100, EventsBytes: 1 << 20, Handles: 1, Calls: 1 << 20, Idle: time.Minute, Journal: 2000}, func(ctx context.Context, h hostabi.Host) error {
			for range 1000 {
				if err := h.KVSet(ctx, "k", make([]byte, 100)); err != nil {
					return err
				}
				if _, err := h.KVGet(ctx, "k"); err != nil {
					return err
				}
			}
			return nil
		}},
	} {
		b.limits = c.limits
		var warned []string
		b.runner.Warned = func(profile string, level slog.Level, line string) { warned = append(warned, profile+" "+line) }
		p := b.run(func(ctx context.Context, h hostabi.Host) error {
			h.Log(0, []byte("fine"))
			h.Log(1, []byte("soon too much"))
			return c.guest(ctx, h)
		})
		if p.Status != "failed" || *p.FailureKind != c.kind {
			t.Errorf("%s: %s %s", c.kind, p.Status, p.Outcome)
		}
		if len(warned) != 1 || !strings.HasPrefix(warned[0], "p ") || !strings.HasSuffix(warned[0], ": soon too much") {
			t.Errorf("%s: warned %v", c.kind, warned)
		}
	}
	b.limits = Limits{EventBytes: 100, EventsBytes: 250, Handles: 1, Calls: 1000, Idle: time.Minute}
	if p := b.run(func(ctx context.Context, h hostabi.Host) error { return h.Finish(ctx, []byte("{}")) }); p.Status != "completed" {
		t.Errorf("the next turn: %s %s", p.Status, p.Outcome)
	}
}

type roundTrip func(ctx context.Context, head hostabi.HTTPHead, body []byte, own http.Header) (*http.Response, error)

func (f roundTrip) Open(ctx context.Context, head hostabi.HTTPHead, body []byte, own http.Header) (*http.Response, error) {
	return f(ctx, head, body, own)
}

func TestAnExchangeStreamsAsRecords(t *testing.T) {
	b := newBench(t)
	var keys []string
	b.out = roundTrip(func(_ context.Context, head hostabi.HTTPHead, body []byte, own http.Header) (*http.Response, error) {
		keys = append(keys, own.Get("Idempotency-Key"))
		if head.URL == "https://nowhere/" {
			return nil, hostabi.Errorf(hostabi.EDENIED, "not permitted")
		}
		return &http.Response{StatusCode: 200, Header: http.Header{"X-A": {"1"}}, Body: io.NopCloser(strings.NewReader("re:" + string(body)))}, nil
	})
	p := b.run(func(ctx context.Context, h hostabi.Host) error {
		ok, err := h.HTTPOpen(ctx, []byte(`{"method":"POST","url":"https://somewhere/"}`), []byte("ping"))
		if err != nil {
			return err
		}
		var got []string
		for {
			r, err := h.Wait(ctx, ok, -1)
			if err != nil {
				return err
			}
			got = append(got, fmt.Sprintf("%d %d %s", r.Kind, r.Code, r.Payload))
			if r.Kind == hostabi.KindEnd {
				break
			}
		}
		if s := strings.Join(got, "; "); s != `1 200 {"x-a":["1"]}; 2 0 re:ping; 4 0 ` {
			t.Errorf("records: %s", s)
		}
		if err := h.Close(ctx, ok); err != nil {
			t.Error(err)
		}
		denied, err := h.HTTPOpen(ctx, []byte(`{"method":"GET","url":"https://nowhere/"}`), nil)
		if err != nil {
			return err
		}
		r, err := h.Wait(ctx, denied, -1)
		if err != nil || r.Kind != hostabi.KindFailed || r.Code != -int32(hostabi.EDENIED) {
			t.Errorf("denied: %v, %v", r, err)
		}
		var refused *hostabi.Error
		if err := h.Close(ctx, 99); !errors.As(err, &refused) || refused.Code != hostabi.EBADF {
			t.Errorf("closing a stranger: %v", err)
		}
		return finish(ctx, h)
	})
	if p.Status != "completed" || len(keys) != 2 || keys[0] == keys[1] || keys[0] == "" {
		t.Errorf("%s, keys %v", p.Status, keys)
	}
}

func TestSecretsStayOnTheNode(t *testing.T) {
	b := newBench(t)
	b.redact = func(p []byte) []byte { return []byte(strings.ReplaceAll(string(p), "hunter2", "[redacted:PW]")) }
	p := b.run(func(ctx context.Context, h hostabi.Host) error {
		emit(ctx, t, h, "the password is hunter2")
		if err := h.KVSet(ctx, "k", []byte("hunter2")); err != nil {
			return err
		}
		return h.Finish(ctx, []byte(`{"status":"completed","text":"hunter2"}`))
	})
	v, err := b.store.KVGet(t.Context(), *p.Session, "k")
	if all := b.log(p.ID) + string(p.Outcome) + string(v); err != nil || strings.Contains(all, "hunter2") {
		t.Errorf("the secret is stored: %s", all)
	}
}
