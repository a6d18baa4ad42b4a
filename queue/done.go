package queue

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/riverqueue/river"
)

// Done is one delivery of a job that a handler has ended.
type Done struct {
	Kind    Kind
	Outcome string        // completed, failed, panicked, snoozed, cancelled or stopped
	Wait    time.Duration // from when it was due to when it began; clocks of database and node
	Took    time.Duration
}

// observe tells Config.Observe of a delivery once its handler has ended, by a panic too, and the job's row how it ended. A
// turn that completed has said so itself; what comes again would fill the row in time.
func (w *worker) observe(ctx context.Context, job *river.Job[args], began time.Time, err *error) {
	d := Done{Kind: w.kind, Outcome: "panicked", Took: time.Since(began)}
	if *err != errPanicked {
		d.Outcome = Outcome(*err)
	}
	if job.AttemptedAt != nil {
		d.Wait = max(job.AttemptedAt.Sub(job.ScheduledAt), 0)
	}
	if row, ok := ctx.Value(rowLogKey{}).(io.Writer); ok && d.Outcome != "snoozed" && d.Outcome != "stopped" && (w.kind != Turn || d.Outcome != "completed") {
		slog.New(slog.NewTextHandler(row, nil)).Info("attempt ended", "status", d.Outcome, "took", d.Took)
	}
	if w.seen != nil {
		w.seen(d)
	}
}

// errPanicked stands for the error of a handler that has not returned.
var errPanicked = errors.New("queue: the handler panicked")

// Outcome says what becomes of a job whose handler has returned err, in the words of [Done].
func Outcome(err error) string {
	var (
		snooze *river.JobSnoozeError
		cancel *river.JobCancelError
	)
	switch {
	case err == nil:
		return "completed"
	case errors.As(err, &snooze):
		return "snoozed"
	case errors.As(err, &cancel), errors.Is(err, ErrCancelled):
		return "cancelled"
	case errors.Is(err, ErrStopping):
		return "stopped"
	}
	return "failed"
}
