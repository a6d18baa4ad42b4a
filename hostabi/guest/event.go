package guest

import (
	"bytes"
	"encoding/json"
	"errors"
)

// Event is something that happened in a turn, an object to which Emit adds the member `type`. A plugin may define
// events of its own; these below are the words that every agent backend shares. The worker adds its own, such as
// turn.retracted and turn.completed.
type Event interface {
	EventType() string
}

// TurnStarted is the first event: the plugin has accepted its input.
type TurnStarted struct {
	Model string `json:"model,omitempty"`
}

// MessageDelta is the next piece of the answer's text.
type MessageDelta struct {
	Text string `json:"text"`
}

// Message is one whole message of the assistant; it equals the deltas since the last one. Clipped says that Text is
// only the beginning because the whole is above the limit of an event; the deltas have it all.
type Message struct {
	Text    string `json:"text"`
	Clipped bool   `json:"clipped,omitempty"`
}

// ReasoningDelta is the next piece of the model's reasoning.
type ReasoningDelta struct {
	Text string `json:"text"`
}

// ToolCall asks somebody to run a tool and to answer with an input {"type":"answer","to":ID,"output":…}, unless the
// plugin runs it itself. Arguments is JSON as the model wrote it, unchecked.
type ToolCall struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

// ToolOutput is what a tool gave, as the model is told. Clipped is as in Message.
type ToolOutput struct {
	ID      string `json:"id"`
	Output  string `json:"output"`
	Clipped bool   `json:"clipped,omitempty"`
}

// Usage is what one response of the model cost. A nil count is not known, which is not 0.
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

func (TurnStarted) EventType() string    { return "turn.started" }
func (MessageDelta) EventType() string   { return "message.delta" }
func (Message) EventType() string        { return "message" }
func (ReasoningDelta) EventType() string { return "reasoning.delta" }
func (ToolCall) EventType() string       { return "tool.call" }
func (ToolOutput) EventType() string     { return "tool.output" }
func (Usage) EventType() string          { return "usage" }
func (Retry) EventType() string          { return "retry" }
func (SteerApplied) EventType() string   { return "steer.applied" }

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
