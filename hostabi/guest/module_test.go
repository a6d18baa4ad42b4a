//go:build !race

// The race detector sees nothing inside a module and makes loading one take minutes.

package guest_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/engine"
	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/guesttest"
)

// load builds a plugin from testdata and loads it.
func load(t *testing.T, name string) *engine.Module {
	t.Helper()
	e, err := engine.New(t.Context(), engine.Config{LoadInProcess: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	m, err := e.Load(t.Context(), guesttest.Build(t, "testdata/"+name), engine.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// As a module, a plugin has one thread, and each call of `wait` stops it whole.
func TestOneThread(t *testing.T) {
	m := load(t, "scheduler")
	if got := m.Manifest().Name; got != "scheduler" {
		t.Errorf("manifest of %q", got)
	}
	answer := func(x *guesttest.Exchange) {
		x.Respond(200, nil)
		_, _ = x.Write([]byte("answer"))
		x.End()
	}
	hang := func(x *guesttest.Exchange) { <-x.Context.Done() }
	for situation, c := range map[string]struct {
		server func(*guesttest.Exchange)
		meddle func(*guesttest.Host)
		want   string
	}{
		"hand-overs":             {nil, nil, `{"status":"completed","output":"answer"}`},
		"spinner":                {answer, nil, `{"status":"completed","output":"answer"}`},
		"two at once":            {answer, nil, `{"status":"completed","output":"answer\u003cnil\u003e answer\u003cnil\u003e"}`},
		"time.Sleep alone":       {nil, nil, `{"status":"completed","output":true}`},
		"Sleep beside a request": {hang, nil, `{"status":"completed","output":"context canceled"}`},
		"AfterFunc":              {hang, nil, `{"status":"completed","output":"rang"}`},
		"deadline":               {hang, nil, `{"status":"completed","output":"context deadline exceeded"}`},
		"input": {nil, func(h *guesttest.Host) {
			h.Await("ready", 1)
			h.Input(guest.Input{Type: guest.InputSteer, Text: "left"})
		}, `{"status":"completed","output":"left"}`},
		"cancel": {hang, func(h *guesttest.Host) {
			h.Await("ready", 1)
			h.Cancel("enough", 0)
		}, `{"status":"cancelled","kind":"cancelled","message":"turn cancelled: enough"}`},
		"child":   {nil, nil, `{"status":"completed","output":"round trip, exit 3"}`},
		"unknown": {nil, nil, `{"status":"failed","kind":"invalid","message":"unknown situation \"unknown\""}`},
	} {
		t.Run(situation, func(t *testing.T) {
			h := guesttest.New(t, hostabi.TurnRequest{Input: json.RawMessage(`"` + situation + `"`)})
			h.Server = c.server
			if situation == "hand-overs" {
				h.Server = func(x *guesttest.Exchange) {
					if e := h.Await("ready", 1); string(e.JSON) != `{"type":"ready","n":1000}` {
						t.Errorf("event %s", e.JSON)
					}
					answer(x)
				}
			}
			h.Child = echo
			if c.meddle != nil {
				go c.meddle(h)
			}
			if got := string(h.Serve(m.Run).JSON); got != c.want {
				t.Errorf("finished with %s\nwant          %s", got, c.want)
			}
		})
	}
	for situation, want := range map[string]string{"panic": "on purpose", "deadlock": "all goroutines are asleep"} {
		t.Run(situation, func(t *testing.T) {
			h := guesttest.New(t, hostabi.TurnRequest{Input: json.RawMessage(`"` + situation + `"`)})
			err := m.Run(t.Context(), h)
			var trap *engine.Trap
			if !errors.As(err, &trap) || !strings.Contains(trap.Stderr, want) {
				t.Errorf("%v, want a trap with %q", err, want)
			}
			if h.Finished() != nil {
				t.Errorf("finished with %s", h.Finished())
			}
		})
	}
}

// echo is a child that writes what it reads and exits with 3 when its input ends.
func echo(c *guesttest.Child) {
	buffer := make([]byte, 64)
	for {
		n, err := c.Stdin.Read(buffer)
		c.Stdout(buffer[:n])
		if err != nil {
			c.Exit(3)
			return
		}
	}
}
