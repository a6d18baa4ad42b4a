//go:build linux

package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/towpath/towpath/store"
)

// ErrStopping says that this node takes no more daemons.
var ErrStopping = errors.New("supervise: the node stops")

// ErrBusy says that a daemon's last child is just being put away: ask again soon.
var ErrBusy = errors.New("supervise: the daemon's last end is not recorded yet")

// DaemonConfig is what Daemons need.
type DaemonConfig struct {
	Store  *store.Store
	Node   store.Node
	TTL    time.Duration // of a lease; renewed every third of it
	Dir    string        // of logs and PID files; shared by the workers of a machine
	Pooled bool          // nobody calls Told: ask every second
	Logger *slog.Logger
}

const (
	askEvery   = time.Second            // what is wanted, without notifications
	tellEvery  = 30 * time.Second       // what rounds of health find, if nothing changed
	tellSoon   = 200 * time.Millisecond // what did change
	trimEvery  = time.Second
	feedMargin = 2 * time.Second // before a lease may lapse its guarded children end
	probes     = 64              // at once
)

// Daemons are those of one node.
type Daemons struct {
	DaemonConfig
	place  store.Place
	lock   *os.File
	client *http.Client
	room   chan struct{} // of probes
	ask    chan struct{}
	tell   chan struct{}

	mu      sync.Mutex
	keepers map[string]*keeper // by process; nil while one is being claimed
	found   map[int64]store.DaemonHealth
	closed  bool
	group   sync.WaitGroup
	sockets map[int][]string // listeners as of seenAt
	seenAt  time.Time
}

// NewDaemons makes the folder, and the lock by which other workers of this machine see that this one lives.
func NewDaemons(c DaemonConfig) (*Daemons, error) {
	d := &Daemons{DaemonConfig: c, keepers: map[string]*keeper{}, found: map[int64]store.DaemonHealth{}, room: make(chan struct{}, probes),
		ask: make(chan struct{}, 1), tell: make(chan struct{}, 1)}
	d.client = &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute, DisableCompression: true, Proxy: nil},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	var err error
	if d.place, err = thisPlace(); err != nil {
		return nil, fmt.Errorf("supervise: name this machine: %w", err)
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("supervise: folder of daemons: %w", err)
	}
	if d.lock, _, err = lockFile(d.lockPath(c.Node.Incarnation), true); err != nil {
		return nil, fmt.Errorf("supervise: lock in the folder of daemons: %w", err)
	}
	return d, nil
}

func (d *Daemons) lockPath(incarnation uuid.UUID) string {
	return filepath.Join(d.Dir, ".worker-"+incarnation.String())
}

// workerDead reports whether a worker of this machine is known to be dead. What says so is its lock, which the kernel
// frees; a worker without one, of another folder, is only known by its lease.
func (d *Daemons) workerDead(incarnation uuid.UUID, leased bool) bool {
	path := d.lockPath(incarnation)
	f, free, err := lockFile(path, false)
	switch {
	case err != nil:
		return !leased && errors.Is(err, os.ErrNotExist)
	case !free:
		return false
	}
	f.Close()
	return true
}

// Told says that something may be wanted of a daemon. It never blocks.
func (d *Daemons) Told() { poke(d.ask) }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run keeps leases and books until ctx ends: end it after Stop.
func (d *Daemons) Run(ctx context.Context) {
	var loops sync.WaitGroup
	every := func(period time.Duration, wake <-chan struct{}, do func(context.Context)) {
		loops.Go(func() {
			t := time.NewTicker(period)
			defer t.Stop()
			for {
				select {
				case <-t.C:
				case <-wake:
				case <-ctx.Done():
					return
				}
				do(ctx)
			}
		})
	}
	asking := d.TTL / 3
	if d.Pooled {
		asking = min(asking, askEvery)
	}
	d.adopt(ctx)
	every(d.TTL/3, nil, func(ctx context.Context) { d.renew(ctx); d.adopt(ctx) })
	every(asking, d.ask, d.listen)
	every(tellEvery, nil, d.report)
	every(trimEvery, nil, func(context.Context) { d.trim() })
	loops.Go(func() {
		for {
			select {
			case <-d.tell:
			case <-ctx.Done():
				return
			}
			if pause(ctx, tellSoon) { // others may have changed with it
				d.report(ctx)
			}
		}
	})
	loops.Wait()
}

