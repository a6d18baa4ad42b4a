package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/guesttest"
)

// transcript is the events of a turn and its result, one a line.
func transcript(h *guesttest.Host) string {
	var lines string
	for _, e := range h.Events() {
		lines += string(e.JSON) + "\n"
	}
	return lines + string(h.Finished()) + "\n"
}

func TestTwoTurnsOfASessionShowWhatTheTutorialSays(t *testing.T) {
	h := guesttest.New(t, hostabi.TurnRequest{Config: json.RawMessage(`{"greeting":"Hello"}`)})
	for _, file := range []string{"first", "second"} {
		h = h.Next(json.RawMessage(`{"text":"Ada"}`))
		h.Run(run)
		want, err := os.ReadFile(filepath.Join("expected", file+".jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		if got := transcript(h); got != string(want) {
			t.Errorf("%s turn:\n%swant:\n%s", file, got, want)
		}
	}
}

func TestBadInputNamesTheFix(t *testing.T) {
	for input, want := range map[string]string{
		`{}`:             `input has no "text": pass {"text":"your name"}`,
		`{"name":"Ada"}`: `input: json: unknown field "name"`,
		`{"text":7}`:     `input: json: cannot unmarshal number into Go struct field input.text of type string`,
		`[]`:             `input: json: cannot unmarshal array into Go value of type main.input`,
	} {
		h := guesttest.New(t, hostabi.TurnRequest{Input: json.RawMessage(input)})
		result := h.Run(run)
		if result.Kind != guest.KindInvalid || result.Retryable || result.Message != want {
			t.Errorf("input %s: %s, want message %q", input, result.JSON, want)
		}
		if len(h.Session) != 0 {
			t.Errorf("input %s: a failed turn was counted: %v", input, h.Session)
		}
	}
}

func TestItBuildsToAModule(t *testing.T) {
	if module := guesttest.Build(t, "."); string(module[:4]) != "\x00asm" {
		t.Errorf("the module begins %q", module[:4])
	}
}

func TestThePermitsSettingsAreKnown(t *testing.T) {
	file, err := os.ReadFile("hello.toml")
	if err != nil {
		t.Fatal(err)
	}
	var permits struct {
		Config map[string]any `toml:"config"`
	}
	if err := toml.Unmarshal(file, &permits); err != nil {
		t.Fatal(err)
	}
	settings, err := json.Marshal(permits.Config)
	if err != nil {
		t.Fatal(err)
	}
	h := guesttest.New(t, hostabi.TurnRequest{Input: json.RawMessage(`{"text":"Ada"}`), Config: settings})
	if result := h.Run(run); result.Status != guest.StatusCompleted {
		t.Errorf("result %s", result.JSON)
	}
}
