//go:build linux

package supervise

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/towpath/towpath/store"
)

// keeper keeps one child.
type keeper struct {
	d        *Daemons
	process  string
	name     string
	spec     daemonSpec
	outlives bool
	dir      string // of its logs
	work     string
	env      []string
	port     int
	child    kept
	ready    bool // when it was adopted, or as soon as it runs
	of       int  // the generation that it was started for; 0 for an adopted one

	mu    sync.Mutex
	own   store.Owner
	warns map[string]bool

	wishes  chan wish
	leaving chan struct{}
	once    sync.Once
	found   chan error // of a probe
	socket  string     // the listener that was last seen to be the daemon's
}

// wish is what somebody wants of a keeper: the child's end, for a reason, or a look at it.
type wish struct {
	end    string
	grace  time.Duration
	silent bool // somebody else owns it: write nothing
	check  time.Time
}

func (k *keeper) owner() store.Owner {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.own
}

// Start claims a daemon that is due and starts its child. A nil error means that the River job has done its part.
func (d *Daemons) Start(ctx context.Context, process string, generation int, job int64) error {
	d.mu.Lock()
	before, known := d.keepers[process]
	closed := d.closed
	if !known && !closed {
		d.keepers[process] = nil
	}
	d.mu.Unlock()
	switch {
	case closed:
		return ErrStopping
	case known && before != nil && before.of == generation:
		return nil // delivered twice
	case known:
		return ErrBusy // the child before it has ended, and its keeper has not
	}
	k, err := d.start(ctx, process, generation, job)
	d.enter(process, k)
	return err
}

// enter puts a keeper to work, or forgets that there was to be one.
func (d *Daemons) enter(process string, k *keeper) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if k == nil {
		delete(d.keepers, process)
		return
	}
	d.keepers[process] = k
	d.group.Go(k.run)
	if d.closed {
		k.leave()
	}
	poke(d.ask) // what was wanted before anybody listened
}

func (d *Daemons) start(ctx context.Context, process string, generation int, job int64) (*keeper, error) {
	asked := time.Now()
	c, err := d.Store.ClaimDaemon(ctx, process, generation, job, d.Node, d.TTL, d.place)
	if err != nil || c.Action != store.ActionRun {
		return nil, err
	}
	// From here on the lease is ours: what goes wrong is said to the process, not to River.
	ctx = context.WithoutCancel(ctx)
	k := d.keeper(process, *c.Name, store.Owner{No: *c.No, Fence: *c.Fence, ID: process})
	k.outlives, k.of = *c.Outlives, generation
	if k.spec, err = readSpec(c.Spec); err == nil {
		err = k.launch(ctx, *c.Attempt, d.allowance()-time.Since(asked))
	}
	if err == nil {
		k.ready = !k.spec.checked()
		err = d.Store.DaemonChild(ctx, k.own, k.child.PID(), k.child.Start(), k.ready)
		if err != nil {
			// What cannot be recorded must not run.
			k.child.Kill(0)
			<-k.child.Done()
			os.Remove(pidPath(k.dir))
			if errors.Is(err, store.ErrFence) {
				return nil, nil
			}
		}
	}
	if err == nil {
		d.Logger.Info("daemon started", "daemon", k.name, "process", process, "pid", k.child.PID(), "port", k.port)
		return k, nil
	}
	d.Logger.Warn("daemon did not start", "daemon", k.name, "process", process, "error", err)
	return nil, k.refuse(ctx, err)
}

func (d *Daemons) keeper(process, name string, own store.Owner) *keeper {
	return &keeper{d: d, process: process, name: name, own: own, dir: filepath.Join(d.Dir, name), warns: map[string]bool{},
		wishes: make(chan wish, 16), leaving: make(chan struct{}), found: make(chan error, 1)}
}

// prepare fills in what follows from spec and port.
func (k *keeper) prepare() error {
	k.work = k.spec.Dir
	if k.work == "" {
		k.work = k.dir
	}
	k.env = k.spec.environment(k.process, k.work, k.port)
	return os.MkdirAll(k.dir, 0o700)
}

func (k *keeper) launch(ctx context.Context, attempt int, feed time.Duration) error {
	var err error
	if k.spec.hasPort() {
		if k.port, err = k.d.choosePort(ctx, k.own, k.spec.Port, k.spec.PortFixed); err != nil {
			return err
		}
	}
	if err := k.prepare(); err != nil {
		return err
	}
	path, err := program(k.spec.Command)
	if err != nil {
		return err
	}
	out, errs, err := openLogs(k.dir)
	if err != nil {
		return err
	}
	defer out.Close()
	defer errs.Close()
	if k.outlives {
		k.child, err = launch(k.process, path, k.spec.arguments(k.port), k.work, k.env, out, errs)
	} else {
		k.child, err = launchGuarded(ctx, Spec{Path: path, Args: k.spec.arguments(k.port), Dir: k.work, Env: k.env, Feed: feed,
			Grace: time.Duration(k.spec.Grace), Stdout: out, Stderr: errs})
	}
	if err != nil {
		return err
	}
	file := pidFile{PID: k.child.PID(), Port: k.port, Owner: k.spec.Session, Command: path, StartedAt: time.Now().UTC(), Start: k.child.Start(),
		Boot: k.d.place.Boot, Process: k.process, Attempt: attempt, Fence: k.own.Fence}
	if err := file.write(k.dir); err != nil {
		k.child.Kill(0)
		<-k.child.Done()
		return err
	}
	return nil
}

