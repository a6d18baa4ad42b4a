package guest

import (
	"errors"
	"fmt"
	"time"

	"github.com/towpath/towpath/hostabi"
)

// Error is a host call that was refused, or an exchange that the host reports as failed.
type Error struct {
	Op      string       // the call, such as "http_open", or "http" and "proc" for a failure that came as a record
	Code    hostabi.Code // what to decide on
	Handle  uint32       // the exchange or child, 0 where there is none
	Message string       // for people
}

func (e *Error) Error() string { return e.Op + ": " + e.Code.String() + ": " + e.Message }

// CodeOf returns the code of the Error in err's chain, or 0.
func CodeOf(err error) hostabi.Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// Lost reports whether err says that the exchange belonged to an execution that died, and if so its handle. What
// arrived from it before is retracted by the host; a repetition must name the handle in Request.RetryOf.
func Lost(err error) (handle uint32, ok bool) {
	var e *Error
	if errors.As(err, &e) && e.Code == hostabi.ELOST {
		return e.Handle, true
	}
	return 0, false
}

// Cancelled is the cause of the turn's context once the host wants the turn to end. It is killed after Grace.
type Cancelled struct {
	Reason string
	Grace  time.Duration
}

func (c *Cancelled) Error() string { return "turn cancelled: " + c.Reason }

// called turns the error of a host call into an Error.
func called(op string, handle uint32, err error) error {
	var refusal *hostabi.Error
	if errors.As(err, &refusal) {
		return &Error{Op: op, Code: refusal.Code, Handle: handle, Message: refusal.Message}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

// failed turns a FAILED record into an Error.
func failed(op string, r hostabi.Record) error {
	return &Error{Op: op, Code: hostabi.Code(-r.Code), Handle: r.Handle, Message: string(r.Payload)}
}
