package vocabulary_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/vocabulary"
)

// words is one event of each type that the SDK has, with every member that it may have.
func words() []guest.Event {
	n, zero := int64(7), 0
	return []guest.Event{
		guest.TurnStarted{Model: "m", Thread: "t"},
		guest.MessageDelta{ID: "1", Text: "a"},
		guest.Message{ID: "1", Text: "a", Phase: guest.PhaseAnswer, Clipped: true},
		guest.MessageRetracted{ID: "1", Reason: "steered"},
		guest.ReasoningDelta{ID: "1", Text: "a"},
		guest.ToolCall{ID: "1", Name: "n", Arguments: "{}", Runner: guest.RunnerBackend},
		guest.ToolOutput{ID: "1", Output: "o", Failed: true, Clipped: true},
		guest.ExecStarted{ID: "1", Command: "ls", CWD: "/"},
		guest.ExecOutput{ID: "1", Text: "a"},
		guest.ExecEnded{ID: "1", Status: guest.ExecCompleted, ExitCode: &zero, Output: "a", Clipped: true},
		guest.FileChange{ID: "1", Status: guest.FileApplied, Changes: []guest.ChangedFile{{Path: "a", Change: "updated", MovedTo: "b", Diff: "d"}}, Clipped: true},
		guest.ApprovalRequested{ID: "1", Of: guest.ApprovalExec, Item: "2", Command: "ls", CWD: "/", Reason: "r", Choices: []string{"accept", "decline"}, Detail: json.RawMessage(`{}`)},
		guest.ApprovalAnswered{ID: "1", Decision: "accept", By: guest.ByClient},
		guest.Usage{ResponseID: "r", Model: "m", InputTokens: &n, CachedTokens: &n, OutputTokens: &n, ReasoningTokens: &n},
		guest.Retry{Reason: "r"},
		guest.SteerApplied{Text: "a", Partial: true},
		guest.ContextCompacted{},
	}
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTheSDKAndTheListHaveTheSameWords(t *testing.T) {
	var said []string
	for _, e := range words() {
		said = append(said, e.EventType())
		if !vocabulary.Known(e.EventType()) {
			t.Errorf("%s is not in the list", e.EventType())
		}
		if err := vocabulary.Check(e.EventType(), encode(t, e)); err != nil {
			t.Error(err)
		}
	}
	for _, name := range vocabulary.Types() {
		if !strings.HasPrefix(name, "process.") && !slices.Contains(said, name) {
			t.Errorf("the SDK has no type for %s", name)
		}
	}
}

// Whatever is optional may be left out, and what is not known is null.
func TestTheLeastThatAnEventSays(t *testing.T) {
	for _, e := range []guest.Event{
		guest.TurnStarted{}, guest.Message{}, guest.ToolCall{ID: "1"}, guest.ToolOutput{ID: "1"}, guest.Usage{}, guest.SteerApplied{},
		guest.ExecEnded{ID: "1", Status: guest.ExecDeclined}, guest.FileChange{ID: "1", Status: guest.FileFailed, Changes: []guest.ChangedFile{}},
		guest.ApprovalRequested{ID: "1", Of: guest.ApprovalQuestion, Choices: []string{}},
	} {
		if err := vocabulary.Check(e.EventType(), encode(t, e)); err != nil {
			t.Error(err)
		}
	}
}

func TestWhatDoesNotFitIsNamed(t *testing.T) {
	for _, c := range []struct{ kind, data, says string }{
		{"message", `{"text":7}`, "text"},
		{"message", `{"txt":"a"}`, "txt"},
		{"message", `{"text":"a"`, "unexpected EOF"},
		{"usage", `{"input_tokens":1,"cached_tokens":0,"output_tokens":1}`, "reasoning_tokens"},
		{"usage", `{"input_tokens":-1,"cached_tokens":0,"output_tokens":1,"reasoning_tokens":0}`, "input_tokens"},
		{"exec.ended", `{"id":"1","status":"gone","exit_code":0}`, "status"},
		{"process.retracted", `{"from_seq":0,"to_seq":3}`, "from_seq"},
	} {
		if err := vocabulary.Check(c.kind, []byte(c.data)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %s: %v, want %q", c.kind, c.data, err, c.says)
		}
	}
	if err := vocabulary.Check("weather.seen", []byte(`{"anything":1}`)); err != nil {
		t.Errorf("a backend's own type: %v", err)
	}
}

func TestOutcomes(t *testing.T) {
	for data, fits := range map[string]bool{
		`{"status":"completed"}`:                                                          true,
		`{"status":"completed","text":"a","usage":{}}`:                                    true,
		`{"status":"completed","kind":"auth"}`:                                            false,
		`{"status":"failed","kind":"auth","message":"m"}`:                                 true,
		`{"status":"failed","message":"m"}`:                                               false,
		`{"status":"cancelled","kind":"cancelled","message":"m"}`:                         true,
		`{"status":"failed","kind":"x","message":"","retryable":true,"retry_after_ms":5}`: true,
		`{"status":"failed","kind":"x","message":"","retry_after_ms":0}`:                  false,
		`{"status":"gone"}`:                                                               false,
		`[]`:                                                                              false,
	} {
		if err := vocabulary.CheckOutcome([]byte(data)); (err == nil) != fits {
			t.Errorf("%s: %v", data, err)
		}
	}
}
