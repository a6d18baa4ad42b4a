package standin_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/towpath/towpath/examples/standin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, options standin.Options) (*standin.Server, string) {
	s := standin.New(options)
	server := httptest.NewServer(s)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return s, server.URL
}

// post asks for a completion whose last message says text.
func post(t *testing.T, url, text string) *http.Response {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"model": "m", "stream": true, "messages": []any{map[string]any{"role": "user", "content": text}},
	})
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), "POST", url+"/chat/completions", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Idempotency-Key", strconv.QuoteToASCII(text))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}

// said puts the pieces of content of a stream together.
func said(t *testing.T, body string) (text, finish string) {
	t.Helper()
	for line := range strings.Lines(body) {
		data, ok := strings.CutPrefix(strings.TrimSpace(line), "data: ")
		if !ok || data == "[DONE]" {
			continue
		}
		var c struct {
			Choices []struct {
				Delta  struct{ Content string }
				Finish string `json:"finish_reason"`
			}
		}
		if err := json.Unmarshal([]byte(data), &c); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		for _, choice := range c.Choices {
			text += choice.Delta.Content
			finish += choice.Finish
		}
	}
	return text, finish
}

func TestItEchoesTheUsersWords(t *testing.T) {
	_, url := start(t, standin.Options{})
	for words, want := range map[string]string{
		"nonce 7 größe \"quoted\"\nline": "nonce 7 größe \"quoted\"\nline",
		"a b [[tokens:5]]":               "a b a b a ",
		"a [[tokens:2 bytes=4]]":         "a xxa xx",
	} {
		body, err := io.ReadAll(post(t, url, words).Body)
		if err != nil {
			t.Fatal(err)
		}
		text, finish := said(t, string(body))
		if text != want || finish != "stop" {
			t.Errorf("%q: echoed %q, finish %q, want %q", words, text, finish, want)
		}
		if !strings.HasSuffix(string(body), "data: [DONE]\n\n") {
			t.Errorf("%q: no end marker", words)
		}
	}
}

func TestFaults(t *testing.T) {
	_, url := start(t, standin.Options{})
	for fault, c := range map[string]struct {
		status int
		broken bool // the connection, not the stream
		end    string
		holds  string
	}{
		"429 retry-after=2":  {429, false, "}", "rate_limit"},
		"429 body=429_quota": {429, false, "}", "insufficient_quota"},
		"529":                {529, false, "}", "as scripted"},
		"cut":                {200, true, "", `"content":"b`},
		"cut end=eof":        {200, false, "", `"content":"b`},
		"cut-utf8":           {200, true, "gr\xc3", ""},
		"cut-utf8 end=eof":   {200, false, "gr\xc3", ""},
		"no-done":            {200, false, "}\n\n", `"stop"`},
		"no-finish":          {200, false, "[DONE]\n\n", `"content":"b `},
		"empty":              {200, false, "[DONE]\n\n", `"stop"`},
		"length":             {200, false, "[DONE]\n\n", `"length"`},
		"content-filter":     {200, false, "[DONE]\n\n", `"content_filter"`},
		"no-resource":        {200, false, "[DONE]\n\n", `"insufficient_system_resource"`},
		"error":              {200, false, "}}\n\n", `"server_overloaded"`},
		"garbage":            {200, false, "[DONE]\n\n", "{\"content\"\n"},
		"long-line":          {200, false, "[DONE]\n\n", strings.Repeat("x", 1_000_000)},
		"json":               {200, false, "}", "overloaded"},
		"page":               {200, false, "</html>", ""},
	} {
		t.Run(fault, func(t *testing.T) {
			response := post(t, url, "a b c d [[fault:"+fault+"]]")
			body, err := io.ReadAll(response.Body)
			if (err != nil) != c.broken {
				t.Errorf("error %v, want broken=%v", err, c.broken)
			}
			if response.StatusCode != c.status {
				t.Errorf("status %d, want %d", response.StatusCode, c.status)
			}
			if !strings.HasSuffix(string(body), c.end) {
				t.Errorf("ends %q, want %q", body[max(0, len(body)-40):], c.end)
			}
			if strings.HasPrefix(fault, "cut ") || fault == "cut" {
				if strings.HasSuffix(string(body), "\n") {
					t.Errorf("ends with a whole line")
				}
			} else if !strings.Contains(string(body), c.holds) {
				t.Errorf("%q is missing", c.holds)
			}
			if strings.HasPrefix(fault, "cut-utf8") && utf8.Valid(body) {
				t.Error("cut between characters")
			}
		})
	}
}

func TestRefusedConnectionHasNoHead(t *testing.T) {
	_, url := start(t, standin.Options{})
	body := `{"stream":true,"messages":[{"role":"user","content":"[[fault:refused]]"}]}`
	response, err := http.Post(url+"/chat/completions", "application/json", strings.NewReader(body))
	if err == nil {
		response.Body.Close()
		t.Fatalf("answered %d", response.StatusCode)
	}
}

