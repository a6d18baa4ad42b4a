package queuetest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

// UI does to a database what the buttons of River UI do: it calls the same methods of a client that works no queue.
type UI struct{ client *river.Client[pgx.Tx] }

// NewUI makes a UI over a pool that stays the caller's.
func NewUI(tb testing.TB, pool *pgxpool.Pool) UI {
	tb.Helper()
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{})
	if err != nil {
		tb.Fatalf("queuetest: %v", err)
	}
	return UI{client}
}

// Cancel is the button of that name on a job.
func (u UI) Cancel(ctx context.Context, job int64) error {
	_, err := u.client.JobCancel(ctx, job)
	return err
}

// Retry is the button of that name on a job.
func (u UI) Retry(ctx context.Context, job int64) error {
	_, err := u.client.JobRetry(ctx, job)
	return err
}

// Delete is the button of that name on a job.
func (u UI) Delete(ctx context.Context, job int64) error {
	_, err := u.client.JobDelete(ctx, job)
	return err
}

// Pause is the button of that name on a queue.
func (u UI) Pause(ctx context.Context, queue string) error {
	return u.client.QueuePause(ctx, queue, nil)
}

// Resume is the button of that name on a queue.
func (u UI) Resume(ctx context.Context, queue string) error {
	return u.client.QueueResume(ctx, queue, nil)
}
