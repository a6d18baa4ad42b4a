package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/chat/chattest"
	"github.com/towpath/towpath/hostabi/guest/guesttest"
)

// Every way in which the provider can fail, played on a real connection, and what the worker is told.
func TestEachFaultHasItsClass(t *testing.T) {
	for fault, want := range map[string]struct {
		kind    guest.Kind
		retry   bool
		after   time.Duration
		message string
	}{
		"400":                  {guest.KindInvalid, false, 0, "provider answered 400: Failed to deserialize the JSON body into the target type (invalid_request_error) [request request-1]"},
		"400 body=400_context": {guest.KindContextOverflow, false, 0, "maximum context length"},
		"400 body=400_risk":    {guest.KindContentFilter, false, 0, "Content Exists Risk"},
		"401":                  {guest.KindAuth, false, 0, "Authentication Fails"},
		"402":                  {guest.KindBalance, false, 0, "Insufficient Balance"},
		"403":                  {guest.KindAuth, false, 0, ""},
		"404":                  {guest.KindInvalid, false, 0, "Model Not Exist"},
		"422":                  {guest.KindInvalid, false, 0, ""},
		"429":                  {guest.KindRateLimited, true, 0, ""},
		"429 retry-after=2":    {guest.KindRateLimited, true, 2 * time.Second, ""},
		"429 retry-after=Fri,_01_Jan_2100_00:00:00_GMT": {guest.KindRateLimited, true, 24 * time.Hour, ""},
		"429 retry-after=soon":                          {guest.KindRateLimited, true, 0, ""},
		"429 body=429_quota retry-after=2":              {guest.KindBalance, false, 0, "current quota"},
		"500":                                           {guest.KindOverloaded, true, 0, ""},
		"502":                                           {guest.KindOverloaded, true, 0, ""},
		"503 retry-after=7":                             {guest.KindOverloaded, true, 7 * time.Second, ""},
		"504":                                           {guest.KindStalled, true, 0, ""},
		"529":                                           {guest.KindOverloaded, true, 0, "answer 529 as scripted"},
		"refused":                                       {guest.KindNetwork, true, 0, ""},
		"hang":                                          {guest.KindStalled, true, 0, "nothing came from the provider"},
		"stall":                                         {guest.KindStalled, true, 0, "nothing came from the provider"},
		"stall every=1ms":                               {guest.KindStalled, true, 0, "nothing but keep-alives"},
		"keepalive every=1ms":                           {guest.KindStalled, true, 0, "nothing but keep-alives"},
		"cut":                                           {guest.KindTruncated, true, 0, ""},
		"cut end=eof":                                   {guest.KindTruncated, true, 0, ""},
		"cut-utf8":                                      {guest.KindTruncated, true, 0, ""},
		"cut-utf8 end=eof":                              {guest.KindTruncated, true, 0, ""},
		"no-done":                                       {guest.KindTruncated, true, 0, ""},
		"no-finish":                                     {guest.KindTruncated, true, 0, "without a finish reason"},
		"empty":                                         {guest.KindEmpty, true, 0, ""},
		"content-filter":                                {guest.KindContentFilter, false, 0, ""},
		"no-resource":                                   {guest.KindOverloaded, true, 0, ""},
		"error":                                         {guest.KindOverloaded, true, 0, "Server is overloaded"},
		"garbage":                                       {guest.KindProtocol, true, 0, ""},
		"long-line size=4194304":                        {guest.KindProtocol, true, 0, "too long"},
		"json":                                          {guest.KindOverloaded, true, 0, ""},
		"page":                                          {guest.KindProtocol, true, 0, `"text/html" and no event stream; it begins "<html>`},
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			config := map[string]any{"thinking": "disabled"}
			switch {
			case strings.HasPrefix(want.message, "nothing came"):
				config["bytes_idle"] = "200ms"
			case strings.HasPrefix(want.message, "nothing but"):
				config["payload_idle"] = "200ms"
			}
			s, h := backend(t, config)
			h = chattest.Say(t, h, "a b c d [[fault:"+fault+"]]")
			o := finish(t, h)
			if o.Status != guest.StatusFailed || o.Kind != want.kind || o.Retryable != want.retry {
				t.Errorf("%s, %s, retryable %v (%s), want %s, %v", o.Status, o.Kind, o.Retryable, o.Message, want.kind, want.retry)
			}
			if got := time.Duration(o.RetryAfterMS) * time.Millisecond; got != want.after {
				t.Errorf("retry after %v, want %v", got, want.after)
			}
			if !strings.Contains(o.Message, want.message) {
				t.Errorf("message %q, want %q", o.Message, want.message)
			}
			if n := len(s.Requests()); n != 1 {
				t.Errorf("%d requests: retries are the worker's", n)
			}
			if strings.Contains(string(h.Finished()), secret) {
				t.Errorf("the result holds the key: %s", h.Finished())
			}
			if len(h.Session) != 0 {
				t.Errorf("the failed turn wrote %v", h.Session)
			}
		})
	}
}

