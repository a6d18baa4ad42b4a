package main

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/towpath/towpath/hostabi/guest"
)

// settings is the profile's [config] table. The three times guard one request each; they end it as stalled.
type settings struct {
	BaseURL         string          `json:"base_url"`
	Model           string          `json:"model"`
	System          string          `json:"system"`           // stands before every conversation, is not kept in it
	Thinking        string          `json:"thinking"`         // "enabled", "disabled", or the provider's default
	ReasoningEffort string          `json:"reasoning_effort"` // "low", "high", "max", or the provider's default
	MaxTokens       int             `json:"max_tokens"`       // 0 leaves it to the provider
	Tools           json.RawMessage `json:"tools"`            // in the provider's form
	MaxRequests     int             `json:"max_requests"`     // of one turn: bounds rounds of tool calls
	BytesIdle       guest.Duration  `json:"bytes_idle"`       // nothing comes at all
	PayloadIdle     guest.Duration  `json:"payload_idle"`     // nothing but keep-alives comes
	Total           guest.Duration  `json:"total"`
}

func defaults() settings {
	return settings{
		BaseURL:     "https://api.deepseek.com",
		Model:       "deepseek-flash",
		MaxRequests: 50,
		BytesIdle:   guest.Duration(time.Minute),
		PayloadIdle: guest.Duration(5 * time.Minute),
		Total:       guest.Duration(9 * time.Minute),
	}
}

// input is what a submitter passes.
type input struct {
	Text            string          `json:"text"`
	Messages        []message       `json:"messages"`
	Model           string          `json:"model"`
	Thinking        string          `json:"thinking"`
	ReasoningEffort string          `json:"reasoning_effort"`
	MaxTokens       int             `json:"max_tokens"`
	Tools           json.RawMessage `json:"tools"`
	JSON            bool            `json:"json"` // the answer shall be a JSON object; the prompt must say so too
}

// read decodes and checks a turn's input and settings; the input's wishes overrule the settings.
func read(t *guest.Turn) (settings, input, error) {
	s, in := defaults(), input{}
	if err := t.Decode(&in, &s); err != nil {
		return s, in, err
	}
	for _, o := range []struct {
		wish string
		into *string
	}{{in.Model, &s.Model}, {in.Thinking, &s.Thinking}, {in.ReasoningEffort, &s.ReasoningEffort}} {
		if o.wish != "" {
			*o.into = o.wish
		}
	}
	if in.MaxTokens != 0 {
		s.MaxTokens = in.MaxTokens
	}
	if len(in.Tools) > 0 {
		s.Tools = in.Tools
	}
	s.BaseURL = strings.TrimRight(s.BaseURL, "/")
	return s, in, check(s, in)
}

func check(s settings, in input) error {
	switch {
	case in.Text == "" && len(in.Messages) == 0:
		return guest.Fail(guest.KindInvalid, `input has neither "text" nor "messages": pass {"text":"…"}`)
	case in.Text != "" && len(in.Messages) > 0:
		return guest.Fail(guest.KindInvalid, `input has both "text" and "messages": pass one of them`)
	case s.Model == "":
		return guest.Fail(guest.KindInvalid, `config: model is empty: name one, such as "deepseek-flash"`)
	case s.Thinking != "" && s.Thinking != "enabled" && s.Thinking != "disabled":
		return guest.Fail(guest.KindInvalid, `thinking is %q: use "enabled" or "disabled"`, s.Thinking)
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
	if len(s.Tools) > 0 {
		var tools []struct {
			Function struct {
				Name string `json:"name"`
			} `json:"function"`
		}
		if err := json.Unmarshal(s.Tools, &tools); err != nil {
			return guest.Fail(guest.KindInvalid, "tools: %w", err)
		}
		for i, tool := range tools {
			if tool.Function.Name == "" {
				return guest.Fail(guest.KindInvalid, "tools[%d] has no function.name", i)
			}
		}
	}
	return nil
}
