package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/queue"
	"github.com/towpath/towpath/store"
)

// warmups are left out: they fill caches and prepare statements.
const warmups = 20

// latency measures how soon a guest runs after its turn is submitted by SQL.
func latency(ctx context.Context, o Options, s *server, emit func(Row)) (err error) {
	pool, err := s.open(ctx, "latency")
	if err != nil {
		return err
	}
	defer pool.Close()
	n, err := startNode(ctx, o, pool, s.dir, "ping", assemble("ping", 0, 0))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	noop, err := startNoop(ctx, o, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, noop.stop()) }()

	var turn, base []float64
	for i := range o.Turns + warmups {
		// Side by side, so that both meet the same machine.
		b, err := noop.measure(ctx)
		if err != nil {
			return err
		}
		t, err := n.measure(ctx, pool)
		if err != nil {
			return err
		}
		if i >= warmups {
			turn, base = append(turn, t), append(base, b)
		}
	}
	for _, p := range []float64{0.5, 0.99} {
		emit(Row{Name: fmt.Sprintf("submit_to_guest_p%.0f_ms", p*100), Unit: "ms", Value: percentile(turn, p), Baseline: percentile(base, p)})
	}
	return nil
}

// measure submits one turn and waits until its guest has run.
func (n *node) measure(ctx context.Context, pool *pgxpool.Pool) (ms float64, err error) {
	began := time.Now()
	var id string
	if err := pool.QueryRow(ctx, "select towpath.submit('ping', '{}')").Scan(&id); err != nil {
		return 0, err
	}
	select {
	case at := <-n.greeted:
		ms = at.Sub(began).Seconds() * 1000
	case <-time.After(10 * time.Second):
		return 0, fmt.Errorf("turn %s did not start within 10 s", id)
	}
	// The node is idle again when the turn has ended.
	return ms, store.New(pool).Follow(ctx, id, 0, 5*time.Millisecond, false, func(store.Event) error { return nil })
}

// noop is a River client whose jobs do nothing.
type noop struct {
	pool   *pgxpool.Pool
	client *queue.Client
	ran    chan time.Time
}

func startNoop(ctx context.Context, o Options, s *server) (*noop, error) {
	pool, err := s.open(ctx, "noop")
	if err != nil {
		return nil, err
	}
	n := &noop{pool: pool, ran: make(chan time.Time, 1)}
	n.client, err = queue.New(queue.Config{Pool: pool, NodeID: "noop", Logger: o.Logger, Handlers: map[queue.Kind]queue.Handler{
		queue.Turn: func(context.Context, queue.Job) error { n.ran <- time.Now(); return nil },
	}})
	if err == nil {
		err = n.client.Start(ctx)
	}
	if err != nil {
		pool.Close()
		return nil, err
	}
	return n, nil
}

func (n *noop) measure(ctx context.Context) (ms float64, err error) {
	began := time.Now()
	if _, err := n.pool.Exec(ctx, `insert into river_job (kind, args, queue) values ('turn', '{"process_id":"none","generation":1}', 'turns')`); err != nil {
		return 0, err
	}
	select {
	case at := <-n.ran:
		return at.Sub(began).Seconds() * 1000, nil
	case <-time.After(10 * time.Second):
		return 0, errors.New("the no-op job did not run within 10 s")
	}
}

func (n *noop) stop() error {
	defer n.pool.Close()
	return n.client.Stop(context.Background())
}

func percentile(values []float64, p float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}
