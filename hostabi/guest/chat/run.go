package chat

import (
	"context"

	"github.com/towpath/towpath/hostabi/guest"
)

// Result is what a turn finishes with, beside the envelope of guest.Result.
type Result struct {
	Text         string `json:"text"`
	Reasoning    string `json:"reasoning,omitempty"`
	Clipped      bool   `json:"clipped,omitempty"` // text or reasoning is only the beginning; the events have it all
	FinishReason string `json:"finish_reason,omitempty"`
	Usage        Usage  `json:"usage"` // of all responses of the turn
	Model        string `json:"model,omitempty"`
	ResponseID   string `json:"response_id,omitempty"`
}

// How much of a text a result holds, in bytes of JSON; together they stay below hostabi.MaxResult.
const (
	maxResultText      = 640 << 10
	maxResultReasoning = 256 << 10
)

// Run runs one turn. The input has been taken into p.Settings.
func Run(ctx context.Context, t *guest.Turn, p *Provider, in *Input) (any, error) {
	c, err := begin(t, p, in)
	if err != nil {
		return nil, err
	}
	if err := t.Emit(guest.TurnStarted{Model: c.settings.Model}); err != nil {
		return nil, err
	}
	a, err := c.converse(ctx)
	r := Result{Usage: c.usage, Model: c.settings.Model}
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

// Warm runs the codecs of this package and of the values once, see guest.Warm.
func Warm(values ...any) {
	word, n := "a", int64(1)
	calls := []ToolCall{{ID: word}}
	guest.Warm(append(values,
		&Input{Messages: []Message{{ToolCalls: calls}}}, &Settings{}, &history{}, &Result{},
		&Message{Reasoning: &word, ToolCalls: calls}, &Counts{Prompt: &n}, &APIError{}, &[]CallDelta{{}},
	)...)
}
