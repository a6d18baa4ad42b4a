package engine

import (
	"errors"
	"fmt"
	"strings"
)

// Reason says why a turn did not end well.
type Reason string

const (
	ReasonExit     Reason = "exit"      // turn_v1 returned, or proc_exit was called with, Trap.Code
	ReasonTrap     Reason = "trap"      // the guest's own fault: unreachable, division by zero, memory out of bounds
	ReasonContract Reason = "contract"  // a host call was used against the ABI: the message names it
	ReasonDeadline Reason = "deadline"  // the context ended: the trap wraps its cause
	ReasonFuel     Reason = "fuel"      // Limits.Fuel is spent
	ReasonCallGap  Reason = "call gap"  // the guest computed longer than Limits.CallGap without a host call
	ReasonMemory   Reason = "memory"    // the guest failed after a refused growth
	ReasonDepth    Reason = "depth"     // calls nested too deep
	ReasonHost     Reason = "host"      // the Host failed: the trap wraps its error
	ReasonNoFinish Reason = "no finish" // turn_v1 returned 0 and finish was never called
)

// ErrMemoryBudget is wrapped by a Trap when the budget of the whole process, not the guest's own limit, was
// too small: the same turn can succeed later or on another node.
var ErrMemoryBudget = errors.New("engine: the memory budget of this process is used up")

// ErrClosed is returned for a Module or an Engine that was closed.
var ErrClosed = errors.New("engine: closed")

// Trap is the error of a turn that did not end well.
type Trap struct {
	Reason  Reason
	Code    int32  // the guest's code, for ReasonExit
	Message string // one sentence, for humans
	Stderr  string // the last hostabi.StderrTail bytes of the guest's standard error
	cause   error
}

func (t *Trap) Error() string {
	var b strings.Builder
	b.WriteString("turn stopped (" + string(t.Reason) + "): " + t.Message)
	if t.cause != nil {
		fmt.Fprintf(&b, ": %v", t.cause)
	}
	if s := strings.TrimSpace(t.Stderr); s != "" {
		b.WriteString("\nstderr: " + s)
	}
	return b.String()
}

func (t *Trap) Unwrap() error { return t.cause }

// LoadError says why a file cannot be a plugin. Its text names the fix.
type LoadError struct {
	Problem string
	Fix     string
	cause   error
}

func (e *LoadError) Error() string {
	if e.Fix == "" {
		return e.Problem
	}
	return e.Problem + "; " + e.Fix
}

func (e *LoadError) Unwrap() error { return e.cause }