// refuse ends an attempt whose child never was: for good, when another try on this node must go the same way.
func (k *keeper) refuse(ctx context.Context, why error) error {
	for _, final := range []error{exec.ErrNotFound, fs.ErrNotExist, fs.ErrPermission, syscall.ENOEXEC, syscall.ENOTDIR, syscall.E2BIG, syscall.EINVAL} {
		if errors.Is(why, final) {
			outcome, err := json.Marshal(map[string]string{"message": why.Error(), "node": k.d.Node.ID})
			if err != nil {
				return err
			}
			if err := k.d.Store.Complete(ctx, k.own, store.Completion{Status: "failed", Outcome: outcome, Key: fmt.Sprintf("start %d", k.own.Fence), Kind: "start"}); err != nil {
				return err
			}
			k.d.ended(k.name, k.process, "failed", why.Error())
			return nil
		}
	}
	reason := "start: " + why.Error()
	status, err := k.d.Store.ExitDaemon(ctx, k.own, store.DaemonExit{Reason: reason})
	if err == nil {
		k.d.ended(k.name, k.process, status, reason)
	}
	return err
}

// ended logs the end of an attempt, loudly when it was the last one.
func (d *Daemons) ended(name, process, status, reason string, more ...any) {
	log := d.Logger.With("daemon", name, "process", process, "reason", reason, "status", status).With(more...)
	if status == "failed" {
		log.Error("daemon failed: it is not started again")
	} else {
		log.Info("daemon ended")
	}
}

// leave has the keeper let go, or end what cannot live without this worker.
func (k *keeper) leave() { k.once.Do(func() { close(k.leaving) }) }

func (k *keeper) say(w wish) {
	select {
	case k.wishes <- w:
	default: // the keeper has enough to do, and is told again
	}
}

func (k *keeper) hear(w store.DaemonWish) {
	if w.Stop {
		k.say(wish{end: "stopped", grace: min(time.Duration(*w.GraceMS)*time.Millisecond, time.Duration(k.spec.Grace))})
	} else if w.Restart {
		k.say(wish{end: "restart asked", grace: time.Duration(k.spec.Grace)})
	}
	if w.CheckAt != nil {
		k.say(wish{check: *w.CheckAt})
	}
}

// run watches a child until its end.
func (k *keeper) run() {
	ctx := context.Background() // the end of a child is recorded whatever else ends
	var (
		reason   string    // why we ended it
		silent   bool      // write nothing of its end
		refund   bool      // it was not its fault
		failures int       // in a row
		probing  bool      // one is on its way
		asked    time.Time // when that began
		looked   time.Time // the newest wish for a check
		ready    = k.ready
		health   = "unknown"
		detail   string // of the last check
		leaving  = k.leaving
		patience <-chan time.Time
		round    = time.NewTimer(time.Hour)
	)
	defer round.Stop()
	if k.spec.checked() {
		if round.Reset(k.pace(false)); ready {
			round.Reset(rand.N(time.Duration(k.spec.Interval))) // those that were adopted together are not looked at together
		} else {
			limit := time.NewTimer(time.Duration(k.spec.Ready))
			defer limit.Stop()
			patience = limit.C
		}
	}
	probe := func() {
		if !probing && k.spec.checked() {
			probing, asked = true, time.Now()
			k.d.group.Go(k.probe)
		}
	}
	end := func(why string, grace time.Duration) {
		if reason == "" {
			reason = why
			k.child.Kill(grace)
		}
	}
	for {
		select {
		case <-k.child.Done():
			k.finish(ctx, reason, refund, silent)
			return
		case <-leaving:
			if leaving = nil; k.outlives && reason == "" {
				k.park(ctx)
				return
			}
			refund = true
			end("worker stopped", time.Duration(k.spec.Grace))
		case w := <-k.wishes:
			switch {
			case w.silent:
				silent = true
				end("somebody else owns it", w.grace)
			case w.end != "":
				end(w.end, w.grace)
			case w.check.After(looked):
				if looked = w.check; k.spec.checked() {
					probe()
				} else {
					k.d.noteHealth(store.DaemonHealth{Owner: k.owner(), Health: health}, true)
				}
			}
		case <-patience:
			if !ready {
				end(fmt.Sprintf("not ready within %v: %s", time.Duration(k.spec.Ready), cmp.Or(detail, "no check has ended")), time.Duration(k.spec.Grace))
			}
		case <-round.C:
			round.Reset(k.pace(ready))
			probe()
		case err := <-k.found:
			probing = false
			was := health
			if err == nil {
				failures = 0
				health = "healthy"
			} else if failures++; ready && failures >= k.spec.Failures {
				health = "unhealthy"
			} else if ready {
				round.Reset(time.Until(asked.Add(k.again())))
			}
			if !ready && err == nil {
				if err := k.d.Store.DaemonChild(ctx, k.owner(), k.child.PID(), k.child.Start(), true); err == nil {
					ready = true
					k.d.Logger.Info("daemon is ready", "daemon", k.name, "pid", k.child.PID())
				} else if !errors.Is(err, store.ErrFence) {
					k.d.Logger.Warn("a daemon's readiness is not recorded", "daemon", k.name, "error", err)
				}
			}
			if detail = ""; err != nil {
				detail = err.Error()
			}
			k.d.noteHealth(store.DaemonHealth{Owner: k.owner(), Health: health, Detail: detail}, health != was || !looked.IsZero())
			if health == "unhealthy" && was != health {
				k.d.Logger.Warn("daemon is unhealthy", "daemon", k.name, "pid", k.child.PID(), "failures", failures, "error", err)
			}
			if health == "unhealthy" && k.spec.Restart != "never" {
				end("unhealthy: "+detail, time.Duration(k.spec.Grace))
			}
		}
	}
}

