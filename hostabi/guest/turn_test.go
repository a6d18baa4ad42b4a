package guest_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/guesttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWhatRunReturnsBecomesTheResult(t *testing.T) {
	type text struct {
		Text string `json:"text"`
	}
	slow := guest.Fail(guest.KindRateLimited, "slow down")
	slow.RetryAfter = 1500 * time.Millisecond
	for name, c := range map[string]struct {
		value any
		err   error
		want  string
	}{
		"nothing":             {nil, nil, `{"status":"completed"}`},
		"an object":           {text{"hi"}, nil, `{"status":"completed","text":"hi"}`},
		"an empty object":     {struct{}{}, nil, `{"status":"completed"}`},
		"a word":              {"hi", nil, `{"status":"completed","output":"hi"}`},
		"a nil pointer":       {(*text)(nil), nil, `{"status":"completed"}`},
		"a classified error":  {nil, slow, `{"status":"failed","kind":"rate_limited","retryable":true,"retry_after_ms":1500,"message":"slow down"}`},
		"an error and a part": {text{"half"}, guest.Fail(guest.KindAuth, "no"), `{"status":"failed","kind":"auth","message":"no","text":"half"}`},
		"any error":           {nil, errors.New("oops"), `{"status":"failed","kind":"internal","message":"oops"}`},
		"a deadline":          {nil, context.DeadlineExceeded, `{"status":"failed","kind":"stalled","retryable":true,"message":"context deadline exceeded"}`},
		"a wrapped failure":   {nil, errors.Join(guest.Fail(guest.KindEmpty, "none")), `{"status":"failed","kind":"empty","retryable":true,"message":"none"}`},
		"no JSON":             {func() {}, nil, `{"status":"failed","kind":"internal","message":"result: json: unsupported type: func()"}`},
		"above the limit":     {strings.Repeat("x", hostabi.MaxResult), nil, `{"status":"failed","kind":"internal","message":"result: 1048610 bytes, at most 1048576"}`},
	} {
		h := guesttest.New(t, hostabi.TurnRequest{})
		got := h.Run(func(context.Context, *guest.Turn) (any, error) { return c.value, c.err })
		if string(got.JSON) != c.want {
			t.Errorf("%s: finished with %s\nwant %s", name, got.JSON, c.want)
		}
	}
}

type note struct {
	Text string `json:"text"`
}

func (note) EventType() string { return "note" }

func TestEventsKeysAndLogReachTheHost(t *testing.T) {
	h := guesttest.New(t, hostabi.TurnRequest{})
	h.Session["old"] = []byte("1")
	result := h.Run(func(_ context.Context, g *guest.Turn) (any, error) {
		g.Log.With("a", 1).WithGroup("g").Warn("careful", "b", "two words")
		g.Log.Debug("detail", slog.Int("n", 3))
		if err := g.Emit(guest.MessageDelta{Text: "x\x00<"}); err != nil {
			return nil, err
		}
		if err := g.Emit(note{strings.Repeat("x", hostabi.MaxEvent)}); guest.CodeOf(err) != hostabi.E2BIG {
			t.Errorf("big event: %v", err)
		}
		if value, found, err := g.Get("none"); value != nil || found || err != nil {
			t.Errorf("missing key: %q, %v, %v", value, found, err)
		}
		for key, value := range map[string]string{"new": "2", "old": ""} {
			if err := g.Set(key, []byte(value)); err != nil {
				return nil, err
			}
		}
		if value, found, err := g.Get("new"); string(value) != "2" || !found || err != nil {
			t.Errorf("own key: %q, %v, %v", value, found, err)
		}
		if _, found, _ := g.Get("old"); found {
			t.Error("a deleted key was found")
		}
		if len(h.Session) != 1 || string(h.Session["old"]) != "1" {
			t.Errorf("the session changed before the end: %v", h.Session)
		}
		return nil, g.Set(strings.Repeat("k", hostabi.MaxKey+1), []byte("x"))
	})
	if result.Kind != guest.KindInvalid || !strings.HasPrefix(result.Message, "kv_set: E2BIG: ") {
		t.Errorf("result %s", result.JSON)
	}
	if len(h.Session) != 1 || string(h.Session["new"]) != "2" {
		t.Errorf("session %v", h.Session)
	}
	if e := h.Events(); len(e) != 1 || string(e[0].JSON) != `{"type":"message.delta","text":"x\u0000\u003c"}` {
		t.Errorf("events %v", e)
	}
	want := []string{`1 msg=careful a=1 g.b="two words"`, `-1 msg=detail n=3`}
	if got := h.Lines(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("log %q, want %q", got, want)
	}
}

