package guest

import (
	"bytes"
	"encoding/json"
	"errors"
)

// Event is something that happened in a turn, an object to which Emit adds the member `type`. A plugin may define
// events of its own; these below are the words that every backend shares, listed with their schemas in package
// vocabulary. The database adds its own, which begin with "process.".
type Event interface {
	EventType() string
}

// TurnStarted is the first event: the plugin has accepted its input.
type TurnStarted struct {
	Model  string `json:"model,omitempty"`
	Thread string `json:"thread,omitempty"` // the backend's own name of the conversation
}

// MessageDelta is the next piece of the answer's text. ID tells apart what a backend says side by side.
type MessageDelta struct {
	ID   string `json:"id,omitempty"`
	Text string `json:"text"`
}

// Message is one whole message of the assistant; it equals the deltas since the last one, of its ID if it has one.
// Clipped says that Text is only the beginning because the whole is above the limit of an event; the deltas have it all.
type Message struct {
	ID      string `json:"id,omitempty"`
	Text    string `json:"text"`
	Phase   string `json:"phase,omitempty"` // one of the Phases, where the backend tells them apart
	Clipped bool   `json:"clipped,omitempty"`
}

// Phases of a Message.
const (
	PhaseCommentary = "commentary" // said on the way
	PhaseAnswer     = "answer"
)

// MessageRetracted takes back the deltas of text and reasoning since the last whole message, of its ID if it has one:
// no message comes of them.
type MessageRetracted struct {
	ID     string `json:"id,omitempty"`
	Reason string `json:"reason"`
}

// ReasoningDelta is the next piece of the model's reasoning.
type ReasoningDelta struct {
	ID   string `json:"id,omitempty"`
	Text string `json:"text"`
}

// ToolCall asks somebody to run a tool and to answer with an input {"type":"answer","to":ID,"output":…}, unless Runner
// says that the backend runs it itself. Arguments is JSON as the model wrote it, unchecked.
type ToolCall struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
	Runner    string `json:"runner,omitempty"`
}

// RunnerBackend is the Runner of a tool that nobody needs to answer for.
const RunnerBackend = "backend"

// ToolOutput is what a tool gave, as the model is told. Clipped is as in Message.
type ToolOutput struct {
	ID      string `json:"id"`
	Output  string `json:"output"`
	Failed  bool   `json:"failed,omitempty"`
	Clipped bool   `json:"clipped,omitempty"`
}

// ExecStarted says that the backend began a command that the model wanted to run.
type ExecStarted struct {
	ID      string `json:"id"`
	Command string `json:"command"`
	CWD     string `json:"cwd,omitempty"`
}

// ExecOutput is the next piece of what such a command prints.
type ExecOutput struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

// ExecEnded says how such a command ended; one that was declined had no start. A nil ExitCode: there is none.
type ExecEnded struct {
	ID       string `json:"id"`
	Status   string `json:"status"` // ExecCompleted, …
	ExitCode *int   `json:"exit_code"`
	Output   string `json:"output,omitempty"` // all that it printed; Clipped is as in Message
	Clipped  bool   `json:"clipped,omitempty"`
}

// Values of ExecEnded.Status.
const (
	ExecCompleted   = "completed"
	ExecFailed      = "failed"
	ExecDeclined    = "declined"
	ExecInterrupted = "interrupted"
)

// FileChange lists files that the model changed, or was not let change. Changes is never nil.
type FileChange struct {
	ID      string        `json:"id"`
	Status  string        `json:"status"` // FileApplied, …
	Changes []ChangedFile `json:"changes"`
	Clipped bool          `json:"clipped,omitempty"`
}

// Values of FileChange.Status.
const (
	FileApplied     = "applied"
	FileFailed      = "failed"
	FileDeclined    = "declined"
	FileInterrupted = "interrupted"
)

// ChangedFile is one file of a FileChange.
type ChangedFile struct {
	Path    string `json:"path"`
	Change  string `json:"change"` // "added", "updated", "deleted"
	MovedTo string `json:"moved_to,omitempty"`
	Diff    string `json:"diff,omitempty"`
}

// ApprovalRequested says that the backend waits until somebody allows something, by an input
// {"type":"answer","to":ID,"output":CHOICE}. Choices is never nil; a question takes any text.
type ApprovalRequested struct {
	ID      string          `json:"id"`
	Of      string          `json:"of"`             // ApprovalExec, …
	Item    string          `json:"item,omitempty"` // id of the exec or file change that waits
	Command string          `json:"command,omitempty"`
	CWD     string          `json:"cwd,omitempty"`
	Reason  string          `json:"reason,omitempty"`
	Choices []string        `json:"choices"`
	Detail  json.RawMessage `json:"detail,omitempty"` // an object, the backend's own account of it
}