// list are the keepers of now.
func (d *Daemons) list() []*keeper {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]*keeper, 0, len(d.keepers))
	for _, k := range d.keepers {
		if k != nil {
			list = append(list, k)
		}
	}
	return list
}

func (d *Daemons) renew(ctx context.Context) {
	list := d.list()
	if len(list) == 0 {
		return
	}
	nos := make([]int64, len(list))
	for i, k := range list {
		nos[i] = k.owner().No
	}
	asked := time.Now()
	held, err := d.Store.RenewOnly(ctx, d.Node, d.TTL, nos)
	if err != nil {
		if ctx.Err() == nil {
			d.Logger.Warn("leases of daemons are not renewed", "daemons", len(list), "error", err)
		}
		return
	}
	for _, k := range list {
		if o := k.owner(); held[o.No] == o.Fence {
			k.child.Feed(d.allowance() - time.Since(asked))
		} else {
			k.lost(ctx)
		}
	}
}

// allowance is how long a guarded child may live by a lease that was asked for now.
func (d *Daemons) allowance() time.Duration { return d.TTL - min(feedMargin, d.TTL/4) }

// listen does what is wanted.
func (d *Daemons) listen(ctx context.Context) {
	list := d.list()
	if len(list) == 0 {
		return
	}
	wishes, err := d.Store.DaemonWishes(ctx, d.Node)
	if err != nil {
		if ctx.Err() == nil {
			d.Logger.Warn("what is wanted of daemons is not known", "error", err)
		}
		return
	}
	byNo := map[int64]*keeper{}
	for _, k := range list {
		byNo[k.owner().No] = k
	}
	for _, w := range wishes {
		if k := byNo[w.No]; k != nil && k.owner().Fence == w.Fence {
			k.hear(w)
		}
	}
}

// noteHealth keeps what a check found for the next report; one that changed something is told soon.
func (d *Daemons) noteHealth(h store.DaemonHealth, changed bool) {
	d.mu.Lock()
	d.found[h.No] = h
	d.mu.Unlock()
	if changed {
		poke(d.tell)
	}
}

func (d *Daemons) report(ctx context.Context) {
	d.mu.Lock()
	found := make([]store.DaemonHealth, 0, len(d.found))
	for _, h := range d.found {
		found = append(found, h)
	}
	clear(d.found)
	d.mu.Unlock()
	if len(found) == 0 {
		return
	}
	if err := d.Store.CheckedDaemons(ctx, found); err != nil && ctx.Err() == nil {
		d.Logger.Warn("the health of daemons is not recorded", "daemons", len(found), "error", err)
		d.mu.Lock()
		for _, h := range found {
			if _, newer := d.found[h.No]; !newer {
				d.found[h.No] = h
			}
		}
		d.mu.Unlock()
	}
}

func (d *Daemons) trim() {
	for _, k := range d.list() {
		for _, stream := range []string{Stdout, Stderr} {
			if err := trim(logFile(k.dir, stream), k.spec.LogBytes); err != nil && !errors.Is(err, os.ErrNotExist) {
				k.warnOnce("a log is not bounded: the folder of daemons must be on a file system with holes", err)
			}
		}
	}
}

// Stop takes no more daemons, ends those that die with the worker, side by side, and leaves the others to the next
// worker of this machine. ctx bounds it.
func (d *Daemons) Stop(ctx context.Context) error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	for _, k := range d.list() {
		k.leave()
	}
	ended := make(chan struct{})
	go func() { d.group.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done():
		return fmt.Errorf("supervise: stop daemons: %w", context.Cause(ctx))
	}
	d.client.CloseIdleConnections()
	os.Remove(d.lockPath(d.Node.Incarnation))
	return d.lock.Close()
}

// pause waits, and reports whether ctx is still alive after it.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
