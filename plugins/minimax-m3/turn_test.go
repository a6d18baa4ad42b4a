package main

import (
	"encoding/json"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/towpath/towpath/examples/standin"
	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/chat/chattest"
	"github.com/towpath/towpath/hostabi/guest/guesttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "sk-standin"

// backend is a stand-in with a turn's host in front of it.
func backend(t *testing.T, config map[string]any) (*standin.Server, *guesttest.Host) {
	t.Helper()
	s := standin.New(standin.Options{Key: secret})
	return s, chattest.Host(t, s, "/minimax/v1", map[string]string{"MINIMAX_API_KEY": secret}, config)
}

func finish(t *testing.T, h *guesttest.Host) chattest.Outcome {
	t.Helper()
	return chattest.Read(t, h.Run(run))
}

const details = `[{"format":"MiniMax-response-v1","id":"reasoning-text-1","index":0,"text":"The user wants an echo.\n\u003c/think\u003e","type":"reasoning.text"}]`

// Whatever form the provider gives to an answer, people see the same, and the provider sees its own bytes again.
func TestEachFormOfAnAnswer(t *testing.T) {
	said := "one two größe three"
	thought := "The user wants an echo."
	split := map[string]any{"reasoning_split": true}
	for _, c := range []struct {
		form            string
		config          map[string]any
		text, reasoning string
		back            string // what goes back behind "assistant:"
	}{
		{"", map[string]any{"thinking": "disabled"}, said, "", said},
		{"", nil, said, thought + "\n", said + "|" + thought + "\n</think>|" + details},
		{"", split, said, thought + "\n", said + "|" + thought + "\n</think>|" + details},
		{"", map[string]any{"reasoning_split": false}, said, "\n" + thought + "\n", "<think>\n" + thought + "\n</think>\n\n" + said},
		{"mm_tags", nil, said, "1 < 2", "<mm:think>1 < 2</mm:think>\n\n" + said},
		{"details", nil, said, thought + " So be it.", said + `|[{"format":"MiniMax-response-v1","id":"reasoning-text-1","index":0,"text":"` + thought +
			`","type":"reasoning.text"},{"format":"MiniMax-response-v1","id":"reasoning-text-2","index":1,"text":" So be it.","type":"reasoning.text"}]`},
		{"cumulative", nil, said, thought, said + "|" + thought + `|[{"format":"MiniMax-response-v1","id":"reasoning-text-1","index":0,"text":"` + thought + `","type":"reasoning.text"}]`},
		{"cumulative_plain", nil, said, "", said},
		{"late_text", nil, said + "the end", "", said + "the end"},
		{"done", nil, said, "", said},
		{"native", nil, said, "", said},
		{"uncounted", nil, said, "", said},
	} {
		name := c.form
		if name == "" {
			name = string(chattest.Encode(t, c.config))
		}
		t.Run(name, func(t *testing.T) {
			s, h := backend(t, c.config)
			script := said
			if c.form != "" {
				script += " [[form:" + c.form + "]]"
			}
			h = chattest.Say(t, h, script)
			o := finish(t, h)
			if o.Status != guest.StatusCompleted || o.Text != c.text || o.Reasoning != c.reasoning || o.FinishReason != "stop" {
				t.Errorf("outcome %+v, want text %q, reasoning %q", o, c.text, c.reasoning)
			}
			for eventType, want := range map[string]string{"message.delta": c.text, "message": c.text, "reasoning.delta": c.reasoning} {
				if got := chattest.Joined(t, h, eventType); got != want {
					t.Errorf("%s: %q, want %q", eventType, got, want)
				}
			}
			h = chattest.Say(t, h, "go on")
			if o := finish(t, h); o.Status != guest.StatusCompleted {
				t.Fatalf("next turn %+v", o)
			}
			chattest.Equal(t, "next request", chattest.Sent(t, s.Requests()[1].Body), []string{"user:" + script, "assistant:" + c.back, "user:go on"})
		})
	}
}

func TestWhatAnAnswerCostIsToldAsFarAsTheProviderDoes(t *testing.T) {
	_, h := backend(t, nil)
	h = chattest.Say(t, h, "one two three")
	o := finish(t, h)
	chattest.Known(t, "input", o.Usage.Input, 3)
	chattest.Known(t, "cached", o.Usage.Cached, 1)
	chattest.Known(t, "output", o.Usage.Output, 8)
	chattest.Known(t, "reasoning", o.Usage.Reasoning, 5)
	_, h = backend(t, map[string]any{"thinking": "disabled"})
	h = chattest.Say(t, h, "one two three")
	if o = finish(t, h); o.Usage.Cached != nil || o.Usage.Reasoning != nil {
		t.Errorf("nobody told these: %+v", o.Usage)
	}
	chattest.Known(t, "input", o.Usage.Input, 3)
	_, h = backend(t, nil)
	h = chattest.Say(t, h, "one two [[form:uncounted]]")
	if o = finish(t, h); o.Status != guest.StatusCompleted || o.Usage.Input != nil || o.Usage.Output != nil {
		t.Errorf("outcome %+v", o)
	}
	if e := h.Await("usage", 1); !strings.Contains(string(e.JSON), `"input_tokens":null`) {
		t.Errorf("event %s", e.JSON)
	}
}

func TestSettingsReachTheProvider(t *testing.T) {
	s, h := backend(t, map[string]any{
		"model": "from-config", "system": "Be brief.", "max_tokens": 7, "temperature": 1.5, "service_tier": "priority", "reasoning_split": false,
		"tools": []any{map[string]any{"type": "function", "function": map[string]any{"name": "now"}}},
	})
	h = h.Next(chattest.Encode(t, map[string]any{"text": "hi", "thinking": "adaptive", "model": "MiniMax-M3"}))
	if o := finish(t, h); o.Status != guest.StatusCompleted {
		t.Fatalf("outcome %+v", o)
	}
	var got, want any
	if err := json.Unmarshal(s.Requests()[0].Body, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(`{
		"model": "MiniMax-M3", "max_completion_tokens": 7, "temperature": 1.5, "service_tier": "priority", "reasoning_split": false,
		"thinking": {"type": "adaptive"}, "stream": true, "stream_options": {"include_usage": true},
		"tools": [{"type": "function", "function": {"name": "now"}}],
		"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
	}`), &want); err != nil {
		t.Fatal(err)
	}
	if g, w := string(chattest.Encode(t, got)), string(chattest.Encode(t, want)); g != w {
		t.Errorf("request %s\nwant    %s", g, w)
	}
}

// A key is of one region, whose door the plugin asks at; base_url overrules it.
func TestEachRegionHasItsDoor(t *testing.T) {
	for config, want := range map[string]string{
		`{}`:                  "https://api.minimax.io/v1/chat/completions",
		`{"region":"global"}`: "https://api.minimax.io/v1/chat/completions",
		`{"region":"china"}`:  "https://api.minimaxi.com/v1/chat/completions",
		`{"region":"china","base_url":"https://gateway.example/v1"}`: "https://gateway.example/v1/chat/completions",
	} {
		h := guesttest.New(t, hostabi.TurnRequest{Input: json.RawMessage(`{"text":"hi"}`), Config: json.RawMessage(config)})
		asked := ""
		h.Server = func(x *guesttest.Exchange) {
			asked = x.Head.URL
			x.Fail(hostabi.EDENIED, "as the test says")
		}
		if o := finish(t, h); o.Kind != guest.KindDenied || asked != want {
			t.Errorf("%s: %q (%s), want %q", config, asked, o.Kind, want)
		}
	}
}

func TestToolsAreAskedForAndTheirOutputGoesBack(t *testing.T) {
	for _, form := range []string{"tools", "tools_pieces"} {
		t.Run(form, func(t *testing.T) {
			s, h := backend(t, nil)
			script := `weather? [[tool:weather {"city":"Oslo"}]] [[form:` + form + `]]`
			h = chattest.Say(t, h, script)
			go func() {
				var call guest.ToolCall
				if err := json.Unmarshal(h.Await("tool.call", 1).JSON, &call); err != nil {
					t.Error(err)
				}
				if call.Name != "weather" || call.Arguments != `{"city":"Oslo"}` {
					t.Errorf("call %+v", call)
				}
				h.Input(guest.Input{Type: guest.InputAnswer, To: call.ID, Output: json.RawMessage(`"rain all day"`)})
			}()
			o := finish(t, h)
			if o.Status != guest.StatusCompleted || o.Text != "rain all day" {
				t.Fatalf("outcome %+v", o)
			}
			chattest.Equal(t, "second request", chattest.Sent(t, s.Requests()[1].Body), []string{
				"user:" + script,
				`assistant:|A tool knows.|[{"format":"MiniMax-response-v1","id":"reasoning-text-1","index":0,"text":"A tool knows.","type":"reasoning.text"}]|weather{"city":"Oslo"}`,
				"tool:rain all day",
			})
		})
	}
}

func TestSteeringCutsTheAnswerAndAsksAgain(t *testing.T) {
	s, h := backend(t, map[string]any{"reasoning_split": false})
	h = chattest.Say(t, h, "one two three four [[hold:steer after=2]]")
	go func() {
		h.Await("message.delta", 2)
		h.Input(guest.Input{Type: guest.InputSteer, Text: "stop counting"})
	}()
	if o := finish(t, h); o.Status != guest.StatusCompleted || o.Text != "stop counting" {
		t.Errorf("outcome %+v", o)
	}
	// A half answer's thoughts are not between tags any more, so they stand beside it.
	chattest.Equal(t, "second request", chattest.Sent(t, s.Requests()[1].Body), []string{
		"user:one two three four [[hold:steer after=2]]", "assistant:one two |\nThe user wants an echo.\n", "user:stop counting",
	})
}

func TestBadInputNamesTheFix(t *testing.T) {
	for name, c := range map[string]struct{ input, config, says string }{
		"thinking of another": {`{"text":"a","thinking":"enabled"}`, `{}`, `use "adaptive" or "disabled"`},
		"region":              {`{"text":"a"}`, `{"region":"moon"}`, `use "global" or "china"`},
		"temperature":         {`{"text":"a"}`, `{"temperature":2.1}`, "use 0 to 2"},
		"tier":                {`{"text":"a"}`, `{"service_tier":"gold"}`, `use "standard" or "priority"`},
		"unknown setting":     {`{"text":"a"}`, `{"reasoning_effort":"high"}`, `unknown field "reasoning_effort"`},
		"no words":            {`{}`, `{}`, `pass {"text":"…"}`},
	} {
		_, h := backend(t, nil)
		h.Turn.Config = json.RawMessage(c.config)
		h = h.Next(json.RawMessage(c.input))
		if o := finish(t, h); o.Kind != guest.KindInvalid || o.Retryable || !strings.Contains(o.Message, c.says) {
			t.Errorf("%s: %s, %q, want %q", name, o.Kind, o.Message, c.says)
		}
	}
}
