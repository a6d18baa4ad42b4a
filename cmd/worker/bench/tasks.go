package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/store"
)

const (
	queued    = 100_000 // tasks
	taskPage  = 500
	taskLooks = 20 // at the commander
)

// tasks is the suite tasks: what it costs to direct a long queue.
func tasks(ctx context.Context, o Options, emit func(Row)) (err error) {
	s, err := startServer(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	pool, err := s.open(ctx, "tasks")
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := fillQueues(ctx, pool); err != nil {
		return err
	}
	db := store.New(pool)
	idle, err := restingMB()
	if err != nil {
		return err
	}
	began := time.Now()
	whole, err := count(ctx, pool)
	if err != nil {
		return err
	}
	base := time.Since(began)
	if whole != queued {
		return fmt.Errorf("%d tasks are queued, not %d", whole, queued)
	}
	// The first look is at a cold cache, as in life.
	var looks []time.Duration
	top := 0.0
	for range taskLooks {
		began := time.Now()
		c, err := db.Commander(ctx, nil, 20)
		if err != nil {
			return err
		}
		looks = append(looks, time.Since(began))
		if c.Stats.Total != queued || len(c.Items) != 20 {
			return fmt.Errorf("the commander sees %d tasks and shows %d", c.Stats.Total, len(c.Items))
		}
		if top, err = higherMB(top); err != nil {
			return err
		}
	}
	emit(Row{Name: "commander_100k_ms", Unit: "ms", Value: milliseconds(slices.Max(looks)), Baseline: milliseconds(base)})
	emit(Row{Name: "commander_client_mb", Unit: "MB", Value: max(top-idle, 0)})

	if idle, err = restingMB(); err != nil {
		return err
	}
	seen, place := 0, ""
	top = 0
	began = time.Now()
	for {
		page, err := db.ListTasks(ctx, nil, place, taskPage)
		if err != nil {
			return err
		}
		seen += len(page)
		if top, err = higherMB(top); err != nil {
			return err
		}
		if len(page) < taskPage {
			break
		}
		place = page[len(page)-1].Place
	}
	if seen != queued {
		return fmt.Errorf("the pages show %d tasks of %d", seen, queued)
	}
	emit(Row{Name: "list_100k_tasks_per_s", Unit: "1/s", Value: queued / time.Since(began).Seconds(), Baseline: queued / base.Seconds()})
	emit(Row{Name: "list_client_mb", Unit: "MB", Value: max(top-idle, 0)})
	return nil
}

// fillQueues queues tasks of 2 KB each, as a client would, a thousand in a transaction.
func fillQueues(ctx context.Context, pool *pgxpool.Pool) error {
	for from := 0; from < queued; from += 1000 {
		_, err := pool.Exec(ctx, `select count(towpath.task_create('q' || i % 5, jsonb_build_object('text', repeat('task ' || i || ' ', 200)), 'k' || i,
			jsonb_build_object('priority', i % 10, 'lane', 'l' || i % 3, 'title', 'task ' || i))) from generate_series($1::int, $1 + 999) i`, from)
		if err != nil {
			return fmt.Errorf("queue tasks: %w", err)
		}
	}
	_, err := pool.Exec(ctx, "analyze towpath.task")
	return err
}

// count is the plainest way to say how much there is, and shows what comes first.
func count(ctx context.Context, pool *pgxpool.Pool) (int, error) {
	rows, err := pool.Query(ctx, "select state, queue, lane, count(*) from towpath.task group by 1, 2, 3")
	if err != nil {
		return 0, err
	}
	n := 0
	for rows.Next() {
		var state, queue, lane string
		var some int
		if err := rows.Scan(&state, &queue, &lane, &some); err != nil {
			return 0, err
		}
		n += some
	}
	if err := rows.Err(); err != nil {
		return 0, err
	}
	rows, err = pool.Query(ctx, "select id, title from towpath.task order by priority desc, created_at, id limit 20")
	if err != nil {
		return 0, err
	}
	_, err = pgx.CollectRows(rows, pgx.RowToMap)
	return n, err
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// restingMB is this process's resident memory when it has given back what it does not need.
func restingMB() (float64, error) {
	runtime.GC()
	debug.FreeOSMemory()
	return resident(os.Getpid())
}

func higherMB(top float64) (float64, error) {
	now, err := resident(os.Getpid())
	return max(top, now), err
}
