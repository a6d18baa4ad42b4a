package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/towpath/towpath/queue"
	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker/supervise"
	"github.com/towpath/towpath/worker/trace"
)

// daemonJobs handles the job kinds of daemons. What only the owner of a child can do is wished for in the rows; the job
// completes when they show the result.
type daemonJobs struct {
	store   *store.Store
	daemons *supervise.Daemons // nil where none can run
}

const (
	resultWithin = 20 * time.Second // for what a job waits; then it snoozes
	askAgain     = time.Second
	censusEvery  = time.Minute
)

// handlers adds those of daemons.
func (j daemonJobs) handlers(all map[queue.Kind]queue.Handler) map[queue.Kind]queue.Handler {
	all[queue.Start], all[queue.Restart], all[queue.Stop], all[queue.HealthCheck] = j.start, j.restart, j.stopOne, j.healthCheck
	return all
}

// keepDaemons prepares the supervisor of a node that has a folder for one.
func keepDaemons(cfg Config, db *store.Store, node store.Node) (daemonJobs, error) {
	j := daemonJobs{store: db}
	if cfg.Daemons == "" || !slices.Contains(cfg.Queues, queue.Lifecycle) {
		return j, nil
	}
	var err error
	j.daemons, err = supervise.NewDaemons(supervise.DaemonConfig{Store: db, Node: node, TTL: cfg.LeaseTTL, Dir: cfg.Daemons, Pooled: cfg.Pooled, Logger: cfg.Logger})
	return j, err
}

func (j daemonJobs) run(ctx context.Context) {
	if j.daemons != nil {
		j.daemons.Run(ctx)
	}
}

func (j daemonJobs) told() {
	if j.daemons != nil {
		j.daemons.Told()
	}
}

func (j daemonJobs) stop(ctx context.Context) error {
	if j.daemons == nil {
		return nil
	}
	return j.daemons.Stop(ctx)
}

// wanted reads a job's args. Who misspells a key is told so.
func wanted(job queue.Job) (queue.DaemonArgs, error) {
	var a queue.DaemonArgs
	d := json.NewDecoder(strings.NewReader(string(job.Args)))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		return a, queue.Cancel(fmt.Errorf("job args: %w (hint: {\"spec\": NAME}, with \"session\" where a session owns the daemon)", err))
	}
	if (a.Spec == "") == (a.ProcessID == "" && a.Node == "") {
		return a, queue.Cancel(errors.New(`job args name no daemon (hint: {"spec": NAME})`))
	}
	return a, nil
}

// key makes one start of a job that is delivered twice.
func key(job queue.Job) string { return fmt.Sprintf("river:%d:%d", job.ID, job.CreatedAt.UnixMicro()) }

func (j daemonJobs) start(ctx context.Context, job queue.Job) error {
	a, err := wanted(job)
	if err != nil {
		return err
	}
	if a.ProcessID != "" {
		return j.launch(ctx, a, job)
	}
	return noted(ctx, a)(j.store.StartDaemon(ctx, a.Spec, a.Session, key(job)))
}

func (j daemonJobs) restart(ctx context.Context, job queue.Job) error {
	a, err := wanted(job)
	if err != nil {
		return err
	}
	if a.ProcessID != "" {
		return j.launch(ctx, a, job)
	}
	return noted(ctx, a)(j.store.RestartDaemon(ctx, a.Spec, a.Session, key(job)))
}

// noted ends a client's job: the process that it became stands in its output.
func noted(ctx context.Context, a queue.DaemonArgs) func(string, error) error {
	return func(process string, err error) error {
		if err != nil {
			return answer(err)
		}
		trace.Process(ctx, process)
		return queue.Output(ctx, map[string]string{"daemon": a.Spec, "process_id": process})
	}
}

// launch starts the child of a process that is due.
func (j daemonJobs) launch(ctx context.Context, a queue.DaemonArgs, job queue.Job) error {
	if j.daemons == nil {
		return queue.Snooze(askAgain) // another node's
	}
	err := j.daemons.Start(ctx, a.ProcessID, a.Generation, job.ID)
	if errors.Is(err, supervise.ErrStopping) || errors.Is(err, supervise.ErrBusy) {
		return queue.Snooze(askAgain / 10)
	}
	return answer(err)
}

func (j daemonJobs) stopOne(ctx context.Context, job queue.Job) error {
	a, err := wanted(job)
	if err != nil {
		return err
	}
	state, err := j.store.StopDaemon(ctx, a.Spec, a.Session, "")
	if err != nil {
		return answer(err)
	}
	if state == "stopping" {
		if state, err = AwaitDaemon(ctx, j.store, a.Spec, resultWithin, func(d store.Daemon) bool { return d.State != "stopping" }); err != nil {
			return again(ctx, err)
		}
	}
	return queue.Output(ctx, map[string]string{"daemon": a.Spec, "state": state})
}

func (j daemonJobs) healthCheck(ctx context.Context, job queue.Job) error {
	a, err := wanted(job)
	if err != nil {
		return err
	}
	if a.Node != "" {
		return j.census(ctx, a.Node)
	}
	asked, err := j.store.CheckDaemon(ctx, a.Spec)
	if err != nil {
		return answer(err)
	}
	var seen store.Daemon
	if _, err := AwaitDaemon(ctx, j.store, a.Spec, resultWithin, func(d store.Daemon) bool {
		seen = d
		return d.CheckedAt != nil && d.CheckedAt.After(asked) || d.PID == nil
	}); err != nil {
		return again(ctx, err)
	}
	return queue.Output(ctx, seen)
}

// census looks whether a node looks at its daemons, and says in the job what it has found. The checks themselves are made
// by a loop of that node, see the package comment of supervise.
func (j daemonJobs) census(ctx context.Context, node string) error {
	c, err := j.store.DaemonCensus(ctx, node)
	if err != nil {
		return err
	}
	if len(c.Overdue) > 0 {
		queue.Log(ctx).Warn("daemons are not looked at in time", "node", node, "daemons", c.Overdue)
	}
	if len(c.Unhealthy) > 0 {
		queue.Log(ctx).Warn("daemons are unhealthy", "node", node, "daemons", c.Unhealthy)
	}
	if err := queue.Output(ctx, c); err != nil || c.Daemons == 0 {
		return err
	}
	return queue.Snooze(censusEvery)
}

var errNotYet = errors.New("not yet")

// again has a job delivered once more whose result is not there yet.
func again(ctx context.Context, err error) error {
	if errors.Is(err, errNotYet) {
		return queue.Snooze(askAgain)
	}
	return answer(err)
}

// AwaitDaemon looks at a daemon until it is as wanted, and returns its state. It fails when it is not so in time.
func AwaitDaemon(ctx context.Context, db *store.Store, name string, within time.Duration, as func(store.Daemon) bool) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, within, errNotYet)
	defer cancel()
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		d, err := db.Daemon(ctx, name)
		switch {
		case ctx.Err() != nil:
			return d.State, fmt.Errorf("daemon %s is %s: %w", name, d.State, context.Cause(ctx))
		case err != nil:
			return "", err
		case as(d):
			return d.State, nil
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
}