func TestFaultsThatAreNone(t *testing.T) {
	for script, want := range map[string]struct{ text, finish string }{
		"[[fault:length]]":    {"a b", "length"},
		"[[fault:long-line]]": {strings.Repeat("x", 1_000_000), "stop"},
		"[[fault:no-usage]]":  {"a b", "stop"},
	} {
		_, h := backend(t, map[string]any{"thinking": "disabled"})
		h = chattest.Say(t, h, "a b "+script)
		o := finish(t, h)
		if o.Status != guest.StatusCompleted || o.FinishReason != want.finish || !strings.HasPrefix(want.text, o.Text) {
			t.Errorf("%s: %+v", script, o)
		}
		if got := chattest.Joined(t, h, "message.delta"); got != want.text {
			t.Errorf("%s: deltas of %d bytes", script, len(got))
		}
		if unknown := o.Usage.Input == nil && o.Usage.Output == nil; unknown != (script == "[[fault:no-usage]]") {
			t.Errorf("%s: usage %+v", script, o.Usage)
		}
	}
}

// scripted makes a host whose provider is a function. In a synctest bubble its timers cost no time.
func scripted(t *testing.T, server func(*guesttest.Exchange)) *guesttest.Host {
	h := guesttest.New(t, hostabi.TurnRequest{Input: json.RawMessage(`{"text":"hi"}`)})
	h.Server = func(x *guesttest.Exchange) {
		x.Respond(200, http.Header{"Content-Type": {"text/event-stream"}})
		server(x)
	}
	return h
}

func TestTheThreeTimersHaveTheirDefaults(t *testing.T) {
	piece := []byte(`data: {"id":"1","choices":[{"index":0,"delta":{"content":"x"}}]}` + "\n\n")
	play := func(first []byte, every time.Duration, again []byte) func(*guesttest.Exchange) {
		return func(x *guesttest.Exchange) {
			_, err := x.Write(first)
			for err == nil {
				select {
				case <-time.After(every):
					_, err = x.Write(again)
				case <-x.Context.Done():
					return
				}
			}
		}
	}
	for name, c := range map[string]struct {
		server func(*guesttest.Exchange)
		after  time.Duration
		says   string
	}{
		"nothing at all":      {func(x *guesttest.Exchange) { <-x.Context.Done() }, time.Minute, "nothing came"},
		"nothing any more":    {play(piece, time.Hour, nil), time.Minute, "nothing came"},
		"keep-alives only":    {play(nil, 50*time.Second, []byte(": keep-alive\n\n")), 5 * time.Minute, "nothing but keep-alives"},
		"pieces without end":  {play(piece, 50*time.Second, piece), 9 * time.Minute, "did not end"},
		"half a line for now": {play([]byte("data: "), 50*time.Second, []byte("x")), 5 * time.Minute, "nothing but keep-alives"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				o := finish(t, scripted(t, c.server))
				if o.Kind != guest.KindStalled || !o.Retryable || !strings.Contains(o.Message, c.says) {
					t.Errorf("outcome %+v, want %q", o, c.says)
				}
				if took := time.Since(began); took != c.after {
					t.Errorf("took %v, want %v", took, c.after)
				}
			})
		})
	}
}

// A person who asks the provider about an answer needs its id, under whichever name it came.
func TestARefusalNamesItsRequest(t *testing.T) {
	for name, want := range map[string]string{"x-request-id": "one", "x-deepseek-request-id": "two"} {
		h := guesttest.New(t, hostabi.TurnRequest{Input: json.RawMessage(`{"text":"hi"}`)})
		h.Server = func(x *guesttest.Exchange) {
			header := http.Header{"Content-Type": {"application/json"}}
			header.Set(name, want)
			x.Respond(500, header)
			_, _ = x.Write([]byte(`{"error":{"message":"no"}}`))
			x.End()
		}
		if o := finish(t, h); o.Kind != guest.KindOverloaded || !strings.Contains(o.Message, "[request "+want+"]") {
			t.Errorf("%s: %+v", name, o)
		}
	}
}

