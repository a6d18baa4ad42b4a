package main

import (
	"encoding/json"
	"net/http"
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
	return s, chattest.Host(t, s, "", map[string]string{"DEEPSEEK_API_KEY": secret}, config)
}

func finish(t *testing.T, h *guesttest.Host) chattest.Outcome {
	t.Helper()
	return chattest.Read(t, h.Run(run))
}

func TestATurnStreamsReasoningThenTheAnswer(t *testing.T) {
	s, h := backend(t, nil)
	h = chattest.Say(t, h, "nonce 4711 größe")
	o := finish(t, h)
	if o.Status != guest.StatusCompleted || o.Text != "nonce 4711 größe" || o.FinishReason != "stop" {
		t.Errorf("outcome %+v", o)
	}
	if o.Reasoning != "The user wants an echo." || o.Model != "deepseek-flash" || o.ResponseID != "standin-1" {
		t.Errorf("outcome %+v", o)
	}
	if got, want := chattest.Types(h), "turn.started reasoning.delta message.delta usage message"; got != want {
		t.Errorf("events %q, want %q", got, want)
	}
	for eventType, want := range map[string]string{
		"reasoning.delta": o.Reasoning, "message.delta": o.Text, "message": o.Text,
	} {
		if got := chattest.Joined(t, h, eventType); got != want {
			t.Errorf("%s: %q, want %q", eventType, got, want)
		}
	}
	chattest.Known(t, "input", o.Usage.Input, 3)
	chattest.Known(t, "cached", o.Usage.Cached, 1)
	chattest.Known(t, "output", o.Usage.Output, 8)
	chattest.Known(t, "reasoning", o.Usage.Reasoning, 5)
	if r := s.Requests()[0]; r.Authorization != "Bearer "+secret || r.IdempotencyKey == "" {
		t.Errorf("request with authorization %q, key %q", r.Authorization, r.IdempotencyKey)
	}
}

func TestSettingsAndInputReachTheProvider(t *testing.T) {
	s, h := backend(t, map[string]any{
		"model": "from-config", "system": "Be brief.", "max_tokens": 7, "reasoning_effort": "low", "user_id": "team-7",
		"tools": []any{map[string]any{"type": "function", "function": map[string]any{"name": "now"}}},
	})
	h = h.Next(chattest.Encode(t, map[string]any{
		"messages": []any{map[string]any{"role": "user", "content": `{"json":"please"}`}},
		"model":    "from-input", "thinking": "disabled", "json": true,
	}))
	o := finish(t, h)
	if o.Status != guest.StatusCompleted || o.Reasoning != "" {
		t.Fatalf("outcome %+v", o)
	}
	var got, want any
	if err := json.Unmarshal(s.Requests()[0].Body, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(`{
		"model": "from-input", "max_tokens": 7, "reasoning_effort": "low", "thinking": {"type": "disabled"}, "user_id": "team-7",
		"stream": true, "stream_options": {"include_usage": true}, "response_format": {"type": "json_object"},
		"tools": [{"type": "function", "function": {"name": "now"}}],
		"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "{\"json\":\"please\"}"}]
	}`), &want); err != nil {
		t.Fatal(err)
	}
	if g, w := string(chattest.Encode(t, got)), string(chattest.Encode(t, want)); g != w {
		t.Errorf("request %s\nwant    %s", g, w)
	}
}

func TestBothModelsAreAskedByTheirIDs(t *testing.T) {
	for _, model := range []string{"deepseek-flash", "deepseek-v4-pro"} {
		s, h := backend(t, map[string]any{"model": model})
		h = chattest.Say(t, h, "hi")
		if o := finish(t, h); o.Status != guest.StatusCompleted || o.Model != model {
			t.Errorf("outcome %+v", o)
		}
		if !strings.Contains(string(s.Requests()[0].Body), `"model":"`+model+`"`) {
			t.Errorf("request %s", s.Requests()[0].Body)
		}
	}
}

func TestJSONIsAskedForAndChecked(t *testing.T) {
	for text, want := range map[string]guest.Kind{
		`{"json":1}`:                "",
		`say json`:                  guest.KindProtocol, // the stand-in echoes it, and it is none
		`["json"]`:                  guest.KindProtocol,
		`json [[fault:empty]]`:      guest.KindEmpty, // the provider documents that it happens
		`say it in another form`:    guest.KindInvalid,
		`json [[fault:no-done]]`:    guest.KindTruncated,
		`{"json": [[fault:length]]`: guest.KindProtocol,
	} {
		_, h := backend(t, map[string]any{"thinking": "disabled"})
		h = h.Next(chattest.Encode(t, map[string]any{"text": text, "json": true}))
		if o := finish(t, h); o.Kind != want || (want == "") != (o.Status == guest.StatusCompleted) {
			t.Errorf("%s: %s %s %s, want %s", text, o.Status, o.Kind, o.Message, want)
		}
	}
}

