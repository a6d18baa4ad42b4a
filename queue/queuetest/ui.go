package queuetest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

// UI does to a database what the buttons of River UI do: each calls one method of a client that works no queue, in a
// transaction of its own.
type UI struct {
	pool   *pgxpool.Pool
	client *river.Client[pgx.Tx]
}

// NewUI makes a UI over a pool that stays the caller's.
func NewUI(tb testing.TB, pool *pgxpool.Pool) UI {
	tb.Helper()
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{})
	if err != nil {
		tb.Fatalf("queuetest: %v", err)
	}
	return UI{pool, client}
}

// Cancel is the button of that name on a job.
func (u UI) Cancel(ctx context.Context, job int64) error {
	return pgx.BeginFunc(ctx, u.pool, func(tx pgx.Tx) error {
		_, err := u.client.JobCancelTx(ctx, tx, job)
		return err
	})
}

// Retry is the button of that name on a job.
func (u UI) Retry(ctx context.Context, job int64) error {
	return pgx.BeginFunc(ctx, u.pool, func(tx pgx.Tx) error {
		_, err := u.client.JobRetryTx(ctx, tx, job)
		return err
	})
}

// Delete is the button of that name on a job.
func (u UI) Delete(ctx context.Context, job int64) error {
	return pgx.BeginFunc(ctx, u.pool, func(tx pgx.Tx) error {
		_, err := u.client.JobDeleteTx(ctx, tx, job)
		return err
	})
}

// Pause is the button of that name on a queue.
func (u UI) Pause(ctx context.Context, queue string) error {
	return pgx.BeginFunc(ctx, u.pool, func(tx pgx.Tx) error { return u.client.QueuePauseTx(ctx, tx, queue, nil) })
}

// Resume is the button of that name on a queue.
func (u UI) Resume(ctx context.Context, queue string) error {
	return pgx.BeginFunc(ctx, u.pool, func(tx pgx.Tx) error { return u.client.QueueResumeTx(ctx, tx, queue, nil) })
}
