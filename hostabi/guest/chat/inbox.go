package chat

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"github.com/towpath/towpath/hostabi/guest"
)

// inbox sorts what clients send to the running turn.
type inbox struct {
	mu      sync.Mutex
	steers  []string
	answers map[string]string // outputs of tools, by call
	cut     context.CancelCauseFunc
	more    chan struct{}
}

var errSteered = errors.New("steered")

// newInbox begins to follow the turn's inputs.
func newInbox(t *guest.Turn) *inbox {
	b := &inbox{answers: map[string]string{}, more: make(chan struct{}, 1)}
	inputs := t.Inputs()
	go func() {
		for in := range inputs {
			b.put(t, in)
		}
	}()
	return b
}

func (b *inbox) put(t *guest.Turn, in guest.Input) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case in.Type == guest.InputSteer && in.Text != "":
		b.steers = append(b.steers, in.Text)
		if b.cut != nil {
			b.cut(errSteered)
		}
	case in.Type == guest.InputAnswer && in.To != "":
		b.answers[in.To] = textOf(in.Output)
	default:
		t.Log.Warn("input ignored", "type", in.Type)
	}
	select {
	case b.more <- struct{}{}:
	default:
	}
}

// textOf is a tool's output as the model reads it: a JSON string's text, or any other JSON as it is.
func textOf(output json.RawMessage) string {
	var s string
	if json.Unmarshal(output, &s) == nil {
		return s
	}
	return string(output)
}

// interruptible has a steer cut what cancel ends, one that is waiting already too, until done is called.
func (b *inbox) interruptible(cancel context.CancelCauseFunc) (done func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cut = cancel
	if len(b.steers) > 0 {
		cancel(errSteered)
	}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.cut = nil
	}
}

// steered reports whether there is a steer that nobody has taken.
func (b *inbox) steered() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.steers) > 0
}

// takeSteers returns the steers since the last call.
func (b *inbox) takeSteers() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	steers := b.steers
	b.steers = nil
	return steers
}

// takeAnswer returns the output of a call, once there is one.
func (b *inbox) takeAnswer(ctx context.Context, call string) (string, error) {
	for {
		b.mu.Lock()
		output, ok := b.answers[call]
		delete(b.answers, call)
		b.mu.Unlock()
		if ok {
			return output, nil
		}
		select {
		case <-b.more:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}
