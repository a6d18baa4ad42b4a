package guest

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Types of Input.
const (
	InputSteer  = "steer"  // Text, for the turn that runs
	InputAnswer = "answer" // Output, in reply to what the event with id To asked
	InputSignal = "signal" // whatever the plugin and its submitter agreed on, in Raw
)

// Input is what a client sent to the running turn.
type Input struct {
	Type   string          `json:"type"`
	Text   string          `json:"text,omitempty"`
	To     string          `json:"to,omitempty"`     // the id of the event that is answered, such as a tool.call
	Output json.RawMessage `json:"output,omitempty"` // the answer; a tool's output is a string or any other JSON
	Raw    json.RawMessage `json:"-"`                // the whole input
}

// Receive returns the next input. Use either Receive or Inputs.
func (t *Turn) Receive(ctx context.Context) (Input, error) {
	r, err := t.pump.next(ctx, t.pump.inputs)
	if err != nil {
		return Input{}, err
	}
	var in Input
	if err := json.Unmarshal(r.Payload, &in); err != nil {
		return Input{}, fmt.Errorf("input: %w", err)
	}
	in.Raw = r.Payload
	return in, nil
}

// Inputs returns the channel of inputs, the same one each time. It is closed when the turn is cancelled. An input
// that is no JSON object is logged and dropped.
func (t *Turn) Inputs() <-chan Input {
	t.inputsOnce.Do(func() {
		t.inputs = make(chan Input)
		t.started.Go(func() {
			defer close(t.inputs)
			for {
				in, err := t.Receive(t.ctx)
				switch {
				case t.ctx.Err() != nil, t.pump.ended():
					return
				case err != nil:
					t.Log.Warn("input dropped", "error", err)
					continue
				}
				select {
				case t.inputs <- in:
				case <-t.ctx.Done():
					return
				}
			}
		})
	})
	return t.inputs
}

// Sleep waits for d, or until ctx ends and then returns its cause. Unlike time.Sleep it lets records of other
// goroutines come meanwhile.
func (t *Turn) Sleep(ctx context.Context, d time.Duration) error {
	wake := make(chan struct{})
	timer := t.AfterFunc(d, func() { close(wake) })
	defer timer.Stop()
	select {
	case <-wake:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Timer is a running AfterFunc. It belongs to one goroutine.
type Timer struct {
	pump  *pump
	timer *time.Timer
	wait  *waiter
}

// AfterFunc calls f in a goroutine of its own after d, also while other goroutines wait for records.
func (t *Turn) AfterFunc(d time.Duration, f func()) *Timer {
	timer := &Timer{pump: t.pump, wait: t.pump.enter(time.Now().Add(d))}
	timer.timer = time.AfterFunc(d, func() {
		if t.pump.leaveIfDue(timer.wait) {
			f()
		}
	})
	return timer
}

// Reset makes the timer run d from now instead, unless f has been called.
func (t *Timer) Reset(d time.Duration) {
	if t.pump.move(t.wait, time.Now().Add(d)) {
		t.timer.Reset(d)
	}
}

// Stop prevents f from being called, unless it has been.
func (t *Timer) Stop() {
	t.pump.leave(t.wait)
	t.timer.Stop()
}

// parseCancel reads the payload of CANCEL.
func parseCancel(payload []byte) *Cancelled {
	var c struct {
		Reason  string `json:"reason"`
		GraceNS int64  `json:"grace_ns"`
	}
	if json.Unmarshal(payload, &c) != nil || c.Reason == "" {
		c.Reason = "no reason given"
	}
	return &Cancelled{Reason: c.Reason, Grace: time.Duration(c.GraceNS)}
}
