//go:build !race

// The race detector sees nothing inside a module and makes loading one take minutes.

package main

import (
	"context"
	"testing"

	"github.com/towpath/towpath/hostabi/engine"
	"github.com/towpath/towpath/hostabi/guest/chat/chattest"
	"github.com/towpath/towpath/hostabi/guest/guesttest"
)

// module builds the plugin and loads it under the limits of its permit file.
func module(t *testing.T) *engine.Module {
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

// The other tests run the plugin natively. As a module it does the same, event by event.
func TestTheModuleDoesWhatThePluginDoes(t *testing.T) {
	m := module(t)
	if got := m.Manifest(); got.Name != "minimax-m3" || len(got.HTTP) != 2 {
		t.Errorf("manifest %+v", got)
	}
	for name, text := range map[string]string{
		"reasoning beside the answer": "nonce 4711 größe",
		"snapshots":                   "one two three four [[form:cumulative]]",
		"details":                     "one two [[form:details]]",
		"tags":                        "one two [[form:tags]]",
		"a long answer":               "x [[tokens:300 bytes=200]]",
		"a cut":                       "x [[fault:cut]]",
		"no finish":                   "x [[form:unfinished]]",
		"a code":                      "x [[fault:1002]]",
		"a code behind the finish":    "x [[fault:2056 as=last]]",
	} {
		t.Run(name, func(t *testing.T) {
			transcript := func(run func(*guesttest.Host) guesttest.Result) string {
				_, h := backend(t, nil)
				h = chattest.Say(t, h, text)
				result := run(h)
				var lines string
				for _, e := range h.Events() {
					lines += string(e.JSON) + "\n"
				}
				return lines + string(result.JSON) + "\n" + string(chattest.Encode(t, h.Session))
			}
			native := transcript(func(h *guesttest.Host) guesttest.Result { return h.Run(run) })
			module := transcript(func(h *guesttest.Host) guesttest.Result { return h.Serve(m.Run) })
			if native != module {
				t.Errorf("native:\n%s\nmodule:\n%s", native, module)
			}
		})
	}
}