// open has one request answered by server and returns what the guest's function made of it.
func open(t *testing.T, server func(*guesttest.Exchange), use func(context.Context, *guest.Turn, *guest.Response) error) guesttest.Result {
	t.Helper()
	h := guesttest.New(t, hostabi.TurnRequest{})
	h.Server = server
	return h.Run(func(ctx context.Context, g *guest.Turn) (any, error) {
		r, err := g.Do(ctx, &guest.Request{URL: "http://provider/", Body: []byte("q")})
		if err != nil {
			return nil, err
		}
		defer r.Body.Close()
		return nil, use(ctx, g, r)
	})
}

func TestABodyStreamsAndEnds(t *testing.T) {
	seen := make(chan struct{})
	r := open(t, func(x *guesttest.Exchange) {
		if x.Head.Method != "POST" || string(x.Body) != "q" {
			t.Errorf("request %+v with body %q", x.Head, x.Body)
		}
		x.Respond(201, map[string][]string{"X-A": {"1", "2"}})
		_, _ = x.Write([]byte("one "))
		<-seen // the rest is sent only when the first piece has been read
		_, _ = x.Write([]byte("two"))
		x.End()
	}, func(_ context.Context, _ *guest.Turn, r *guest.Response) error {
		if r.Status != 201 || r.Header.Get("x-a") != "1" || len(r.Header["x-a"]) != 2 {
			t.Errorf("head %d %v", r.Status, r.Header)
		}
		first := make([]byte, 64)
		n, err := r.Body.Read(first)
		if string(first[:n]) != "one " || err != nil {
			t.Errorf("first read %q, %v", first[:n], err)
		}
		close(seen)
		rest, err := io.ReadAll(r.Body)
		if string(rest) != "two" {
			t.Errorf("rest %q", rest)
		}
		return err
	})
	if r.Status != guest.StatusCompleted {
		t.Errorf("result %s", r.JSON)
	}
}

func TestTheEndOfAContextClosesItsExchange(t *testing.T) {
	closed := make(chan struct{})
	gone := errors.New("gone")
	r := open(t, func(x *guesttest.Exchange) {
		x.Respond(200, nil)
		<-x.Context.Done()
		if strings.HasSuffix(x.Head.URL, "second") {
			close(closed)
		}
	}, func(ctx context.Context, g *guest.Turn, _ *guest.Response) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		r, err := g.Do(ctx, &guest.Request{URL: "http://provider/second"})
		if err != nil {
			return err
		}
		go cancel(gone)
		if _, err := r.Body.Read(make([]byte, 1)); !errors.Is(err, gone) {
			t.Errorf("read: %v, want the context's cause", err)
		}
		<-closed
		if _, err := g.Do(ctx, &guest.Request{URL: "http://provider/third"}); !errors.Is(err, gone) {
			t.Errorf("request under an ended context: %v", err)
		}
		return nil
	})
	if r.Status != guest.StatusCompleted {
		t.Errorf("result %s", r.JSON)
	}
}

