package guest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/towpath/towpath/hostabi"
)

// Values of Result.Status.
const (
	StatusCompleted = "completed"
	StatusFailed    = "failed"
	StatusCancelled = "cancelled"
)

// Result is the envelope of what a turn finishes with, one JSON object:
//
//	{"status":"completed", …}                                   members of what run returned
//	{"status":"failed","kind":"rate_limited","retryable":true,"retry_after_ms":2000,"message":"…", …}
//	{"status":"cancelled","kind":"cancelled","message":"…", …}
//
// The members of run's value stand beside those of the envelope, whose names they must not use; a value that is no
// object stands under `output`. A failed turn may have a value too, such as the text so far.
type Result struct {
	Status       string `json:"status"`
	Kind         Kind   `json:"kind,omitempty"`
	Retryable    bool   `json:"retryable,omitempty"`
	RetryAfterMS int64  `json:"retry_after_ms,omitempty"` // the provider's wish, 0 for none
	Message      string `json:"message,omitempty"`        // for people
}

// Failure is an error that says how the turn failed. Any other error that run returns is classified by failure.
type Failure struct {
	Kind       Kind
	Retryable  bool
	RetryAfter time.Duration
	Err        error
}

// Fail makes a Failure that is as retryable as its kind. The format is that of fmt.Errorf.
func Fail(kind Kind, format string, args ...any) *Failure {
	return &Failure{Kind: kind, Retryable: kind.Retryable(), Err: fmt.Errorf(format, args...)}
}

func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// failure classifies an error of run.
func failure(ctx context.Context, err error) *Failure {
	var (
		f         *Failure
		cancelled *Cancelled
		refusal   *Error
	)
	kind := KindInternal
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &cancelled), errors.Is(err, context.Canceled) && errors.As(context.Cause(ctx), &cancelled):
		return &Failure{Kind: KindCancelled, Err: cancelled}
	case errors.As(err, &refusal):
		kind = KindOfCode(refusal.Code)
	case errors.Is(err, context.DeadlineExceeded):
		kind = KindStalled
	}
	return Fail(kind, "%w", err)
}

// finish encodes what run returned and hands it to the host.
func (t *Turn) finish(value any, err error) error {
	envelope := Result{Status: StatusCompleted}
	if err != nil {
		f := failure(t.ctx, err)
		envelope = Result{
			Status: StatusFailed, Kind: f.Kind, Retryable: f.Retryable,
			RetryAfterMS: f.RetryAfter.Milliseconds(), Message: f.Error(),
		}
		if f.Kind == KindCancelled {
			envelope.Status = StatusCancelled
		}
	}
	encoded, err := join(envelope, value)
	if err == nil && len(encoded) > hostabi.MaxResult {
		err = fmt.Errorf("%d bytes, at most %d", len(encoded), hostabi.MaxResult)
	}
	if err != nil {
		message, _ := Clip(fmt.Sprintf("result: %v", err), 4<<10)
		if encoded, err = json.Marshal(Result{Status: StatusFailed, Kind: KindInternal, Message: message}); err != nil {
			return err
		}
	}
	return t.host.Finish(t.root, encoded)
}

// join encodes an envelope with the members of value behind its own.
func join(envelope Result, value any) ([]byte, error) {
	outer, err := json.Marshal(envelope)
	if err != nil || value == nil {
		return outer, err
	}
	inner, err := json.Marshal(value)
	switch {
	case err != nil, string(inner) == "null", string(inner) == "{}":
		return outer, err
	case inner[0] != '{':
		inner = append(append([]byte(`{"output":`), inner...), '}')
	}
	return append(append(outer[:len(outer)-1], ','), inner[1:]...), nil
}

// Clip cuts s, between characters, so that its JSON form takes at most n bytes, and reports whether it had to.
func Clip(s string, n int) (clipped string, was bool) {
	if len(s) <= (n-len(`""`))/6 {
		return s, false // no character takes more than six times its bytes
	}
	size := len(`""`)
	for i, r := range s {
		switch {
		case r == '"', r == '\\', r == '\n', r == '\r', r == '\t', r == '\b', r == '\f':
			size += 2
		case r < ' ', r == '<', r == '>', r == '&', r == '\u2028', r == '\u2029', r == utf8.RuneError:
			size += 6
		default:
			size += utf8.RuneLen(r)
		}
		if size > n {
			return s[:i], true
		}
	}
	return s, false
}
