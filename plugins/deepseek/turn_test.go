package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/towpath/towpath/examples/standin"
	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/guesttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "sk-standin"

// provider is a stand-in with a turn's host in front of it.
func provider(t *testing.T, config map[string]any) (*standin.Server, *guesttest.Host) {
	t.Helper()
	s := standin.New(standin.Options{Key: secret})
	server := httptest.NewServer(s)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		server.CloseClientConnections()
		server.Close()
	})
	settings := map[string]any{"base_url": server.URL}
	for key, value := range config {
		settings[key] = value
	}
	h := guesttest.New(t, hostabi.TurnRequest{Process: "p1", Session: "s1", Config: encode(t, settings)})
	h.Server = guesttest.Forward(client, map[string]string{"DEEPSEEK_API_KEY": secret})
	return s, h
}

func encode(t *testing.T, v any) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// say makes the next turn of the host's session, whose input is text.
func say(t *testing.T, h *guesttest.Host, text string) *guesttest.Host {
	t.Helper()
	return h.Next(encode(t, map[string]any{"text": text}))
}

// outcome is what a turn finished with.
type outcome struct {
	guest.Result
	result
}

func finish(t *testing.T, h *guesttest.Host) outcome {
	t.Helper()
	r := h.Run(run)
	var o outcome
	if err := json.Unmarshal(r.JSON, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// joined is the text of all events of a type.
func joined(t *testing.T, h *guesttest.Host, eventType string) string {
	t.Helper()
	var text strings.Builder
	for _, e := range h.Events() {
		if e.Type == eventType {
			var piece struct{ Text string }
			if err := json.Unmarshal(e.JSON, &piece); err != nil {
				t.Fatal(err)
			}
			text.WriteString(piece.Text)
		}
	}
	return text.String()
}

// types is the types of a turn's events, runs of the same one shortened.
func types(h *guesttest.Host) string {
	var all []string
	for _, e := range h.Events() {
		if len(all) == 0 || all[len(all)-1] != e.Type {
			all = append(all, e.Type)
		}
	}
	return strings.Join(all, " ")
}

// sent is the messages of a request that the provider saw, as role:content.
func sent(t *testing.T, r standin.Request) []string {
	t.Helper()
	var b struct{ Messages []message }
	if err := json.Unmarshal(r.Body, &b); err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, m := range b.Messages {
		line := m.Role + ":" + m.Content
		if m.Reasoning != nil {
			line += "|" + *m.Reasoning
		}
		for _, call := range m.ToolCalls {
			line += "|" + call.Function.Name + call.Function.Arguments
		}
		said = append(said, line)
	}
	return said
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s:\n%s\nwant:\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func known(t *testing.T, what string, got *int64, want int64) {
	t.Helper()
	if got == nil {
		t.Errorf("%s is unknown, want %d", what, want)
	} else if *got != want {
		t.Errorf("%s is %d, want %d", what, *got, want)
	}
}

func TestATurnStreamsReasoningThenTheAnswer(t *testing.T) {
	s, h := provider(t, nil)
	h = say(t, h, "nonce 4711 größe")
	o := finish(t, h)
	if o.Status != guest.StatusCompleted || o.Text != "nonce 4711 größe" || o.FinishReason != "stop" {
		t.Errorf("outcome %+v", o)
	}
	if o.Reasoning != "The user wants an echo." || o.Model != "deepseek-flash" || o.ResponseID != "standin-1" {
		t.Errorf("outcome %+v", o)
	}
	if got, want := types(h), "turn.started reasoning.delta message.delta usage message"; got != want {
		t.Errorf("events %q, want %q", got, want)
	}
	for eventType, want := range map[string]string{
		"reasoning.delta": o.Reasoning, "message.delta": o.Text, "message": o.Text,
	} {
		if got := joined(t, h, eventType); got != want {
			t.Errorf("%s: %q, want %q", eventType, got, want)
		}
	}
	known(t, "input", o.Usage.Input, 3)
	known(t, "cached", o.Usage.Cached, 1)
	known(t, "output", o.Usage.Output, 8)
	known(t, "reasoning", o.Usage.Reasoning, 5)
	if r := s.Requests()[0]; r.Authorization != "Bearer "+secret || r.IdempotencyKey == "" {
		t.Errorf("request with authorization %q, key %q", r.Authorization, r.IdempotencyKey)
	}
}

func TestSettingsAndInputReachTheProvider(t *testing.T) {
	s, h := provider(t, map[string]any{
		"model": "from-config", "system": "Be brief.", "max_tokens": 7, "reasoning_effort": "low",
		"tools": []any{map[string]any{"type": "function", "function": map[string]any{"name": "now"}}},
	})
	h = h.Next(encode(t, map[string]any{
		"messages": []any{map[string]any{"role": "user", "content": "json please"}},
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
		"model": "from-input", "max_tokens": 7, "reasoning_effort": "low", "thinking": {"type": "disabled"},
		"stream": true, "stream_options": {"include_usage": true}, "response_format": {"type": "json_object"},
		"tools": [{"type": "function", "function": {"name": "now"}}],
		"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "json please"}]
	}`), &want); err != nil {
		t.Fatal(err)
	}
	if g, w := string(encode(t, got)), string(encode(t, want)); g != w {
		t.Errorf("request %s\nwant    %s", g, w)
	}
}

func TestTheNextTurnOfASessionGoesOn(t *testing.T) {
	s, h := provider(t, nil)
	h = say(t, h, "first")
	finish(t, h)
	h = say(t, h, "second")
	finish(t, h)
	equal(t, "second request", sent(t, s.Requests()[1]),
		[]string{"user:first", "assistant:first|The user wants an echo.", "user:second"})
	other := say(t, guesttest.New(t, h.Turn), "alone")
	other.Server = h.Server
	finish(t, other)
	equal(t, "request of another session", sent(t, s.Requests()[2]), []string{"user:alone"})
}

func TestAFailedTurnLeavesTheConversationAsItWas(t *testing.T) {
	s, h := provider(t, nil)
	h = say(t, h, "again [[fault:no-done times=1]]")
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
			s, h := provider(t, nil)
			h = say(t, h, `weather? [[tool:weather {"city":"Oslo"}]]`+script)
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
			equal(t, "second request", sent(t, s.Requests()[1]), want)
			known(t, "output", o.Usage.Output, 2+3+5)

			// The tool call stays in the conversation with its reasoning, or the provider refuses what follows.
			h = say(t, h, "thanks")
			if o := finish(t, h); o.Status != guest.StatusCompleted {
				t.Fatalf("next turn %+v", o)
			}
			equal(t, "third request", sent(t, s.Requests()[2]),
				append(want, "assistant:rain all day|The user wants an echo.", "user:thanks"))
		})
	}
}

func TestRoundsOfToolsAreBounded(t *testing.T) {
	_, h := provider(t, map[string]any{"max_requests": 1})
	h = say(t, h, `weather? [[tool:weather {}]]`)
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
	s, h := provider(t, nil)
	h = say(t, h, "one two three four [[hold:steer after=2]]")
	go func() {
		h.Await("message.delta", 2)
		h.Input(guest.Input{Type: guest.InputSteer, Text: "stop counting"})
	}()
	o := finish(t, h)
	if o.Status != guest.StatusCompleted || o.Text != "stop counting" {
		t.Errorf("outcome %+v", o)
	}
	equal(t, "second request", sent(t, s.Requests()[1]), []string{
		"user:one two three four [[hold:steer after=2]]",
		"assistant:one two |The user wants an echo.", "user:stop counting",
	})
	if got, want := types(h), "turn.started reasoning.delta message.delta usage message steer.applied "+
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
	s, h := provider(t, map[string]any{"thinking": "disabled"})
	if err := s.Push("[[hold:steer after=0]]"); err != nil {
		t.Fatal(err)
	}
	h = say(t, h, "one")
	go func() {
		<-s.Held("steer")
		h.Input(guest.Input{Type: guest.InputSteer, Text: "two"})
	}()
	if o := finish(t, h); o.Status != guest.StatusCompleted {
		t.Fatalf("outcome %+v", o)
	}
	equal(t, "second request", sent(t, s.Requests()[1]), []string{"user:one\n\ntwo"})
}

func TestCancelKeepsTheTextThatHadCome(t *testing.T) {
	s, h := provider(t, nil)
	h = say(t, h, "one two three four [[hold:cancel after=2]]")
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
	h = say(t, h, "go on")
	finish(t, h)
	equal(t, "next request", sent(t, s.Requests()[1]), []string{
		"user:one two three four [[hold:cancel after=2]]", "assistant:one two |The user wants an echo.", "user:go on",
	})
}

func TestCancelWhileAToolRunsLeavesAUsableConversation(t *testing.T) {
	s, h := provider(t, nil)
	h = say(t, h, `weather? [[tool:weather {}]]`)
	go func() {
		h.Await("tool.call", 1)
		h.Cancel("stop", 0)
	}()
	if o := finish(t, h); o.Status != guest.StatusCancelled {
		t.Fatalf("outcome %+v", o)
	}
	h = say(t, h, "go on")
	if o := finish(t, h); o.Status != guest.StatusCompleted {
		t.Fatalf("outcome %+v", o)
	}
	equal(t, "next request", sent(t, s.Requests()[1]), []string{
		`user:weather? [[tool:weather {}]]`, "assistant:|A tool knows.|weather{}",
		"tool:The turn was cancelled before the tool had answered.", "user:go on",
	})
}

func TestALostRequestIsRepeatedByName(t *testing.T) {
	_, h := provider(t, nil)
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
	h = say(t, h, "whole answer")
	o := finish(t, h)
	if o.Status != guest.StatusCompleted || o.Text != "whole answer" {
		t.Errorf("outcome %+v", o)
	}
	if len(keys) != 2 || keys[0] != keys[1] {
		t.Errorf("idempotency keys %q", keys)
	}
	if got, want := types(h), "turn.started message.delta usage retry reasoning.delta message.delta usage message"; got != want {
		t.Errorf("events %q, want %q", got, want)
	}
}

func TestMessagesAboveTheLimitOfAValueSurvive(t *testing.T) {
	_, h := provider(t, map[string]any{"thinking": "disabled"})
	long := strings.Repeat("ä", 3<<18) + " end"
	h = say(t, h, long)
	o := finish(t, h)
	if o.Status != guest.StatusCompleted || !o.Clipped || !strings.HasPrefix(long, o.Text) {
		t.Fatalf("status %s, clipped %v, text of %d bytes", o.Status, o.Clipped, len(o.Text))
	}
	if joined(t, h, "message.delta") != long {
		t.Error("the deltas are not the whole text")
	}
	s, again := provider(t, map[string]any{"thinking": "disabled"})
	again.Session = h.Session
	again = say(t, again, "short")
	if o := finish(t, again); o.Status != guest.StatusCompleted {
		t.Fatalf("next turn %+v", o)
	}
	equal(t, "next request", sent(t, s.Requests()[0]), []string{"user:" + long, "assistant:" + long, "user:short"})
}
