package chat

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/towpath/towpath/hostabi/guest"
)

// Settings are what each profile of this kind has in its [config] table; a plugin embeds it beside what is its own. The
// three times guard one request each; they end it as stalled.
type Settings struct {
	BaseURL     string          `json:"base_url"`
	Model       string          `json:"model"`
	System      string          `json:"system"`       // stands before every conversation, is not kept in it
	Thinking    string          `json:"thinking"`     // a word of the provider's, or "" for its default
	MaxTokens   int             `json:"max_tokens"`   // 0 leaves it to the provider
	Tools       json.RawMessage `json:"tools"`        // in the provider's form
	MaxRequests int             `json:"max_requests"` // of one turn: bounds rounds of tool calls
	BytesIdle   guest.Duration  `json:"bytes_idle"`   // nothing comes at all
	PayloadIdle guest.Duration  `json:"payload_idle"` // nothing but keep-alives comes
	Total       guest.Duration  `json:"total"`
}

// Defaults are settings that do with any provider, but for base_url and model.
func Defaults() Settings {
	return Settings{
		MaxRequests: 50,
		BytesIdle:   guest.Duration(time.Minute),
		PayloadIdle: guest.Duration(5 * time.Minute),
		Total:       guest.Duration(9 * time.Minute),
	}
}

// Input is what a submitter passes; a plugin embeds it too.
type Input struct {
	Text      string          `json:"text"`
	Messages  []Message       `json:"messages"`
	Model     string          `json:"model"`
	Thinking  string          `json:"thinking"`
	MaxTokens int             `json:"max_tokens"`
	Tools     json.RawMessage `json:"tools"`
}

// Override puts each wish that is not empty in the place of a setting.
func Override(wishes map[*string]string) {
	for setting, wish := range wishes {
		if wish != "" {
			*setting = wish
		}
	}
}

// Take has the input's wishes overrule the settings, and checks both. thinking lists the provider's words for it.
func (s *Settings) Take(in *Input, thinking ...string) error {
	Override(map[*string]string{&s.Model: in.Model, &s.Thinking: in.Thinking})
	if in.MaxTokens != 0 {
		s.MaxTokens = in.MaxTokens
	}
	if len(in.Tools) > 0 {
		s.Tools = in.Tools
	}
	s.BaseURL = strings.TrimRight(s.BaseURL, "/")
	switch {
	case in.Text == "" && len(in.Messages) == 0:
		return guest.Fail(guest.KindInvalid, `input has neither "text" nor "messages": pass {"text":"…"}`)
	case in.Text != "" && len(in.Messages) > 0:
		return guest.Fail(guest.KindInvalid, `input has both "text" and "messages": pass one of them`)
	case s.Model == "":
		return guest.Fail(guest.KindInvalid, "config: model is empty: name one of the provider's")
	case s.Thinking != "" && !slices.Contains(thinking, s.Thinking):
		return guest.Fail(guest.KindInvalid, `thinking is %q: use "%s"`, s.Thinking, strings.Join(thinking, `" or "`))
	case s.MaxTokens < 0:
		return guest.Fail(guest.KindInvalid, "max_tokens is %d: use a positive number", s.MaxTokens)
	case s.MaxRequests < 1:
		return guest.Fail(guest.KindInvalid, "config: max_requests is %d: use a positive number", s.MaxRequests)
	}
	for i, m := range in.Messages {
		switch m.Role {
		case "system", "user", "assistant", "tool":
		default:
			return guest.Fail(guest.KindInvalid, "input: messages[%d] has role %q: use system, user, assistant or tool", i, m.Role)
		}
	}
	return checkTools(s.Tools)
}

func checkTools(raw json.RawMessage) error {
	if len(raw) == 0 {
		return nil
	}
	var tools []struct {
		Function struct {
			Name string `json:"name"`
		} `json:"function"`
	}
	if err := json.Unmarshal(raw, &tools); err != nil {
		return guest.Fail(guest.KindInvalid, "tools: %w", err)
	}
	for i, tool := range tools {
		if tool.Function.Name == "" {
			return guest.Fail(guest.KindInvalid, "tools[%d] has no function.name", i)
		}
	}
	return nil
}
