package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/hostabi/guest"
)

// last decodes the newest event of a type.
func last[E any](w *world, eventType string) (e E) {
	w.Helper()
	found := false
	for _, event := range w.host.Events() {
		if event.Type == eventType {
			found = true
			e = *new(E)
			if err := json.Unmarshal(event.JSON, &e); err != nil {
				w.Fatal(err)
			}
		}
	}
	if !found {
		w.Errorf("no event %s", eventType)
	}
	return e
}

// await decodes the n-th event of a type, from 1, once there is one.
func await[E any](w *world, eventType string, n int) (e E) {
	event := w.host.Await(eventType, n)
	if err := json.Unmarshal(event.JSON, &e); err != nil {
		w.Errorf("event %s: %v", event.JSON, err)
	}
	return e
}

// push scripts the provider's next answers.
func (w *world) push(scripts ...string) {
	w.Helper()
	for _, s := range scripts {
		if err := w.provider.Push(s); err != nil {
			w.Fatal(err)
		}
	}
}

func (w *world) log() string { return strings.Join(w.host.Lines(), "\n") }

func TestACommandOfTheModelRuns(t *testing.T) {
	w := newWorld(t, nil)
	w.push(`[[tool:exec_command {"cmd":"echo one; echo two"}]]`)
	w.say("p1", "run it", nil)
	if o := w.finish(); o.Status != "completed" {
		t.Fatalf("%+v\n%s", o, w.log())
	}
	started, ended := last[guest.ExecStarted](w, "exec.started"), last[guest.ExecEnded](w, "exec.ended")
	if !strings.Contains(started.Command, "echo one; echo two") || ended.ID != started.ID || ended.Status != "completed" ||
		ended.ExitCode == nil || *ended.ExitCode != 0 || strings.TrimSpace(ended.Output) != "one\ntwo" {
		t.Errorf("%+v\n%+v", started, ended)
	}
	if u := w.host.Events(); strings.Count(w.types(), "usage") != 2 {
		t.Errorf("%d events: %s", len(u), w.types())
	}
}

// Whoever may ask for what, and what became of it.
func TestApprovals(t *testing.T) {
	for name, c := range map[string]struct {
		approvals string
		answer    string // of a client, JSON
		decision  string
		by        string
		ran       bool
		status    string
	}{
		"accepted":              {"ask", `"accept"`, "accept", "client", true, "completed"},
		"declined":              {"ask", `"decline"`, "decline", "client", false, "completed"},
		"ended":                 {"ask", `"cancel"`, "cancel", "client", false, "cancelled"},
		"answered with no word": {"ask", `{"what":"ever"}`, "decline", "client", false, "completed"},
		"answered by nobody":    {"ask", "", "decline", "nobody", false, "completed"},
		"declined by policy":    {"decline", "", "decline", "policy", false, "completed"},
		"never asked":           {"never", "", "", "", true, "completed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "ran")
			w := newWorld(t, map[string]any{"approval_policy": "untrusted", "approval_wait": "30s"})
			if c.by == "nobody" {
				w = newWorld(t, map[string]any{"approval_policy": "untrusted", "approval_wait": "100ms"})
			}
			w.push(`[[tool:exec_command {"cmd":"touch ` + file + `"}]]`)
			w.say("p1", "make the file", map[string]any{"approvals": c.approvals})
			if c.answer != "" {
				go func() {
					asked := await[guest.ApprovalRequested](w, "approval.requested", 1)
					if asked.Of != "exec" || !strings.Contains(asked.Command, file) || len(asked.Choices) < 3 || asked.Item == "" {
						t.Errorf("asked %+v", asked)
					}
					if _, err := os.Stat(file); err == nil {
						t.Error("the command ran before it was allowed")
					}
					w.host.Input(guest.Input{Type: guest.InputAnswer, To: asked.ID, Output: json.RawMessage(c.answer)})
				}()
			}
			o := w.finish()
			if o.Status != c.status {
				t.Errorf("%+v\n%s\n%s", o, w.types(), w.log())
			}
			if _, err := os.Stat(file); (err == nil) != c.ran {
				t.Errorf("the command ran: %v, want %v", err == nil, c.ran)
			}
			if c.by != "" {
				if a := last[guest.ApprovalAnswered](w, "approval.answered"); a.Decision != c.decision || a.By != c.by {
					t.Errorf("answered %+v", a)
				}
				if e := last[guest.ExecEnded](w, "exec.ended"); (e.Status == "completed") != c.ran {
					t.Errorf("the command %+v", e)
				}
			}
		})
	}
}

