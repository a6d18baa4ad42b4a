//go:build !race

// The race detector sees nothing inside a module and makes loading one take minutes.

package main

import (
	"encoding/json"
	"testing"

	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/chat/chattest"
	"github.com/towpath/towpath/hostabi/guest/guesttest"
)

// The other tests run the plugin natively. As a module it does the same, event by event. How much comes before a timer
// runs out is a matter of luck, so those cases compare the results only.
func TestTheModuleDoesWhatThePluginDoes(t *testing.T) {
	m := chattest.Module(t)
	if got := m.Manifest(); got.Name != "deepseek" || len(got.HTTP) != 1 || got.HTTP[0].Host != "api.deepseek.com" {
		t.Errorf("manifest %+v", got)
	}
	for name, c := range map[string]struct {
		text   string
		config map[string]any
		meddle func(*testing.T, *guesttest.Host)
	}{
		"an answer":     {"nonce 4711 größe", nil, nil},
		"a long answer": {"x [[tokens:300 bytes=200]]", nil, nil},
		"a long line":   {"x [[fault:long-line]]", nil, nil},
		"a cut":         {"x [[fault:cut]]", nil, nil},
		"a refusal":     {"x [[fault:429 retry-after=2]]", nil, nil},
		"a tool": {`x [[tool:weather {"city":"Oslo"}]]`, nil, func(t *testing.T, h *guesttest.Host) {
			var call guest.ToolCall
			if err := json.Unmarshal(h.Await("tool.call", 1).JSON, &call); err != nil {
				t.Error(err)
			}
			h.Input(guest.Input{Type: guest.InputAnswer, To: call.ID, Output: json.RawMessage(`"rain"`)})
		}},
		"a steer": {"one two three [[hold:steer after=2]]", nil, func(_ *testing.T, h *guesttest.Host) {
			h.Await("message.delta", 2)
			h.Input(guest.Input{Type: guest.InputSteer, Text: "another way"})
		}},
		"a cancel": {"one two three [[hold:cancel after=2]]", nil, func(_ *testing.T, h *guesttest.Host) {
			h.Await("message.delta", 2)
			h.Cancel("enough", 0)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			chattest.Same(t, run, m, func() *guesttest.Host {
				_, h := backend(t, c.config)
				h = chattest.Say(t, h, c.text)
				if c.meddle != nil {
					go c.meddle(t, h)
				}
				return h
			})
		})
	}
	for script, config := range map[string]map[string]any{
		"[[fault:stall]]":               {"bytes_idle": "100ms"},
		"[[fault:keepalive every=1ms]]": {"payload_idle": "100ms"},
		"[[hold:for-ever after=1]]":     {"total": "100ms"},
	} {
		t.Run(script, func(t *testing.T) {
			result := func(run func(*guesttest.Host) guesttest.Result) guest.Result {
				_, h := backend(t, config)
				return run(chattest.Say(t, h, "x "+script)).Result
			}
			native := result(func(h *guesttest.Host) guesttest.Result { return h.Run(run) })
			module := result(func(h *guesttest.Host) guesttest.Result { return h.Serve(m.Run) })
			if native.Kind != guest.KindStalled || native != module {
				t.Errorf("native %+v, module %+v", native, module)
			}
		})
	}
}