func TestKeepAliveIsAllThereIs(t *testing.T) {
	_, url := start(t, standin.Options{})
	for script, before := range map[string]string{"[[fault:keepalive every=1ms]]": "", "[[fault:stall every=1ms]]": "data: "} {
		lines := bufio.NewScanner(post(t, url, "a b c "+script).Body)
		comments, data := 0, 0
		for comments < 5 && lines.Scan() {
			switch {
			case strings.HasPrefix(lines.Text(), ": "):
				comments++
			case strings.HasPrefix(lines.Text(), "data: "):
				data++
			}
		}
		if comments < 5 || (data > 0) != (before != "") {
			t.Errorf("%s: %d comments and %d events", script, comments, data)
		}
	}
}

func TestAFaultThatPassesAfterTwoTimes(t *testing.T) {
	s, url := start(t, standin.Options{})
	text := "again [[fault:503 times=2]]"
	for i, want := range []int{503, 503, 200, 200} {
		if response := post(t, url, text); response.StatusCode != want {
			t.Errorf("request %d: status %d, want %d", i+1, response.StatusCode, want)
		}
	}
	if n := s.Counts()[strconv.QuoteToASCII(text)]; n != 4 || len(s.Requests()) != 4 {
		t.Errorf("counted %d requests with the key, %d in all", n, len(s.Requests()))
	}
}

func TestAHoldWaitsForItsRelease(t *testing.T) {
	s, url := start(t, standin.Options{})
	response := post(t, url, "a b c [[hold:gate after=2]]")
	<-s.Held("gate")
	s.Release("gate")
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := said(t, string(body)); text != "a b c" {
		t.Errorf("said %q", text)
	}
}

func TestQueuedScriptsComeFirst(t *testing.T) {
	s, url := start(t, standin.Options{})
	for _, script := range []string{"[[fault:500]]", "[[fault:402]]"} {
		if err := s.Push(script); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int{500, 402, 200} {
		if got := post(t, url, "x").StatusCode; got != want {
			t.Errorf("status %d, want %d", got, want)
		}
	}
	for _, bad := range []string{"[[fault:500", "[[nonsense:1]]", "[[pace:soon]]", "[[fault:429 color=red]]"} {
		if s.Push(bad) == nil {
			t.Errorf("script %q was accepted", bad)
		}
	}
}

func TestControlOverHTTP(t *testing.T) {
	_, url := start(t, standin.Options{})
	call := func(method, path, body string) string {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		content, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return strconv.Itoa(response.StatusCode) + " " + string(content)
	}
	if got := call("POST", "/standin/scripts", "[[hold:h after=1]]"); got != "200 " {
		t.Fatal(got)
	}
	if got := call("POST", "/standin/scripts", "[[hold"); !strings.HasPrefix(got, "400 ") {
		t.Fatal(got)
	}
	response := post(t, url, "a b")
	call("GET", "/standin/held/h", "")
	call("POST", "/standin/release/h", "")
	if _, err := io.ReadAll(response.Body); err != nil {
		t.Fatal(err)
	}
	if got := call("GET", "/standin/requests", ""); !strings.Contains(got, `"idempotency_key":"\"a b\""`) {
		t.Fatal(got)
	}
}

func TestItRefusesWhatTheProviderRefuses(t *testing.T) {
	_, url := start(t, standin.Options{Key: "k"})
	call := `{"role":"assistant","content":"","tool_calls":[{"id":"1"}]%s},{"role":"tool","content":"x","tool_call_id":"1"}`
	for name, c := range map[string]struct {
		key, body string
		status    int
	}{
		"wrong key":                      {"other", `{"stream":true,"messages":[{"role":"user","content":"x"}]}`, 401},
		"no messages":                    {"k", `{"stream":true,"messages":[]}`, 400},
		"no JSON":                        {"k", `x`, 400},
		"tool call without reasoning":    {"k", `{"stream":true,"messages":[` + strings.Replace(call, "%s", "", 1) + `]}`, 400},
		"tool call with empty reasoning": {"k", `{"stream":true,"messages":[` + strings.Replace(call, "%s", `,"reasoning_content":""`, 1) + `]}`, 200},
		"no thinking, no reasoning":      {"k", `{"stream":true,"thinking":{"type":"disabled"},"messages":[` + strings.Replace(call, "%s", "", 1) + `]}`, 200},
	} {
		request, err := http.NewRequestWithContext(t.Context(), "POST", url+"/chat/completions", strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+c.key)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != c.status {
			t.Errorf("%s: status %d, want %d", name, response.StatusCode, c.status)
		}
	}
}
