package main

import (
	"bytes"
	"encoding/json"

	"github.com/towpath/towpath/hostabi/guest"
)

// tokens is codex's count for one response, in a notification or, with other names, in a thread's file.
type tokens struct {
	Input     *int64 `json:"inputTokens"` // cached ones included
	Cached    *int64 `json:"cachedInputTokens"`
	Output    *int64 `json:"outputTokens"` // reasoning included
	Reasoning *int64 `json:"reasoningOutputTokens"`
}

// usage is a sum over responses. A part is nil as soon as one response did not state it.
type usage struct {
	Input     *int64 `json:"input_tokens"`
	Cached    *int64 `json:"cached_tokens"`
	Output    *int64 `json:"output_tokens"`
	Reasoning *int64 `json:"reasoning_tokens"`
}

// usageRecord is a line of a thread's file.
type usageRecord struct {
	Type    string `json:"type"`
	Payload struct {
		ResponseID string `json:"response_id"`
		Usage      *struct {
			Input     *int64 `json:"input_tokens"`
			Cached    *int64 `json:"cached_input_tokens"`
			Output    *int64 `json:"output_tokens"`
			Reasoning *int64 `json:"reasoning_output_tokens"`
		} `json:"usage"`
	} `json:"payload"`
}

// responseCompleted bills a response at once; codex says so of new threads only.
func (r *round) responseCompleted(n *note) error { return r.charge(n.ResponseID, n.Usage) }

// bill bills the responses that the turn's lines in the thread's file tell of, those that were not before.
func (c *conversation) bill(lines []byte) error {
	for line := range bytes.Lines(lines) {
		var record usageRecord
		if !bytes.Contains(line, []byte(`"token_usage_record"`)) || json.Unmarshal(line, &record) != nil || record.Type != "token_usage_record" {
			continue
		}
		var t *tokens
		if u := record.Payload.Usage; u != nil {
			t = &tokens{u.Input, u.Cached, u.Output, u.Reasoning}
		}
		if err := c.charge(record.Payload.ResponseID, t); err != nil {
			return err
		}
	}
	return nil
}

func (c *conversation) charge(response string, t *tokens) error {
	if response == "" || c.billed[response] {
		return nil
	}
	if t == nil {
		t = &tokens{}
	}
	u := usage(*t)
	if len(c.billed) > 0 {
		u = usage{add(c.usage.Input, t.Input), add(c.usage.Cached, t.Cached), add(c.usage.Output, t.Output), add(c.usage.Reasoning, t.Reasoning)}
	}
	c.usage = u
	c.billed[response] = true
	return c.turn.Emit(guest.Usage{ResponseID: response, Model: c.model, InputTokens: t.Input, CachedTokens: t.Cached, OutputTokens: t.Output, ReasoningTokens: t.Reasoning})
}

func add(a, b *int64) *int64 {
	if a == nil || b == nil {
		return nil
	}
	sum := *a + *b
	return &sum
}