// pace is how long after a check the next one follows. Who is not ready yet is asked more often.
func (k *keeper) pace(ready bool) time.Duration {
	if !ready {
		return min(time.Duration(k.spec.Interval), 250*time.Millisecond)
	}
	return time.Duration(k.spec.Interval)
}

// again is how long after a failed check began the next one begins: sooner by the time that a check may take, so that a
// child that hangs is found to within as many intervals as it takes failures: from two on, and where a check may take up
// to half an interval.
func (k *keeper) again() time.Duration {
	return time.Duration(max(k.spec.Interval-k.spec.Timeout, k.spec.Interval/2))
}

// finish records the end of a child. It goes on until the database has heard it, or says that it is nobody's business.
func (k *keeper) finish(ctx context.Context, reason string, refund, silent bool) {
	code, signal := k.child.Exit()
	if reason == "" {
		switch {
		case signal != nil:
			reason = "signal " + *signal
		case code != nil:
			reason = fmt.Sprintf("exit %d", *code)
		default:
			reason = "ended, nobody knows how"
		}
	}
	os.Remove(pidPath(k.dir))
	for wait := 50 * time.Millisecond; !silent; wait = min(2*wait, 5*time.Second) {
		status, err := k.d.Store.ExitDaemon(ctx, k.owner(), store.DaemonExit{Reason: reason, Code: code, Signal: signal, Refund: refund})
		if err == nil {
			k.d.ended(k.name, k.process, status, reason, "pid", k.child.PID())
			break
		}
		if store.Refused(err) || !pause(ctx, wait) || wait > time.Second && k.d.stopping() {
			k.d.Logger.Warn("a daemon's end is not recorded", "daemon", k.name, "process", k.process, "reason", reason, "error", err)
			break
		}
	}
	k.d.enter(k.process, nil)
}

func (d *Daemons) stopping() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}

// park leaves the child to the next worker of this machine.
func (k *keeper) park(ctx context.Context) {
	if err := k.d.Store.ParkDaemon(ctx, k.owner(), "worker stopped"); err != nil {
		k.d.Logger.Warn("a daemon is left without a word", "daemon", k.name, "error", err) // its lease lapses
	}
	k.child.Leave()
	k.d.enter(k.process, nil)
}

// lost is called when the lease is somebody else's, or nobody's.
func (k *keeper) lost(ctx context.Context) {
	if !k.outlives {
		k.say(wish{silent: true})
		return
	}
	now, err := k.d.Store.Daemon(ctx, k.name)
	if err != nil {
		return // the next renewal asks again
	}
	alive := now.Process != nil && *now.Process == k.process && now.PID != nil && *now.PID == k.child.PID() && now.Machine != nil && *now.Machine == k.d.place.Machine
	switch {
	case alive && now.Node == nil: // parked, while we were cut off: adopt takes it back
	case alive && *now.Node != k.d.Node.ID:
		k.leave() // another worker keeps this very child
	case !alive:
		k.say(wish{silent: true, grace: time.Duration(k.spec.Grace)})
	}
}

func (k *keeper) warnOnce(what string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.warns[what] {
		k.warns[what] = true
		k.d.Logger.Warn(what, "daemon", k.name, "error", err)
	}
}
