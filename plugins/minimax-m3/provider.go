package main

import (
	"encoding/json"

	"github.com/towpath/towpath/hostabi/guest/chat"
)

// body is a request's body.
type body struct {
	Model          string          `json:"model"`
	Messages       []chat.Message  `json:"messages"`
	Stream         bool            `json:"stream"`
	StreamOptions  streamOptions   `json:"stream_options"`
	Thinking       *chat.Typed     `json:"thinking,omitempty"`
	ReasoningSplit bool            `json:"reasoning_split"`
	MaxTokens      int             `json:"max_completion_tokens,omitempty"`
	Temperature    *float64        `json:"temperature,omitempty"`
	Tools          json.RawMessage `json:"tools,omitempty"`
	ServiceTier    string          `json:"service_tier,omitempty"`
}

type streamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

func provider(s *settings) *chat.Provider {
	return &chat.Provider{
		Settings: &s.Settings,
		Secret:   "MINIMAX_API_KEY",
		Body: func(messages []chat.Message) any {
			b := body{
				Model: s.Model, Messages: messages, Stream: true, StreamOptions: streamOptions{IncludeUsage: true},
				ReasoningSplit: s.ReasoningSplit == nil || *s.ReasoningSplit, MaxTokens: s.MaxTokens,
				Temperature: s.Temperature, Tools: s.Tools, ServiceTier: s.ServiceTier,
			}
			if s.Thinking != "" {
				b.Thinking = &chat.Typed{Type: s.Thinking}
			}
			return b
		},
		Stream:   func() chat.Stream { return newStream() },
		Classify: classify,
	}
}