func TestTheNextTurnOfASessionGoesOn(t *testing.T) {
	s, h := backend(t, nil)
	h = chattest.Say(t, h, "first")
	finish(t, h)
	h = chattest.Say(t, h, "second")
	finish(t, h)
	chattest.Equal(t, "second request", chattest.Sent(t, s.Requests()[1].Body),
		[]string{"user:first", "assistant:first|The user wants an echo.", "user:second"})
	other := chattest.Say(t, guesttest.New(t, h.Turn), "alone")
	other.Server = h.Server
	finish(t, other)
	chattest.Equal(t, "request of another session", chattest.Sent(t, s.Requests()[2].Body), []string{"user:alone"})
}

func TestAFailedTurnLeavesTheConversationAsItWas(t *testing.T) {
	s, h := backend(t, nil)
	h = chattest.Say(t, h, "again [[fault:no-done times=1]]")
	if o := finish(t, h); o.Kind != guest.KindTruncated || !o.Retryable {
		t.Fatalf("outcome %+v", o)
	}
	h = h.Next(h.Turn.Input)
	if o := finish(t, h); o.Status != guest.StatusCompleted {
		t.Fatalf("outcome %+v", o)
	}
	first, second := s.Requests()[0], s.Requests()[1]
	if string(first.Body) != string(second.Body) {
		t.Errorf("retried with %s\nafter %s", second.Body, first.Body)
	}
}

func TestToolsAreAskedForAndTheirOutputGoesBack(t *testing.T) {
	for name, script := range map[string]string{"reasoned": "", "unreasoned": " [[fault:unreasoned]]"} {
		t.Run(name, func(t *testing.T) {
			s, h := backend(t, nil)
			h = chattest.Say(t, h, `weather? [[tool:weather {"city":"Oslo"}]]`+script)
			go func() {
				var call guest.ToolCall
				if err := json.Unmarshal(h.Await("tool.call", 1).JSON, &call); err != nil {
					t.Error(err)
				}
				if call.Name != "weather" || call.Arguments != `{"city":"Oslo"}` {
					t.Errorf("call %+v", call)
				}
				h.Input(guest.Input{Type: guest.InputAnswer, To: "another", Output: json.RawMessage(`"no"`)})
				h.Input(guest.Input{Type: guest.InputAnswer, To: call.ID, Output: json.RawMessage(`"rain all day"`)})
			}()
			o := finish(t, h)
			if o.Status != guest.StatusCompleted || o.Text != "rain all day" {
				t.Fatalf("outcome %+v", o)
			}
			reasoning := "A tool knows."
			if name == "unreasoned" {
				reasoning = ""
			}
			want := []string{
				`user:weather? [[tool:weather {"city":"Oslo"}]]` + script,
				`assistant:|` + reasoning + `|weather{"city":"Oslo"}`, "tool:rain all day",
			}
			chattest.Equal(t, "second request", chattest.Sent(t, s.Requests()[1].Body), want)
			chattest.Known(t, "output", o.Usage.Output, 2+3+5)

			// The tool call stays in the conversation with its reasoning, or the provider refuses what follows.
			h = chattest.Say(t, h, "thanks")
			if o := finish(t, h); o.Status != guest.StatusCompleted {
				t.Fatalf("next turn %+v", o)
			}
			chattest.Equal(t, "third request", chattest.Sent(t, s.Requests()[2].Body),
				append(want, "assistant:rain all day|The user wants an echo.", "user:thanks"))
		})
	}
}

func TestRoundsOfToolsAreBounded(t *testing.T) {
	_, h := backend(t, map[string]any{"max_requests": 1})
	h = chattest.Say(t, h, `weather? [[tool:weather {}]]`)
	go func() {
		var call guest.ToolCall
		if err := json.Unmarshal(h.Await("tool.call", 1).JSON, &call); err != nil {
			t.Error(err)
		}
		h.Input(guest.Input{Type: guest.InputAnswer, To: call.ID, Output: json.RawMessage(`{"t":1}`)})
	}()
	if o := finish(t, h); o.Kind != guest.KindQuota || o.Retryable || !strings.Contains(o.Message, "max_requests") {
		t.Errorf("outcome %+v", o)
	}
}

func TestSteeringCutsTheAnswerAndAsksAgain(t *testing.T) {
	s, h := backend(t, nil)
	h = chattest.Say(t, h, "one two three four [[hold:steer after=2]]")
	go func() {
		h.Await("message.delta", 2)
		h.Input(guest.Input{Type: guest.InputSteer, Text: "stop counting"})
	}()
	o := finish(t, h)
	if o.Status != guest.StatusCompleted || o.Text != "stop counting" {
		t.Errorf("outcome %+v", o)
	}
	chattest.Equal(t, "second request", chattest.Sent(t, s.Requests()[1].Body), []string{
		"user:one two three four [[hold:steer after=2]]",
		"assistant:one two |The user wants an echo.", "user:stop counting",
	})
	if got, want := chattest.Types(h), "turn.started reasoning.delta message.delta usage message steer.applied "+
		"reasoning.delta message.delta usage message"; got != want {
		t.Errorf("events %q, want %q", got, want)
	}
	if e := h.Await("steer.applied", 1); string(e.JSON) != `{"type":"steer.applied","text":"stop counting","partial":true}` {
		t.Errorf("event %s", e.JSON)
	}
	if o.Usage.Output != nil {
		t.Errorf("output tokens are %d, but the cut response stated none", *o.Usage.Output)
	}
}