func TestWhatTheHostRefusesIsClassified(t *testing.T) {
	for code, want := range map[hostabi.Code]guest.Kind{
		hostabi.EDENIED: guest.KindDenied, hostabi.EIO: guest.KindNetwork, hostabi.ETIMEDOUT: guest.KindStalled,
		hostabi.EQUOTA: guest.KindQuota,
	} {
		h := guesttest.New(t, hostabi.TurnRequest{Input: json.RawMessage(`{"text":"hi"}`)})
		h.Server = func(x *guesttest.Exchange) { x.Fail(code, "as the test says") }
		if o := finish(t, h); o.Kind != want || o.Retryable != want.Retryable() {
			t.Errorf("%v: %s, retryable %v, want %s", code, o.Kind, o.Retryable, want)
		}
	}
}

func TestBadInputNamesTheFix(t *testing.T) {
	for name, c := range map[string]struct{ input, config, says string }{
		"no words":         {`{}`, `{}`, `pass {"text":"…"}`},
		"two kinds":        {`{"text":"a","messages":[{"role":"user"}]}`, `{}`, "pass one of them"},
		"unknown key":      {`{"txt":"a"}`, `{}`, `unknown field "txt"`},
		"unknown setting":  {`{"text":"a"}`, `{"modell":"x"}`, `config: json: unknown field "modell"`},
		"unknown role":     {`{"messages":[{"role":"bot","content":"a"}]}`, `{}`, `messages[0] has role "bot"`},
		"thinking":         {`{"text":"a","thinking":"adaptive"}`, `{}`, `use "enabled" or "disabled"`},
		"effort":           {`{"text":"a","reasoning_effort":"medium"}`, `{}`, `use "low", "high" or "max"`},
		"user id":          {`{"text":"a"}`, `{"user_id":"` + strings.Repeat("u", 513) + `"}`, "at most 512"},
		"negative tokens":  {`{"text":"a","max_tokens":-1}`, `{}`, "use a positive number"},
		"no model":         {`{"text":"a"}`, `{"model":""}`, "name one"},
		"tools no list":    {`{"text":"a","tools":{}}`, `{}`, "tools: "},
		"tool has no name": {`{"text":"a","tools":[{"type":"function"}]}`, `{}`, "tools[0] has no function.name"},
		"bare duration":    {`{"text":"a"}`, `{"total":5}`, `write it as in "90s"`},
		"no duration":      {`{"text":"a"}`, `{"total":"-5s"}`, `write it as in "90s"`},
		"no requests":      {`{"text":"a"}`, `{"max_requests":0}`, "max_requests is 0"},
		"no object":        {`["a"]`, `{}`, "input: "},
	} {
		h := guesttest.New(t, hostabi.TurnRequest{Input: json.RawMessage(c.input), Config: json.RawMessage(c.config)})
		if o := finish(t, h); o.Kind != guest.KindInvalid || o.Retryable || !strings.Contains(o.Message, c.says) {
			t.Errorf("%s: %s, %q, want %q", name, o.Kind, o.Message, c.says)
		}
		if len(h.Events()) != 0 {
			t.Errorf("%s: the turn had begun: %v", name, chattest.Types(h))
		}
	}
}

func TestABrokenConversationIsAnErrorThatNamesTheKey(t *testing.T) {
	for name, session := range map[string]map[string][]byte{
		"history":        {"history": []byte("x")},
		"message/000000": {"history": []byte(`{"messages":1}`)},
		"message/000001": {"history": []byte(`{"messages":2}`), "message/000000": []byte("{}"), "message/000001": []byte("x")},
	} {
		h := guesttest.New(t, hostabi.TurnRequest{Input: json.RawMessage(`{"text":"hi"}`)})
		h.Session = session
		if o := finish(t, h); o.Kind != guest.KindInternal || !strings.Contains(o.Message, name) {
			t.Errorf("%s: %s, %q", name, o.Kind, o.Message)
		}
	}
}

// Whatever a provider sends, in whatever pieces, a turn ends in one classified way, the same for all pieces.
func FuzzAnyStreamEndsTheSame(f *testing.F) {
	f.Add([]byte("data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"gr\xc3\xbc\xc3\x9fe\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"), 70)
	f.Add([]byte("data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":9}]}}]}\n\n"), 3)
	f.Add([]byte("data: {\"error\":{\"message\":\"Rate limit\",\"code\":7}}\n\n"), 1)
	f.Fuzz(func(t *testing.T, body []byte, at int) {
		play := func(pieces ...[]byte) string {
			h := scripted(t, func(x *guesttest.Exchange) {
				for _, piece := range pieces {
					_, _ = x.Write(piece)
				}
				x.End()
			})
			h.Run(run)
			var said strings.Builder
			for _, e := range h.Events() {
				fmt.Fprintf(&said, "%s\n", e.JSON)
			}
			return said.String() + string(h.Finished())
		}
		at = max(0, min(at, len(body)))
		if whole, cut := play(body), play(body[:at], body[at:]); whole != cut {
			t.Errorf("whole: %s\ncut:   %s", whole, cut)
		}
	})
}
