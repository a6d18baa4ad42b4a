//go:build linux

package supervise

import (
	"context"

	"github.com/towpath/towpath/store"
)

// adopt takes over the daemons of this machine whose workers are dead: their children go on, or are recorded as ended.
func (d *Daemons) adopt(ctx context.Context) {
	orphans, err := d.Store.DaemonOrphans(ctx, d.place.Machine, d.Node)
	if err != nil {
		if ctx.Err() == nil {
			d.Logger.Warn("daemons that lost their worker are not looked for", "error", err)
		}
		return
	}
	for _, o := range orphans {
		if err := d.adoptOne(ctx, o); err != nil && ctx.Err() == nil {
			d.Logger.Warn("a daemon is not adopted", "daemon", o.Name, "process", o.ID, "error", err)
		}
	}
}

func (d *Daemons) adoptOne(ctx context.Context, o store.Orphan) error {
	d.mu.Lock()
	mine, known := d.keepers[o.ID]
	closed := d.closed
	if !known && !closed {
		d.keepers[o.ID] = nil
	}
	d.mu.Unlock()
	switch {
	case closed, known && mine == nil:
		return nil
	case known:
		// Our own, which others took for lost while we were cut off from the database.
		a, err := d.Store.AdoptDaemon(ctx, o, d.Node, d.TTL)
		if err == nil && a.Fence != nil {
			mine.mu.Lock()
			mine.own.Fence = *a.Fence
			mine.mu.Unlock()
		}
		return err
	}
	k, err := d.takeOver(ctx, o)
	d.enter(o.ID, k)
	return err
}

func (d *Daemons) takeOver(ctx context.Context, o store.Orphan) (*keeper, error) {
	over := o.Boot != d.place.Boot && rebooted(d.place.Boot, o.Boot)
	if !over && (o.Boot != d.place.Boot || o.Worker != d.Node.Incarnation && !d.workerDead(o.Worker, o.Leased)) {
		return nil, nil // its numbers mean nothing here, or its worker lives
	}
	spec, err := readSpec(o.Spec)
	if err != nil {
		return nil, err
	}
	k := d.keeper(o.ID, o.Name, store.Owner{No: o.No, ID: o.ID})
	k.spec, k.outlives = spec, true
	if o.Port != nil {
		k.port = *o.Port
	}
	a, err := d.Store.AdoptDaemon(ctx, o, d.Node, d.TTL)
	if err != nil || a.Fence == nil {
		return nil, err
	}
	k.own.Fence = *a.Fence
	if err := k.prepare(); err != nil {
		return nil, err // the lease lapses, and somebody tries again
	}
	child, alive := (*free)(nil), false
	if !over {
		child, alive = k.find(o)
	}
	if !alive {
		reason := "ended while its worker was gone"
		if over {
			reason = "the machine was restarted"
		}
		killTagged(o.ID)
		status, err := d.Store.ExitDaemon(ctx, k.own, store.DaemonExit{Reason: reason, Refund: over || o.PID == nil})
		if err == nil {
			d.ended(o.Name, o.ID, status, reason)
		}
		return nil, err
	}
	k.child = child
	k.ready = o.Ready || !spec.checked()
	file := pidFile{PID: child.pid, Port: k.port, Owner: spec.Session, Command: spec.Command, Start: child.start, Boot: d.place.Boot, Process: o.ID,
		Attempt: *a.Attempt, Fence: *a.Fence}
	if before, ok := readPID(k.dir); ok && before.Process == o.ID {
		file.Command, file.StartedAt = before.Command, before.StartedAt
	}
	if err := file.write(k.dir); err != nil {
		k.warnOnce("a PID file is not written", err)
	}
	if err := d.Store.DaemonChild(ctx, k.own, child.pid, child.start, k.ready); err != nil {
		child.Leave()
		return nil, err
	}
	d.Logger.Info("daemon adopted", "daemon", o.Name, "process", o.ID, "pid", child.pid)
	return k, nil
}

// find looks for the child of an orphan: by its row, or, where the worker died before it was written, by the PID file, or
// by what the kernel keeps of its start.
func (k *keeper) find(o store.Orphan) (*free, bool) {
	if o.PID != nil {
		return adoptChild(o.ID, *o.PID, uint64(*o.Start))
	}
	if f, ok := readPID(k.dir); ok && f.Process == o.ID && f.Attempt == o.Attempt && f.Boot == o.Boot {
		return adoptChild(o.ID, f.PID, f.Start)
	}
	for _, pid := range tagged(o.ID) {
		if start, alive := startOf(pid); alive {
			if child, ok := adoptChild(o.ID, pid, start); ok {
				return child, true
			}
		}
	}
	return nil, false
}
