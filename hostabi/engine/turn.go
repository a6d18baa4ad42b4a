package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/engine/rewrite"
)

// turn is one call of an export: what the host functions need to know. It is the context of that call, so that
// a host function finds it by one type assertion.
type turn struct {
	context.Context
	host     hostabi.Host
	instance *instance
	limits   Limits

	parked   []byte // the value that `take` copies out
	finished bool
	trap     *Trap         // set once, by stop
	call     string        // the host function that runs now, "" while the guest computes
	called   bool          // since the last yield
	lastSeen time.Time     // when a yield last found that there had been a call
	since    time.Time     // when it last let others run
	resumed  time.Time     // when the last yield ended
	computed time.Duration // by this turn, until the last yield
	fuel     int64         // what the counter in the instance does not hold
	slice    int64         // how much of it the counter is given at a time
	deepest  int64         // its stack has been, beyond flatStack
	placed   bool          // it has one of the template's places
	stdout   lines
	stderr   lines
}

// unwind is panicked through the guest's frames by stop; wazero hands it back unwrapped.
var unwind = sys.NewExitError(1)

func newTurn(ctx context.Context, host hostabi.Host, i *instance) *turn {
	now := time.Now()
	t := &turn{
		Context: ctx, host: host, instance: i, limits: i.template.limits, lastSeen: now, since: now, resumed: now, slice: firstSlice,
		stdout: lines{level: 0}, stderr: lines{level: 1},
	}
	slice := min(t.limits.Fuel, t.slice)
	t.fuel = t.limits.Fuel - slice
	i.counter.Set(uint64(rewrite.NewCounter(int32(slice), rewrite.StackBudget)))
	return t
}

// stop ends the guest from inside a host call.
func (t *turn) stop(trap *Trap) {
	t.trap = trap
	panic(unwind)
}

// stopIfDone ends the guest when its context has ended.
func (t *turn) stopIfDone() {
	if t.Err() != nil {
		t.stop(t.deadline())
	}
}

func (t *turn) deadline() *Trap {
	return &Trap{Reason: ReasonDeadline, Message: "the turn was ended from outside", cause: context.Cause(t)}
}

// contract ends the guest for using a host call against the ABI.
func (t *turn) contract(format string, args ...any) {
	t.stop(&Trap{Reason: ReasonContract, Message: t.call + ": " + fmt.Sprintf(format, args...)})
}

// check ends the guest when err is the host's own trouble.
func (t *turn) check(err error) {
	if err == nil {
		return
	}
	if t.Err() != nil && (errors.Is(err, context.Cause(t)) || errors.Is(err, t.Err())) {
		t.stop(t.deadline())
	}
	t.stop(&Trap{Reason: ReasonHost, Message: t.call, cause: err})
}

// result turns what a Host returned into what the guest sees.
func (t *turn) result(n uint32, err error) uint64 {
	if err != nil {
		var refused *hostabi.Error
		if !errors.As(err, &refused) || refused.Code <= 0 {
			t.check(err)
		}
		t.parked = []byte(refused.Message)
		return uint64(uint32(-refused.Code))
	}
	if int32(n) < 0 {
		t.check(fmt.Errorf("the host returned %d, which the guest would read as a failure", n))
	}
	return uint64(n)
}

func (t *turn) refuse(code hostabi.Code, format string, args ...any) uint64 {
	return t.result(0, hostabi.Errorf(code, format, args...))
}

// park keeps p for `take` and returns its length.
func (t *turn) park(p []byte) uint64 {
	t.parked = p
	return t.result(uint32(len(p)), nil)
}

// yield is called by the guest when its counter has run out: it is where a guest that makes no host calls can be
// stopped, and where Go's scheduler and garbage collector get their turn.
func (t *turn) yield() {
	t.leave()
	// The clock is read here and not at every call, as a call is far cheaper than a reading.
	now := time.Now()
	t.paceAt(now)
	if now.Sub(t.since) > quantum {
		giveWay()
		now = time.Now()
		t.since = now
	}
	t.resumed = now
	t.stopIfDone()
	counter := rewrite.Counter(t.instance.counter.Get())
	t.deepen(rewrite.StackBudget - int64(counter.Stack()))
	if counter.Stack() < 0 {
		t.stop(&Trap{Reason: ReasonDepth, Message: "calls are nested too deep"})
	}
	slice := min(t.fuel, t.slice-int64(counter.Fuel()))
	t.fuel -= slice
	if counter = counter.AddFuel(int32(slice)); counter.Fuel() < 0 {
		t.stop(&Trap{Reason: ReasonFuel, Message: fmt.Sprintf("%d units of fuel are spent", t.limits.Fuel)})
	}
	t.instance.counter.Set(uint64(counter))
	if t.called {
		t.called, t.lastSeen = false, now
	} else if now.Sub(t.lastSeen) > t.limits.CallGap {
		t.stop(&Trap{Reason: ReasonCallGap, Message: fmt.Sprintf("no host call for %v", t.limits.CallGap)})
	}
	t.enter()
}

// run calls an export that returns an i32 or nothing, and returns nil or a *Trap.
func (t *turn) run(export api.Function) error {
	stack := []uint64{0}
	err := export.CallWithStack(t, stack)
	t.leave()
	t.stdout.flush(t.host)
	t.stderr.flush(t.host)
	trap := t.trap
	switch {
	case trap != nil:
	case err != nil:
		trap = t.classify(err)
	case len(export.Definition().ResultTypes()) == 0:
		return nil
	case int32(stack[0]) != 0:
		code := int32(stack[0])
		trap = &Trap{Reason: ReasonExit, Code: code, Message: fmt.Sprintf("%s returned %d", export.Definition().ExportNames()[0], code)}
	case !t.finished:
		trap = &Trap{Reason: ReasonNoFinish, Message: export.Definition().ExportNames()[0] + " returned 0 without a call of finish"}
	default:
		return nil
	}
	t.nameMemory(trap)
	trap.Stderr = string(t.stderr.tail)
	return trap
}

// classify names what wazero reports of a guest that nobody stopped.
func (t *turn) classify(err error) *Trap {
	message, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "wasm error: "), "\n")
	var internal runtime.Error
	switch {
	case t.call != "":
		return &Trap{Reason: ReasonHost, Message: t.call + " panicked", cause: err}
	case errors.As(err, &internal):
		return &Trap{Reason: ReasonHost, Message: "the engine panicked", cause: err}
	case strings.Contains(message, "stack overflow"):
		return &Trap{Reason: ReasonDepth, Message: "calls are nested too deep"}
	}
	return &Trap{Reason: ReasonTrap, Message: message}
}

// nameMemory blames a refused growth for a failure that followed it: a guest that is out of memory ends in
// whatever way its runtime has for that.
func (t *turn) nameMemory(trap *Trap) {
	if !t.instance.memory.refused || (trap.Reason != ReasonTrap && trap.Reason != ReasonExit) {
		return
	}
	trap.Message = fmt.Sprintf("memory is limited to %d bytes; then %s", t.limits.Memory, trap.Message)
	trap.Reason = ReasonMemory
	if t.instance.memory.budgetSpent {
		trap.cause = ErrMemoryBudget
	}
}
