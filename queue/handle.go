package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverlog"
)

// Job is one delivery of a River job.
type Job struct {
	ID        int64
	Kind      Kind
	Args      json.RawMessage // as stored: an object, not otherwise checked
	Attempt   int             // of River, from 1; no process's budget
	CreatedAt time.Time
}

// Handler does the work of a kind. Many run at once. A returned nil completes the job, an error has it delivered again
// after a while ([Snooze] and [Cancel] say otherwise). ctx ends when the job's time is up, the job is cancelled or the
// worker stops; context.Cause tells which ([ErrCancelled], [ErrStopping]). A panic is an error whose stack is kept in
// the job row.
type Handler func(ctx context.Context, job Job) error

// Snooze has the job delivered again after d (zero or more) without spending an attempt.
func Snooze(d time.Duration) error { return river.JobSnooze(max(d, 0)) }

// Cancel ends the job for good; err stands in its row.
func Cancel(err error) error { return river.JobCancel(err) }

// Output notes v, as JSON, in the job's row when the attempt ends. It is for a handler's own goroutine; the last call counts.
func Output(ctx context.Context, v any) error {
	if err := river.RecordOutput(ctx, v); err != nil {
		return fmt.Errorf("queue: note the output of a job: %w", err)
	}
	return nil
}

// Log is the logger of a running job: it writes to the node's log, and to the job's row when the attempt ends. What it is
// given must be free of secrets. Not for use after the handler has returned.
func Log(ctx context.Context) *slog.Logger {
	if logger, ok := ctx.Value(logKey{}).(*slog.Logger); ok {
		return logger
	}
	return slog.Default()
}

type (
	logKey    struct{} // the *slog.Logger of a running job
	rowLogKey struct{} // the io.Writer of what goes to its row
)

func rowLog() *riverlog.Middleware {
	return riverlog.NewMiddlewareCustomContext(func(ctx context.Context, w io.Writer) context.Context {
		return context.WithValue(ctx, rowLogKey{}, w)
	}, &riverlog.MiddlewareConfig{MaxSizeBytes: 64 << 10, MaxTotalBytes: 256 << 10}) // an attempt, a job
}

func (w *worker) withLog(ctx context.Context, id int64) context.Context {
	handler := w.log.With("job", id, "kind", w.kind).Handler()
	if row, ok := ctx.Value(rowLogKey{}).(io.Writer); ok {
		handler = slog.NewMultiHandler(handler, slog.NewTextHandler(row, nil))
	}
	return context.WithValue(ctx, logKey{}, slog.New(handler))
}

// args satisfies River. The stored args go to the handler as they are.
type args struct{ kind Kind }

func (a args) Kind() string              { return string(a.kind) }
func (*args) UnmarshalJSON([]byte) error { return nil }

// worker is a kind on this node.
type worker struct {
	river.WorkerDefaults[args]
	trait
	handle Handler
	log    *slog.Logger
	seen   func(Done)
}

func (w *worker) Timeout(*river.Job[args]) time.Duration { return w.timeout }

func (w *worker) NextRetry(job *river.Job[args]) time.Time {
	return time.Now().Add(backoff(job.Attempt))
}

// backoff doubles from one second to a minute, less up to half of it. It is for faults of the transport: retries of a
// turn or a daemon are decided by SQL, in a job of their own.
func backoff(attempt int) time.Duration {
	d := min(time.Second<<min(max(attempt-1, 0), 6), time.Minute)
	return d - rand.N(d/2)
}

func (w *worker) Work(ctx context.Context, job *river.Job[args]) (err error) {
	ctx, release := translate(ctx)
	defer release()
	began := time.Now()
	err = errPanicked
	defer func() { w.observe(ctx, job, began, &err) }()
	return w.handle(w.withLog(ctx, job.ID), Job{
		ID:        job.ID,
		Kind:      w.kind,
		Args:      job.EncodedArgs,
		Attempt:   job.Attempt,
		CreatedAt: job.CreatedAt,
	})
}

// translate gives River's context our causes: River's own for stopping is not exported. A deadline stays a deadline.
func translate(parent context.Context) (context.Context, func()) {
	ctx := context.WithoutCancel(parent)
	timeout := func() {}
	if at, ok := parent.Deadline(); ok {
		ctx, timeout = context.WithDeadline(ctx, at)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(parent, func() {
		switch cause := context.Cause(parent); {
		case errors.Is(cause, context.DeadlineExceeded): // ours has passed too
		case errors.Is(cause, river.ErrJobCancelledRemotely):
			cancel(ErrCancelled)
		default:
			cancel(ErrStopping)
		}
	})
	return ctx, func() { stop(); cancel(nil); timeout() }
}

func missing(kind Kind) Handler {
	return func(context.Context, Job) error {
		return Cancel(fmt.Errorf("this worker has no handler for kind %q", kind))
	}
}
