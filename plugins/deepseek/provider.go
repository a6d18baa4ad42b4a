package main

import (
	"encoding/json"

	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/chat"
	"github.com/towpath/towpath/hostabi/guest/sse"
)

// body is a request's body.
type body struct {
	Model           string          `json:"model"`
	Messages        []chat.Message  `json:"messages"`
	Stream          bool            `json:"stream"`
	StreamOptions   streamOptions   `json:"stream_options"`
	Thinking        *chat.Typed     `json:"thinking,omitempty"`
	ReasoningEffort string          `json:"reasoning_effort,omitempty"`
	MaxTokens       int             `json:"max_tokens,omitempty"`
	Tools           json.RawMessage `json:"tools,omitempty"`
	ResponseFormat  *chat.Typed     `json:"response_format,omitempty"`
	UserID          string          `json:"user_id,omitempty"`
}

type streamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

func provider(s *settings, in *input) *chat.Provider {
	p := &chat.Provider{
		Settings: &s.Settings,
		Secret:   "DEEPSEEK_API_KEY",
		Body: func(messages []chat.Message) any {
			b := body{
				Model: s.Model, Messages: messages, Stream: true, StreamOptions: streamOptions{IncludeUsage: true},
				ReasoningEffort: s.ReasoningEffort, MaxTokens: s.MaxTokens, Tools: s.Tools, UserID: s.UserID,
			}
			if s.Thinking != "" {
				b.Thinking = &chat.Typed{Type: s.Thinking}
			}
			if in.JSON {
				b.ResponseFormat = &chat.Typed{Type: "json_object"}
			}
			return b
		},
		Stream:   func() chat.Stream { return stream{thinking: s.Thinking != "disabled"} },
		Finishes: map[string]guest.Kind{"insufficient_system_resource": guest.KindOverloaded},
	}
	if in.JSON {
		p.Accept = isObject
	}
	return p
}

// isObject refuses what is no JSON object: the model may forget itself although it was told.
func isObject(text string) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &object); err != nil || object == nil {
		return guest.Fail(guest.KindProtocol, "a JSON object was asked for, and the answer is none")
	}
	return nil
}

// stream reads an answer that ends with [DONE].
type stream struct{ thinking bool }

func (stream) Event(data []byte) (*chat.Chunk, sse.Verdict, error) {
	if string(data) == "[DONE]" {
		return nil, sse.Done, nil
	}
	c, err := chat.Parse(data, nil)
	return c, sse.More, err
}

func (stream) Rest() *chat.Chunk { return nil }

// Complete gives a message that calls tools its reasoning, the empty one included, whenever the model may have been
// thinking.
func (s stream) Complete(m *chat.Message) {
	if m.Reasoning == nil && s.thinking && len(m.ToolCalls) > 0 {
		m.Reasoning = new(string)
	}
}
