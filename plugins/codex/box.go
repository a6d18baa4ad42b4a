package main

import (
	"encoding/json"
	"sync"

	"github.com/towpath/towpath/hostabi/guest"
)

// box holds what clients send to the running turn, until somebody takes it.
type box struct {
	mu      sync.Mutex
	steers  []string
	answers map[string]json.RawMessage // by what they answer

	telling sync.Mutex
	tell    func() // guarded by telling
}

// newBox begins to follow the turn's inputs.
func newBox(t *guest.Turn) *box {
	b := &box{answers: map[string]json.RawMessage{}}
	inputs := t.Inputs()
	go func() {
		for in := range inputs {
			if b.put(in) {
				b.told()
			} else {
				t.Log.Warn("input ignored", "type", in.Type)
			}
		}
	}()
	return b
}

func (b *box) put(in guest.Input) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case in.Type == guest.InputSteer && in.Text != "":
		b.steers = append(b.steers, in.Text)
	case in.Type == guest.InputAnswer && in.To != "":
		b.answers[in.To] = in.Output
	default:
		return false
	}
	return true
}

func (b *box) told() {
	b.telling.Lock()
	defer b.telling.Unlock()
	if b.tell != nil {
		b.tell()
	}
}

// follow has f called whenever something came, one call at a time, and once for what is there; nil ends that. When it
// returns the one before is not running.
func (b *box) follow(f func()) {
	b.telling.Lock()
	b.tell = f
	b.telling.Unlock()
	b.told()
}

func (b *box) takeSteer() (text string, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.steers) == 0 {
		return "", false
	}
	text, b.steers = b.steers[0], b.steers[1:]
	return text, true
}

func (b *box) putBack(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.steers = append([]string{text}, b.steers...)
}

func (b *box) takeSteers() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.steers
	b.steers = nil
	return all
}

func (b *box) takeAnswer(to string) (output json.RawMessage, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	output, ok = b.answers[to]
	delete(b.answers, to)
	return output, ok
}
