package turn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/towpath/towpath/hostabi/engine"
	"github.com/towpath/towpath/queue"
	"github.com/towpath/towpath/store"
)

// errLost ends an execution whose lease is somebody else's: it writes nothing more.
var errLost = errors.New("turn: the lease is lost")

// Cancelled ends an execution that outlived the grace of its cancel request.
type Cancelled struct{ Reason string }

func (c *Cancelled) Error() string { return "cancelled: " + c.Reason }

// Exceeded ends an execution that went over a limit of its profile.
type Exceeded struct {
	Limit string // the failure kind
	Text  string
}

func (e *Exceeded) Error() string { return e.Text }

// result is the envelope of what a guest finishes with; the rest of the object is the plugin's own.
type result struct {
	Status       string `json:"status"`
	Kind         string `json:"kind"`
	Retryable    bool   `json:"retryable"`
	RetryAfterMS int64  `json:"retry_after_ms"`
	Message      string `json:"message"`
}

// verdict is what becomes of a turn after an attempt. This file is the only place that decides it.
type verdict struct {
	status  string // a terminal status, or "" to try again
	kind    string
	outcome json.RawMessage
	apply   bool // the guest finished: its session delta becomes the session's
	delay   time.Duration
	refund  bool // the attempt did not count
	reason  string
	anew    bool // try again from the beginning: the journal has nothing to go on with
	ask     bool // an operator has to decide
	nothing bool // the turn is not ours any more
}

const (
	backoffFirst = time.Second
	backoffMax   = 5 * time.Minute
)

// backoff is exponential with full jitter above half, so that turns that failed together come back apart.
func backoff(attempt int) time.Duration {
	d := backoffFirst << min(attempt-1, 20)
	d = min(d, backoffMax)
	return d/2 + rand.N(d/2+1)
}

// decide turns the end of a guest into a verdict.
func (x *execution) decide(err error) verdict {
	var trap *engine.Trap
	var cancelled *Cancelled
	var exceeded *Exceeded
	switch {
	case err == nil:
		return x.finished()
	case errors.Is(err, errLost), errors.Is(err, store.ErrFence):
		return verdict{nothing: true}
	case errors.Is(err, errAsk):
		return verdict{ask: true}
	case errors.Is(err, queue.ErrStopping):
		return verdict{refund: true, reason: "worker stopped"}
	case errors.Is(err, queue.ErrCancelled):
		return verdict{status: "cancelled", outcome: object("reason", "River job cancelled")}
	case errors.As(err, &cancelled):
		return verdict{status: "cancelled", outcome: object("reason", cancelled.Reason)}
	case errors.As(err, &exceeded):
		return verdict{status: "failed", kind: exceeded.Limit, outcome: object("message", exceeded.Text)}
	case errors.Is(err, engine.ErrMemoryBudget), errors.Is(err, engine.ErrClosed):
		return verdict{refund: true, delay: backoff(*x.claim.Attempt), reason: err.Error()}
	case errors.As(err, &trap) && trap.Reason != engine.ReasonHost && trap.Reason != engine.ReasonDeadline:
		// A guest is deterministic: what trapped traps again.
		return verdict{status: "failed", kind: "plugin_" + underscore(string(trap.Reason)),
			outcome: x.trapped(trap)}
	default:
		// The host's own trouble never makes a turn failed.
		return verdict{delay: backoff(*x.claim.Attempt), reason: clip(err.Error())}
	}
}

func (x *execution) trapped(trap *engine.Trap) json.RawMessage {
	text, err := normalize(object("message", trap.Message, "code", trap.Code, "stderr", trap.Stderr))
	if err != nil {
		return object("message", string(trap.Reason))
	}
	return x.backend.redact(text)
}

// finished reads what the guest finished with.
func (x *execution) finished() verdict {
	var r result
	if err := json.Unmarshal(x.result, &r); err != nil {
		return verdict{status: "failed", kind: "plugin_result", outcome: object("message", "the plugin's result is malformed: "+err.Error())}
	}
	x.mu.Lock()
	cause := x.cause
	x.mu.Unlock()
	switch {
	case cause != nil && r.Status != "completed":
		return verdict{status: "cancelled", outcome: merge(x.result, "reason", cause.Reason), apply: true}
	case r.Status == "failed" && r.Retryable:
		return verdict{kind: kindOf(r.Kind), outcome: x.result, reason: clip(r.Kind + ": " + r.Message), anew: true,
			delay: max(time.Duration(r.RetryAfterMS)*time.Millisecond, backoff(*x.claim.Attempt))}
	case r.Status == "failed":
		return verdict{status: "failed", kind: kindOf(r.Kind), outcome: x.result, apply: true}
	case r.Status == "cancelled":
		return verdict{status: "cancelled", outcome: x.result, apply: true}
	default:
		return verdict{status: "completed", outcome: x.result, apply: true}
	}
}

