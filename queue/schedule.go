package queue

import (
	"context"
	"log/slog"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

const (
	sweepEvery  = 15 * time.Second
	pruneEvery  = time.Hour
	sweepKeptTo = time.Hour
)

// live are the states in which a periodic job holds its unique key. A finished one frees it.
var live = []rivertype.JobState{
	rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable,
	rivertype.JobStateRunning, rivertype.JobStateScheduled,
}

// schedule lists the periodic jobs that the leader inserts, each also when it becomes leader.
func schedule(handlers map[Kind]Handler, gcEvery time.Duration) []*river.PeriodicJob {
	periodic := func(kind Kind, every time.Duration) *river.PeriodicJob {
		return river.NewPeriodicJob(river.PeriodicInterval(every), func() (river.JobArgs, *river.InsertOpts) {
			return args{kind}, &river.InsertOpts{
				Queue:       kind.Queue(),
				MaxAttempts: 1, // the next tick is the retry
				UniqueOpts:  river.UniqueOpts{ByState: live},
			}
		}, &river.PeriodicJobOpts{ID: string(kind), RunOnStart: true})
	}
	jobs := []*river.PeriodicJob{periodic(Sweep, sweepEvery)}
	if handlers[GC] != nil {
		jobs = append(jobs, periodic(GC, gcEvery))
	}
	if handlers[Prune] != nil {
		jobs = append(jobs, periodic(Prune, pruneEvery))
	}
	return jobs
}

// forgetting deletes old sweeps before each one: 240 rows an hour, which River would keep for a day. The index on kind
// finds them.
func (c *Client) forgetting(sweep Handler) Handler {
	query := "delete from " + c.config.Schema + ".river_job where kind = 'sweep' and finalized_at < clock_timestamp() - $1::interval"
	return func(ctx context.Context, job Job) error {
		if _, err := c.config.Pool.Exec(ctx, query, sweepKeptTo); err != nil {
			Log(ctx).WarnContext(ctx, "old sweeps stay", slog.Any("error", err))
		}
		return sweep(ctx, job)
	}
}
