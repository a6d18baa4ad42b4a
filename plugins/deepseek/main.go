package main

import (
	"context"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/guest"
)

var manifest = hostabi.Manifest{
	Name:     "deepseek",
	Version:  "1",
	HTTP:     []hostabi.HTTPRequest{{Host: "api.deepseek.com", Methods: []string{"POST"}, Secrets: []string{"DEEPSEEK_API_KEY"}}},
	MemoryMB: 64,
	TurnS:    600,
}

func init() {
	guest.Handle(manifest, run)
	word, n := "a", int64(1)
	calls := []toolCall{{ID: word}}
	guest.Warm(
		&input{Messages: []message{{ToolCalls: calls}}}, &settings{}, &history{}, &result{},
		&message{Reasoning: &word, ToolCalls: calls},
		&body{Messages: []message{{ToolCalls: calls}}, Thinking: &typed{}, ResponseFormat: &typed{}},
		&counts{Prompt: &n}, &apiError{}, &[]callDelta{{}},
	)
}

func main() {}

// result is what a turn finishes with, beside the envelope of guest.Result.
type result struct {
	Text         string `json:"text"`
	Reasoning    string `json:"reasoning,omitempty"`
	Clipped      bool   `json:"clipped,omitempty"` // text or reasoning is only the beginning; the events have it all
	FinishReason string `json:"finish_reason,omitempty"`
	Usage        usage  `json:"usage"` // of all responses of the turn
	Model        string `json:"model,omitempty"`
	ResponseID   string `json:"response_id,omitempty"`
}

// How much of a text a result holds, in bytes of JSON; together they stay below hostabi.MaxResult.
const (
	maxResultText      = 640 << 10
	maxResultReasoning = 256 << 10
)

func run(ctx context.Context, t *guest.Turn) (any, error) {
	c, err := begin(t)
	if err != nil {
		return nil, err
	}
	if err := t.Emit(guest.TurnStarted{Model: c.settings.Model}); err != nil {
		return nil, err
	}
	a, err := c.converse(ctx)
	r := result{Usage: c.usage, Model: c.settings.Model}
	if a != nil {
		var short, shorter bool
		r.Text, short = guest.Clip(a.text.String(), maxResultText)
		r.Reasoning, shorter = guest.Clip(a.reasoning.String(), maxResultReasoning)
		r.Clipped = short || shorter
		r.FinishReason, r.ResponseID = a.finish, a.id
		if a.model != "" {
			r.Model = a.model
		}
	}
	return r, err
}
