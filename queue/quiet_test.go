package queue_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/towpath/towpath/queue"
	"github.com/towpath/towpath/queue/queuetest"
)

// What River prints while it stops is no error of anybody's; a real one still reaches the log.
func TestRiversNoiseStaysOutOfTheLog(t *testing.T) {
	t.Parallel()
	live := t.Context()
	ended, end := context.WithCancel(live)
	end()
	for _, line := range []struct {
		ctx     context.Context
		message string
		attrs   []any
		kept    bool
	}{
		{live, "producer: Producer job counts", []any{"num_completed_jobs", 3}, false},
		{ended, "PeriodicJobEnqueuer: Error starting transaction", []any{"error", "context canceled"}, false},
		{ended, "JobScheduler: Error scheduling jobs", []any{"error", "error beginning transaction: context canceled"}, false},
		{ended, "Elector: Error attempting to resign", []any{"client_id", "a", "err", context.Canceled}, false},
		{live, "JobScheduler: Error scheduling jobs", []any{"error", "context canceled"}, true},
		{ended, "JobScheduler: Error scheduling jobs", []any{"error", "no space left on device"}, true},
		{ended, "River client stopped", []any{"client_id", "a"}, true},
		{live, "JobRescuer: Error rescuing jobs", []any{"error", errors.New("no space left on device")}, true},
	} {
		var log strings.Builder
		queue.Quiet(slog.NewTextHandler(&log, nil)).With("node", "a").WithGroup("river").ErrorContext(line.ctx, line.message, line.attrs...)
		if contains(log.String(), line.message) != line.kept {
			t.Errorf("%s %v is in the log: %v", line.message, line.attrs, !line.kept)
		}
	}
}

// A node that starts and stops has nothing to complain about.
func TestStoppingIsNoError(t *testing.T) {
	t.Parallel()
	for range 3 {
		var log strings.Builder
		pool := queuetest.Pool(t)
		ran := make(chan queue.Job)
		stop := start(t, pool, queue.Config{
			Logger:   slog.New(slog.NewTextHandler(&log, nil)),
			Handlers: map[queue.Kind]queue.Handler{queue.Sweep: send(ran)},
		})
		<-ran // the leader's first periodic job
		stop()
		if contains(log.String(), "level=ERROR") {
			t.Errorf("log: %s", &log)
		}
	}
}