func TestSteeringBeforeTheFirstWordLeavesNoEmptyAnswer(t *testing.T) {
	s, h := backend(t, map[string]any{"thinking": "disabled"})
	if err := s.Push("[[hold:steer after=0]]"); err != nil {
		t.Fatal(err)
	}
	h = chattest.Say(t, h, "one")
	go func() {
		<-s.Held("steer")
		h.Input(guest.Input{Type: guest.InputSteer, Text: "two"})
	}()
	if o := finish(t, h); o.Status != guest.StatusCompleted {
		t.Fatalf("outcome %+v", o)
	}
	chattest.Equal(t, "second request", chattest.Sent(t, s.Requests()[1].Body), []string{"user:one\n\ntwo"})
}

func TestCancelKeepsTheTextThatHadCome(t *testing.T) {
	s, h := backend(t, nil)
	h = chattest.Say(t, h, "one two three four [[hold:cancel after=2]]")
	go func() {
		h.Await("message.delta", 2)
		h.Cancel("interrupted by a client", 0)
	}()
	o := finish(t, h)
	if o.Status != guest.StatusCancelled || o.Kind != guest.KindCancelled || o.Text != "one two " {
		t.Errorf("outcome %+v", o)
	}
	if !strings.Contains(o.Message, "interrupted by a client") {
		t.Errorf("message %q", o.Message)
	}
	h = chattest.Say(t, h, "go on")
	finish(t, h)
	chattest.Equal(t, "next request", chattest.Sent(t, s.Requests()[1].Body), []string{
		"user:one two three four [[hold:cancel after=2]]", "assistant:one two |The user wants an echo.", "user:go on",
	})
}

func TestCancelWhileAToolRunsLeavesAUsableConversation(t *testing.T) {
	s, h := backend(t, nil)
	h = chattest.Say(t, h, `weather? [[tool:weather {}]]`)
	go func() {
		h.Await("tool.call", 1)
		h.Cancel("stop", 0)
	}()
	if o := finish(t, h); o.Status != guest.StatusCancelled {
		t.Fatalf("outcome %+v", o)
	}
	h = chattest.Say(t, h, "go on")
	if o := finish(t, h); o.Status != guest.StatusCompleted {
		t.Fatalf("outcome %+v", o)
	}
	chattest.Equal(t, "next request", chattest.Sent(t, s.Requests()[1].Body), []string{
		`user:weather? [[tool:weather {}]]`, "assistant:|A tool knows.|weather{}",
		"tool:The turn was cancelled before the tool had answered.", "user:go on",
	})
}

func TestALostRequestIsRepeatedByName(t *testing.T) {
	_, h := backend(t, nil)
	forward, keys := h.Server, []string{}
	h.Server = func(x *guesttest.Exchange) {
		keys = append(keys, x.IdempotencyKey)
		if len(keys) == 1 {
			x.Respond(200, http.Header{"Content-Type": {"text/event-stream"}})
			_, _ = x.Write([]byte(`data: {"id":"old","choices":[{"index":0,"delta":{"content":"half an "}}]}` + "\n\n"))
			x.Fail(hostabi.ELOST, "the execution died")
			return
		}
		if x.Head.RetryOf != 1 {
			t.Errorf("retry_of is %d, want 1", x.Head.RetryOf)
		}
		forward(x)
	}
	h = chattest.Say(t, h, "whole answer")
	o := finish(t, h)
	if o.Status != guest.StatusCompleted || o.Text != "whole answer" {
		t.Errorf("outcome %+v", o)
	}
	if len(keys) != 2 || keys[0] != keys[1] {
		t.Errorf("idempotency keys %q", keys)
	}
	if got, want := chattest.Types(h), "turn.started message.delta usage retry reasoning.delta message.delta usage message"; got != want {
		t.Errorf("events %q, want %q", got, want)
	}
}

func TestMessagesAboveTheLimitOfAValueSurvive(t *testing.T) {
	_, h := backend(t, map[string]any{"thinking": "disabled"})
	long := strings.Repeat("ä", 3<<18) + " end"
	h = chattest.Say(t, h, long)
	o := finish(t, h)
	if o.Status != guest.StatusCompleted || !o.Clipped || !strings.HasPrefix(long, o.Text) {
		t.Fatalf("status %s, clipped %v, text of %d bytes", o.Status, o.Clipped, len(o.Text))
	}
	if chattest.Joined(t, h, "message.delta") != long {
		t.Error("the deltas are not the whole text")
	}
	s, again := backend(t, map[string]any{"thinking": "disabled"})
	again.Session = h.Session
	again = chattest.Say(t, again, "short")
	if o := finish(t, again); o.Status != guest.StatusCompleted {
		t.Fatalf("next turn %+v", o)
	}
	chattest.Equal(t, "next request", chattest.Sent(t, s.Requests()[0].Body), []string{"user:" + long, "assistant:" + long, "user:short"})
}
