// Package chattest has what tests of plugins on package chat share.
package chattest

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/chat"
	"github.com/towpath/towpath/hostabi/guest/guesttest"
)

// Host is a turn's host in front of a provider that listens on loopback under path. config is added to the settings.
func Host(tb testing.TB, provider http.Handler, path string, secrets map[string]string, config map[string]any) *guesttest.Host {
	tb.Helper()
	server := httptest.NewServer(provider)
	client := &http.Client{Transport: &http.Transport{}}
	tb.Cleanup(func() {
		client.CloseIdleConnections()
		server.CloseClientConnections()
		server.Close()
	})
	settings := map[string]any{"base_url": server.URL + path}
	maps.Copy(settings, config)
	h := guesttest.New(tb, hostabi.TurnRequest{Process: "p1", Session: "s1", Config: Encode(tb, settings)})
	h.Server = guesttest.Forward(client, secrets)
	return h
}

// Encode is the JSON form of v.
func Encode(tb testing.TB, v any) json.RawMessage {
	tb.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// Say makes the next turn of the host's session, whose input is text.
func Say(tb testing.TB, h *guesttest.Host, text string) *guesttest.Host {
	tb.Helper()
	return h.Next(Encode(tb, map[string]any{"text": text}))
}

// Outcome is what a turn finished with.
type Outcome struct {
	envelope
	chat.Result
}

type envelope = guest.Result

// Read reads what a turn finished with.
func Read(tb testing.TB, r guesttest.Result) (o Outcome) {
	tb.Helper()
	if err := json.Unmarshal(r.JSON, &o); err != nil {
		tb.Fatal(err)
	}
	return o
}

// Joined is the text of all events of a type.
func Joined(tb testing.TB, h *guesttest.Host, eventType string) string {
	tb.Helper()
	var text strings.Builder
	for _, e := range h.Events() {
		if e.Type == eventType {
			var piece struct{ Text string }
			if err := json.Unmarshal(e.JSON, &piece); err != nil {
				tb.Fatal(err)
			}
			text.WriteString(piece.Text)
		}
	}
	return text.String()
}

// Types is the types of a turn's events, runs of the same one shortened.
func Types(h *guesttest.Host) string {
	var all []string
	for _, e := range h.Events() {
		if len(all) == 0 || all[len(all)-1] != e.Type {
			all = append(all, e.Type)
		}
	}
	return strings.Join(all, " ")
}

// Sent is the messages of a request's body, as role:content|reasoning|details|tool.
func Sent(tb testing.TB, body json.RawMessage) []string {
	tb.Helper()
	var b struct{ Messages []chat.Message }
	if err := json.Unmarshal(body, &b); err != nil {
		tb.Fatal(err)
	}
	var said []string
	for _, m := range b.Messages {
		line := m.Role + ":" + m.Content
		if m.Reasoning != nil {
			line += "|" + *m.Reasoning
		}
		if m.Details != nil {
			line += "|" + string(m.Details)
		}
		for _, call := range m.ToolCalls {
			line += "|" + call.Function.Name + call.Function.Arguments
		}
		said = append(said, line)
	}
	return said
}

// Equal compares two lists.
func Equal(tb testing.TB, what string, got, want []string) {
	tb.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		tb.Errorf("%s:\n%s\nwant:\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Known checks a count that may be unknown.
func Known(tb testing.TB, what string, got *int64, want int64) {
	tb.Helper()
	if got == nil {
		tb.Errorf("%s is unknown, want %d", what, want)
	} else if *got != want {
		tb.Errorf("%s is %d, want %d", what, *got, want)
	}
}