// Values of ApprovalRequested.Of.
const (
	ApprovalExec       = "exec"
	ApprovalFileChange = "file.change"
	ApprovalPermission = "permission"
	ApprovalQuestion   = "question"
)

// ApprovalAnswered says that the wait for an approval is over.
type ApprovalAnswered struct {
	ID       string `json:"id"`
	Decision string `json:"decision"`
	By       string `json:"by"` // ByClient, …
}

// Values of ApprovalAnswered.By.
const (
	ByClient = "client"
	ByPolicy = "policy" // what the turn was submitted with
	ByNobody = "nobody" // the wait ended unanswered
)

// Usage is what one response of the model cost. A nil count is not known, which is not 0. The worker enters each into
// the ledger, once for a ResponseID.
type Usage struct {
	ResponseID      string `json:"response_id,omitempty"`
	Model           string `json:"model,omitempty"`
	InputTokens     *int64 `json:"input_tokens"`  // cached ones included
	CachedTokens    *int64 `json:"cached_tokens"` // of the input
	OutputTokens    *int64 `json:"output_tokens"` // reasoning included
	ReasoningTokens *int64 `json:"reasoning_tokens"`
}

// Retry says that the plugin repeats a request within this turn, because the execution that had sent it died.
type Retry struct {
	Reason string `json:"reason"`
}

// SteerApplied says that the text of a steer input has become part of the conversation. Partial is true when it cut
// an answer short; that answer's text so far stays in the conversation.
type SteerApplied struct {
	Text    string `json:"text"`
	Partial bool   `json:"partial"`
}

// ContextCompacted says that the backend has shortened the conversation that the model sees.
type ContextCompacted struct{}

func (TurnStarted) EventType() string       { return "turn.started" }
func (MessageDelta) EventType() string      { return "message.delta" }
func (Message) EventType() string           { return "message" }
func (MessageRetracted) EventType() string  { return "message.retracted" }
func (ReasoningDelta) EventType() string    { return "reasoning.delta" }
func (ToolCall) EventType() string          { return "tool.call" }
func (ToolOutput) EventType() string        { return "tool.output" }
func (ExecStarted) EventType() string       { return "exec.started" }
func (ExecOutput) EventType() string        { return "exec.output" }
func (ExecEnded) EventType() string         { return "exec.ended" }
func (FileChange) EventType() string        { return "file.change" }
func (ApprovalRequested) EventType() string { return "approval.requested" }
func (ApprovalAnswered) EventType() string  { return "approval.answered" }
func (Usage) EventType() string             { return "usage" }
func (Retry) EventType() string             { return "retry" }
func (SteerApplied) EventType() string      { return "steer.applied" }
func (ContextCompacted) EventType() string  { return "context.compacted" }

// encoder makes the JSON form of events. Its buffer is used again, because a turn may have thousands of events.
type encoder struct {
	buffer bytes.Buffer
	json   *json.Encoder
}

var errNoObject = errors.New("the event is no JSON object")

// encode returns e as an object whose first member is its type, valid until the next call.
func (c *encoder) encode(e Event) ([]byte, error) {
	if c.json == nil {
		c.json = json.NewEncoder(&c.buffer)
	}
	c.buffer.Reset()
	c.buffer.WriteString(`{"type":"`)
	c.buffer.WriteString(e.EventType()) // a word of the plugin's own
	c.buffer.WriteString(`"`)
	start := c.buffer.Len()
	if err := c.json.Encode(e); err != nil {
		return nil, err
	}
	b := bytes.TrimSuffix(c.buffer.Bytes(), []byte("\n"))
	switch members := b[start:]; {
	case members[0] != '{':
		return nil, errNoObject
	case len(members) == len("{}"):
		return append(b[:start], '}'), nil
	}
	b[start] = ','
	return b, nil
}

// Warm runs the JSON codec once on each value, which should be a pointer. Called from init, it spares every turn the
// building of that codec, because the instance is frozen with it.
func Warm(values ...any) {
	for _, v := range values {
		if b, err := json.Marshal(v); err == nil {
			_ = json.Unmarshal(b, v)
		}
	}
}
