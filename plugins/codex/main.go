package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/jsonrpc"
)

// version of codex whose protocol this plugin speaks. The protocol is called experimental: another one is refused.
const version = "0.169.0"

var manifest = hostabi.Manifest{
	Name:     "codex",
	Version:  "1",
	HTTP:     []hostabi.HTTPRequest{{Host: "api.openai.com", Methods: []string{"POST"}, Secrets: []string{"OPENAI_API_KEY"}}},
	Proc:     []hostabi.ProcRequest{{Name: "codex"}},
	MemoryMB: 256,
	TurnS:    3600,
}

func init() {
	guest.Handle(manifest, run)
	n := int64(1)
	guest.Warm(
		&input{}, &settings{}, &result{}, &threadKey{}, &jsonrpc.Message{Error: &jsonrpc.Error{}},
		&item{}, &turn{Error: &turnError{}}, &note{}, &tokens{Input: &n}, &approval{}, &usageRecord{},
		&guest.ExecStarted{}, &guest.ExecOutput{}, &guest.ExecEnded{}, &guest.FileChange{}, &guest.ApprovalRequested{},
	)
}

func main() {}

// result is what a turn finishes with, beside the envelope of guest.Result.
type result struct {
	Text    string          `json:"text"`
	Data    json.RawMessage `json:"data,omitempty"`    // the text as JSON, for a turn with an output_schema
	Clipped bool            `json:"clipped,omitempty"` // text is only the beginning; the events have it all
	Usage   usage           `json:"usage"`             // of all responses of the turn
	Model   string          `json:"model,omitempty"`
	Thread  string          `json:"thread,omitempty"`
}

// maxResultText is how much of a text a result holds, in bytes of JSON.
const maxResultText = 640 << 10

func run(ctx context.Context, t *guest.Turn) (any, error) {
	s, in, err := read(t)
	if err != nil {
		return nil, err
	}
	stored, err := load(t)
	if err != nil {
		return nil, err
	}
	if stored != nil && (len(in.Tools) > 0 || in.Instructions != "") {
		return nil, guest.Fail(guest.KindInvalid, "input: tools and instructions belong to the first turn of a session")
	}
	c := &conversation{turn: t, settings: s, input: in, stored: stored, box: newBox(t), words: []string{in.Text}}
	for {
		err = c.attempt(ctx)
		handle, lost := guest.Lost(err)
		if !lost {
			break
		}
		// The execution that had the child died, and with it what the child was doing.
		c.lost = handle
	}
	r := result{Usage: c.usage, Model: c.model, Thread: c.thread}
	r.Text, r.Clipped = guest.Clip(c.answer, maxResultText)
	if len(in.OutputSchema) > 0 && !r.Clipped && json.Valid([]byte(r.Text)) {
		r.Data = json.RawMessage(r.Text)
	}
	return r, err
}

// patience for what codex answers at once when it is well.
const patience = 30 * time.Second