func TestAToolOfTheSubmitters(t *testing.T) {
	w := newWorld(t, nil)
	w.push(`[[tool:weather {"city":"Oslo"}]]`)
	w.say("p1", "how is it", map[string]any{"tools": json.RawMessage(`[{"name":"weather","inputSchema":{"type":"object","properties":{"city":{"type":"string"}}}}]`)})
	go func() {
		call := await[guest.ToolCall](w, "tool.call", 1)
		if call.Name != "weather" || call.Arguments != `{"city":"Oslo"}` || call.Runner != "" {
			t.Errorf("call %+v", call)
		}
		w.host.Input(guest.Input{Type: guest.InputAnswer, To: call.ID, Output: json.RawMessage(`{"sky":"rain"}`)})
	}()
	if o := w.finish(); o.Status != "completed" || o.Text != `{"sky":"rain"}` {
		t.Fatalf("%+v\n%s", o, w.log())
	}
	if out := last[guest.ToolOutput](w, "tool.output"); out.Output != `{"sky":"rain"}` {
		t.Errorf("output %+v", out)
	}
	// The thread keeps its tools, also in another home.
	w.push(`[[tool:weather {"city":"Bergen"}]]`)
	w.say("p2", "and there", nil)
	go func() {
		call := await[guest.ToolCall](w, "tool.call", 1)
		w.host.Input(guest.Input{Type: guest.InputAnswer, To: call.ID, Output: json.RawMessage(`"sun"`)})
	}()
	if o := w.finish(); o.Status != "completed" || o.Text != "sun" {
		t.Fatalf("%+v\n%s", o, w.log())
	}
}

func TestAnOutputSchemaGivesData(t *testing.T) {
	w := newWorld(t, nil)
	w.say("p1", `{"a":1}`, map[string]any{"output_schema": json.RawMessage(`{"type":"object","properties":{"a":{"type":"number"}},"required":["a"],"additionalProperties":false}`)})
	if o := w.finish(); o.Status != "completed" || string(o.Data) != `{"a":1}` {
		t.Fatalf("%+v\n%s", o, w.log())
	}
	var body struct {
		Text struct {
			Format struct {
				Type   string `json:"type"`
				Strict bool   `json:"strict"`
			} `json:"format"`
		} `json:"text"`
	}
	if err := json.Unmarshal(w.provider.Requests()[0].Body, &body); err != nil || body.Text.Format.Type != "json_schema" || !body.Text.Format.Strict {
		t.Errorf("asked for %+v, %v", body, err)
	}
}

func TestASteerCutsTheAnswer(t *testing.T) {
	w := newWorld(t, nil)
	w.say("p1", "a long story [[hold:gate after=2]]", nil)
	go func() {
		w.host.Await("message.delta", 1)
		w.host.Input(guest.Input{Type: guest.InputSteer, Text: "another one"})
	}()
	if o := w.finish(); o.Status != "completed" || o.Text != "another one" {
		t.Fatalf("%+v\n%s", o, w.log())
	}
	// A piece of the old answer may still come behind the steer.
	if got := w.types(); !strings.HasSuffix(got, " message.retracted message.delta message usage") || strings.Count(got, "steer.applied") != 1 {
		t.Errorf("events %s", got)
	}
	if got, want := w.asked(-1), "user: a long story [[hold:gate after=2]]|user: another one"; got != want {
		t.Errorf("asked %s\nwant  %s", got, want)
	}
}

func TestACancelledTurnIsInterruptedAndKept(t *testing.T) {
	w := newWorld(t, nil)
	w.say("p1", "a long story [[hold:gate after=2]]", nil)
	go func() {
		w.host.Await("message.delta", 1)
		w.host.Cancel("enough", 30*time.Second)
	}()
	if o := w.finish(); o.Status != "cancelled" || o.Message != "turn cancelled: enough" {
		t.Fatalf("%+v\n%s", o, w.log())
	}
	if got, want := w.types(), "turn.started message.delta message.retracted"; got != want {
		t.Errorf("events %s\nwant   %s", got, want)
	}
	w.say("p2", "go on", nil)
	if o := w.finish(); o.Status != "completed" || o.Text != "go on" {
		t.Fatalf("%+v\n%s", o, w.log())
	}
	if got := w.asked(-1); !strings.HasPrefix(got, "user: a long story") || strings.Count(got, "a long story") != 1 || !strings.Contains(got, "<turn_aborted>") {
		t.Errorf("asked %s", got)
	}
}

func TestAnInterruptedCommandEndsWithTheTurn(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	w := newWorld(t, nil)
	w.push(`[[tool:exec_command {"cmd":"echo $$ > ` + pid + `; exec sleep 302"}]]`)
	w.say("p1", "sleep", nil)
	go func() {
		w.host.Await("exec.started", 1)
		w.host.Cancel("enough", 30*time.Second)
	}()
	if o := w.finish(); o.Status != "cancelled" {
		t.Fatalf("%+v\n%s", o, w.log())
	}
	if e := last[guest.ExecEnded](w, "exec.ended"); e.Status == "completed" {
		t.Errorf("the command %+v", e)
	}
}