func TestALostExchangeMustBeRepeatedByName(t *testing.T) {
	h := guesttest.New(t, hostabi.TurnRequest{})
	var keys []string
	h.Server = func(x *guesttest.Exchange) {
		keys = append(keys, x.IdempotencyKey)
		if len(keys) == 1 {
			x.Fail(hostabi.ELOST, "died")
			return
		}
		x.Respond(204, nil)
		x.End()
	}
	result := h.Run(func(ctx context.Context, g *guest.Turn) (any, error) {
		_, err := g.Do(ctx, &guest.Request{URL: "http://provider/"})
		handle, lost := guest.Lost(err)
		if !lost || handle != 1 {
			t.Errorf("%v is no loss of handle 1", err)
		}
		if _, err := g.Do(ctx, &guest.Request{URL: "http://provider/"}); guest.CodeOf(err) != hostabi.EINVAL {
			t.Errorf("silent repetition: %v, want EINVAL", err)
		}
		r, err := g.Do(ctx, &guest.Request{URL: "http://provider/", RetryOf: handle})
		if err != nil {
			return nil, err
		}
		return r.Status, r.Body.Close()
	})
	if string(result.JSON) != `{"status":"completed","output":204}` || len(keys) != 2 || keys[0] != keys[1] {
		t.Errorf("result %s, keys %q", result.JSON, keys)
	}
}

func TestAHandleIsFreeAgainWhenItHasEnded(t *testing.T) {
	h := guesttest.New(t, hostabi.TurnRequest{})
	h.Server = func(x *guesttest.Exchange) {
		x.Respond(200, nil)
		x.End()
	}
	result := h.Run(func(ctx context.Context, g *guest.Turn) (any, error) {
		for range hostabi.MaxHandles + 1 {
			r, err := g.Do(ctx, &guest.Request{URL: "http://provider/"})
			if err != nil {
				return nil, err
			}
			if _, err := io.ReadAll(r.Body); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	if result.Status != guest.StatusCompleted {
		t.Errorf("result %s", result.JSON)
	}
}

func TestAChildsLongLinesAndEnd(t *testing.T) {
	h := guesttest.New(t, hostabi.TurnRequest{})
	long := strings.Repeat("x", 3*hostabi.MaxData)
	h.Child = func(c *guesttest.Child) {
		if c.Spec.Name != "tool" || len(c.Spec.Args) != 1 {
			t.Errorf("spec %+v", c.Spec)
		}
		c.Stderr([]byte("warming up"))
		c.Stdout([]byte(long + "\r\n\nlast"))
		c.Exit(4)
	}
	h.Run(func(ctx context.Context, g *guest.Turn) (any, error) {
		p, err := g.Exec(ctx, "tool", "-x")
		if err != nil {
			return nil, err
		}
		for _, want := range []string{long, "", "last"} {
			if line, err := p.ReadLine(); string(line) != want || err != nil {
				t.Errorf("line of %d bytes, %v, want %d", len(line), err, len(want))
			}
		}
		if _, err := p.ReadLine(); err != io.EOF {
			t.Errorf("after the end: %v", err)
		}
		if exit, err := p.Wait(); exit != 4 || err != nil {
			t.Errorf("exit %d, %v", exit, err)
		}
		return nil, p.Close()
	})
	if got := h.Lines(); len(got) != 1 || got[0] != `0 msg="warming up" stderr=tool` {
		t.Errorf("log %q", got)
	}
}

func TestInputsComeInOrderAndEndWithTheTurn(t *testing.T) {
	h := guesttest.New(t, hostabi.TurnRequest{})
	for _, text := range []string{"one", "two"} {
		h.Input(guest.Input{Type: guest.InputSteer, Text: text})
	}
	result := h.Run(func(ctx context.Context, g *guest.Turn) (any, error) {
		for _, want := range []string{"one", "two"} {
			if in := <-g.Inputs(); in.Text != want || !json.Valid(in.Raw) {
				t.Errorf("input %+v, want %q", in, want)
			}
		}
		h.Cancel("enough", 3*time.Second)
		if in, open := <-g.Inputs(); open {
			t.Errorf("input %+v after the cancellation", in)
		}
		var cancelled *guest.Cancelled
		if !errors.As(context.Cause(ctx), &cancelled) || cancelled.Reason != "enough" || cancelled.Grace != 3*time.Second {
			t.Errorf("cause %v", context.Cause(ctx))
		}
		return "kept", ctx.Err()
	})
	if want := `{"status":"cancelled","kind":"cancelled","message":"turn cancelled: enough","output":"kept"}`; string(result.JSON) != want {
		t.Errorf("result %s, want %s", result.JSON, want)
	}
}
