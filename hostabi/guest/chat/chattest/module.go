package chattest

import (
	"context"
	"testing"

	"github.com/towpath/towpath/hostabi/engine"
	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/guesttest"
)

// Module builds the plugin in the present folder and loads it under the limits of its permit file.
func Module(t *testing.T) *engine.Module {
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
	m, err := e.Load(t.Context(), guesttest.Build(t, "."), engine.Limits{Memory: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Same runs a turn natively and as a module, each on a host of its own, and compares events, result and session.
func Same(t *testing.T, run guest.Run, m *engine.Module, host func() *guesttest.Host) {
	t.Helper()
	transcript := func(turn func(*guesttest.Host) guesttest.Result) string {
		h := host()
		result := turn(h)
		var lines string
		for _, e := range h.Events() {
			lines += string(e.JSON) + "\n"
		}
		return lines + string(result.JSON) + "\n" + string(Encode(t, h.Session))
	}
	native := transcript(func(h *guesttest.Host) guesttest.Result { return h.Run(run) })
	module := transcript(func(h *guesttest.Host) guesttest.Result { return h.Serve(m.Run) })
	if native != module {
		t.Errorf("native:\n%s\nmodule:\n%s", native, module)
	}
}