// settleTurn writes a verdict. It tries until the database answers or ctx ends; a fence that is stale ends it.
func (x *execution) settleTurn(ctx context.Context, v verdict) error {
	if v.nothing {
		return nil
	}
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := x.write(ctx, v)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, store.ErrFence):
			// Lapsed while the database was away, and perhaps nobody has taken it: then it is still ours.
			if held, renewErr := x.runner.Store.RenewOnly(ctx, x.runner.Node, x.runner.TTL, []int64{x.owner.No}); renewErr == nil && held[x.owner.No] != x.owner.Fence {
				x.log.Warn("turn was taken over; its end is dropped")
				return nil
			}
		case store.Rejected(err) && v.status != "failed":
			v = verdict{status: "failed", kind: "plugin_result", outcome: object("message", "the end of the turn was refused: "+err.Error())}
			x.mu.Lock()
			x.batch.Types, x.batch.Data = nil, nil
			x.mu.Unlock()
		case store.Rejected(err):
			return err
		}
		x.log.Warn("the end of the turn waits for the database", "error", err)
		if !x.runner.pause(ctx, pause) {
			return err
		}
	}
}

func (x *execution) write(ctx context.Context, v verdict) error {
	rest, err := x.rest(ctx)
	if err != nil {
		return err
	}
	if v.status == "" {
		if !rest.Empty() {
			stored, err := x.runner.Store.Append(ctx, []store.Batch{rest})
			if _, ours := stored[x.owner.No]; err == nil && !ours {
				err = store.ErrFence
			}
			if err != nil && !(store.Rejected(err) && x.runner.flusher.already(ctx, x, rest)) {
				return err
			}
			x.mu.Lock()
			x.batch = store.Batch{Owner: x.owner}
			x.mu.Unlock()
		}
		if v.ask {
			return x.runner.Store.Park(ctx, x.owner, object("kind", "in_doubt"))
		}
		outcome := v.outcome
		if outcome == nil {
			outcome = object("message", v.reason)
		}
		status, err := x.runner.Store.Retry(ctx, x.owner, v.reason, v.delay, v.refund, outcome, v.kind, v.anew)
		if err == nil {
			x.log.Info("turn goes back", "status", status, "reason", v.reason, "delay", v.delay)
		}
		return err
	}
	end := store.End{Batch: rest, Status: v.status, Outcome: v.outcome, Kind: v.kind}
	if x.reissued > 0 {
		end.Outcome = merge(end.Outcome, "reissued", x.reissued)
	}
	if v.apply {
		end.Base = x.claim.Version
		for _, key := range x.order {
			end.Keys, end.Values = append(end.Keys, key), append(end.Values, x.delta[key])
		}
	}
	x.fault(AtFinish, 0)
	if err := x.runner.group.Finish(ctx, end); err != nil {
		return err
	}
	x.fault(AtFinished, 0)
	x.log.Info("turn ended", "status", v.status, "kind", v.kind, "took", time.Since(x.began))
	return nil
}

func kindOf(kind string) string {
	if kind == "" || len(kind) > 100 {
		return "internal"
	}
	return kind
}

func object(pairs ...any) json.RawMessage {
	m := make(map[string]any, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		m[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	b, err := encode(m)
	if err != nil {
		return json.RawMessage("{}")
	}
	return b
}

func merge(base json.RawMessage, key string, value any) json.RawMessage {
	var m map[string]json.RawMessage
	if json.Unmarshal(base, &m) != nil || m == nil {
		return base
	}
	text, err := encode(value)
	if err != nil {
		return base
	}
	m[key] = text
	out, err := encode(m)
	if err != nil {
		return base
	}
	return out
}

func clip(s string) string {
	if len(s) > 1000 {
		return s[:1000]
	}
	return s
}

func underscore(s string) string {
	b := []byte(s)
	for i := range b {
		if b[i] == ' ' {
			b[i] = '_'
		}
	}
	return string(b)
}
