package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/towpath/towpath/store"
)

const (
	fleetSize   = 1000
	fleetByURL  = 500
	fleetByCmd  = 100
	firstStarts = 100 // of those that are asked by URL, at once
	exits       = 200 // that are timed
	warmUp      = 30  // exits before those: a connection plans each statement of ours at its first use, once for its life
	exitEvery   = 100 * time.Millisecond
	hangs       = 20
	failures    = 3 // in a row that are unhealthy, as a spec without a word about it has it
	interval    = 5 * time.Second
)

// daemons is the suite daemons: one node that keeps a thousand of them.
func daemons(ctx context.Context, o Options, emit func(Row)) (err error) {
	s, err := startServer(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	dsn, err := s.watched(ctx, "daemons")
	if err != nil {
		return err
	}
	node, err := startChild(context.WithoutCancel(ctx), o, s, "daemons", dsn) // it is what stops the daemons of a run that was interrupted
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.stop()) }()
	pool, err := store.Open(ctx, dsn, false)
	if err != nil {
		return err
	}
	defer pool.Close()
	f := &fleet{pool: pool, store: store.New(pool), program: o.Program, dir: filepath.Join(s.dir, "daemons-data", "daemons")}
	defer func() { err = errors.Join(err, f.end()) }()

	// The same node before it has a daemon.
	if err := pause(ctx, min(calm, o.Idle)); err != nil {
		return err
	}
	idleQueries, err := s.queries(func() error { return pause(ctx, o.Idle) })
	if err != nil {
		return err
	}
	idleMB, err := resident(node.pid())
	if err != nil {
		return err
	}
	if err := f.register(ctx); err != nil {
		return err
	}
	took, err := f.start(ctx, f.names()[:firstStarts])
	if err != nil {
		return err
	}
	plain, err := plainStarts(ctx, o.Program)
	if err != nil {
		return err
	}
	emit(Row{Name: fmt.Sprintf("start_%d_s", firstStarts), Unit: "s", Value: took.Seconds(), Baseline: plain.Seconds()})
	if _, err := f.start(ctx, f.names()[firstStarts:]); err != nil {
		return err
	}
	if err := f.keptWell(ctx, node, s, o.Idle, idleMB, idleQueries, emit); err != nil {
		return err
	}
	if err := f.timeExits(ctx, emit); err != nil {
		return err
	}
	return f.timeHangs(ctx, emit)
}

// keptWell measures what the worker spends on a thousand daemons, none of which has trouble.
func (f *fleet) keptWell(ctx context.Context, node *child, s *server, window time.Duration, idleMB, idleQueries float64, emit func(Row)) error {
	if err := pause(ctx, 2*interval); err != nil { // each has been asked since the last one was started
		return err
	}
	ports, err := f.ports(ctx)
	if err != nil {
		return err
	}
	before, err := f.answered(ports)
	if err != nil {
		return err
	}
	spent, err := ownCPUOf(node.pid())
	if err != nil {
		return err
	}
	began := time.Now()
	queries, err := s.queries(func() error { return pause(ctx, window) })
	if err != nil {
		return err
	}
	took := time.Since(began)
	after, err := ownCPUOf(node.pid())
	if err != nil {
		return err
	}
	mb, err := resident(node.pid())
	if err != nil {
		return err
	}
	if err := f.verify(ctx, ports, before, took); err != nil {
		return err
	}
	plain, err := plainChecks(ctx, ports, window)
	if err != nil {
		return err
	}
	emit(Row{Name: fmt.Sprintf("supervise_%d_cores", fleetSize), Unit: "cores", Value: (after - spent).Seconds() / took.Seconds(), Baseline: plain})
	emit(Row{Name: fmt.Sprintf("supervise_%d_rss_mb", fleetSize), Unit: "MB", Value: mb, Baseline: idleMB})
	emit(Row{Name: fmt.Sprintf("supervise_%d_queries_per_min", fleetSize), Unit: "1/min", Value: queries, Baseline: idleQueries})
	return nil
}

// timeExits kills daemons one by one: how long until the database says so.
func (f *fleet) timeExits(ctx context.Context, emit func(Row)) error {
	hear, err := f.listen(ctx)
	if err != nil {
		return err
	}
	defer hear.Close(context.WithoutCancel(ctx))
	running, err := f.running(ctx, "%")
	if err != nil {
		return err
	}
	rand.Shuffle(len(running), func(i, j int) { running[i], running[j] = running[j], running[i] })
	var took []float64
	for _, r := range running[:warmUp+exits] {
		began := time.Now()
		if err := syscall.Kill(r.pid, syscall.SIGKILL); err != nil {
			return fmt.Errorf("kill %s: %w", r.name, err)
		}
		if err := heard(ctx, hear, r.process, 10*time.Second); err != nil {
			return fmt.Errorf("the end of %s: %w", r.name, err)
		}
		took = append(took, milliseconds(time.Since(began)))
		if err := pause(ctx, exitEvery-time.Since(began)); err != nil { // the node starts it again meanwhile
			return err
		}
	}
	if n, err := f.count(ctx, `select count(*) from towpath.attempt where exit_signal = 'SIGKILL'`); err != nil || n != len(took) {
		return errors.Join(err, fmt.Errorf("%d ends are recorded as kills, not %d", n, len(took)))
	}
	took = took[warmUp:]
	plain, err := f.plainExits(ctx, hear)
	if err != nil {
		return err
	}
	emit(Row{Name: "exit_noticed_p50_ms", Unit: "ms", Value: percentile(took, 0.5), Baseline: percentile(plain, 0.5)})
	emit(Row{Name: "exit_noticed_p99_ms", Unit: "ms", Value: percentile(took, 0.99), Baseline: percentile(plain, 0.99)})
	return nil
}

// timeHangs stops daemons: they take connections and never answer. Timed is until the database has each one's end.
func (f *fleet) timeHangs(ctx context.Context, emit func(Row)) error {
	running, err := f.running(ctx, "url-%")
	if err != nil {
		return err
	}
	rand.Shuffle(len(running), func(i, j int) { running[i], running[j] = running[j], running[i] })
	began := map[string]time.Time{}
	for _, r := range running[:hangs] {
		if err := pause(ctx, interval/hangs); err != nil { // at each phase of the rounds
			return err
		}
		if began[r.process] = time.Now(); syscall.Kill(r.pid, syscall.SIGSTOP) != nil {
			return fmt.Errorf("%s cannot be stopped", r.name)
		}
	}
	var took []float64
	for process, at := range began {
		noticed, err := f.unhealthySince(ctx, process, 2*failures*interval)
		if err != nil {
			return err
		}
		took = append(took, noticed.Sub(at).Seconds()/interval.Seconds())
	}
	emit(Row{Name: "hang_noticed_intervals", Unit: "intervals", Value: slices.Max(took), Baseline: failures})
	return nil
}

// unhealthySince waits until a process's child was ended since it gave no answer, and returns when that was.
func (f *fleet) unhealthySince(ctx context.Context, process string, within time.Duration) (at time.Time, err error) {
	for deadline := time.Now().Add(within); ; {
		err := f.pool.QueryRow(ctx, `select e.at from towpath.process p join towpath.event e on e.process_no = p.no
			where p.id = $1 and e.type = 'process.requeued' and e.data ->> 'reason' like 'unhealthy: no answer%' order by e.seq desc limit 1`, process).Scan(&at)
		if err == nil || !errors.Is(err, pgx.ErrNoRows) {
			return at, err
		}
		if time.Now().After(deadline) {
			return at, fmt.Errorf("nobody has noticed within %v that %s hangs", within, process)
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return at, err
		}
	}
}
