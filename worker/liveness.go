package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/towpath/towpath/store"
)

// liveness tells peers that this node lives, and takes over from the next node in the ring when it dies.
//
// The node holds an advisory lock on a connection of its own. When it dies, the kernel closes the connection, Postgres
// frees the lock, and the peer that waits for it is awake within milliseconds. Fences make a mistake harmless: who is
// taken for dead can write nothing.
type liveness struct {
	store *store.Store
	node  store.Node
	ttl   time.Duration
	log   *slog.Logger

	mu      sync.Mutex
	watcher uint32 // server process of the watching connection, 0 while there is none
	joined  chan struct{}
}

func newLiveness(db *store.Store, node store.Node, ttl time.Duration, log *slog.Logger) *liveness {
	return &liveness{store: db, node: node, ttl: ttl, log: log, joined: make(chan struct{}, 1)}
}

const (
	reconnectAfter = 200 * time.Millisecond
	aloneFor       = 30 * time.Second // until a lone node looks for others, if nobody says that he joined
	sparedFor      = time.Second
	lockedFor      = 20 * time.Millisecond // until a dead node's processes are looked at again
)

func (l *liveness) run(ctx context.Context) {
	var group sync.WaitGroup
	group.Go(func() { l.keep(ctx, "lock", l.hold) })
	group.Go(func() { l.keep(ctx, "watch", l.watch) })
	group.Wait()
}

// keep runs a part with a connection of its own, and again with a new one when that breaks.
func (l *liveness) keep(ctx context.Context, what string, part func(context.Context, *pgx.Conn) error) {
	for {
		c, err := l.store.Connect(ctx)
		if err == nil {
			err = part(ctx, c)
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			_ = c.Close(closing)
			cancel()
		}
		if ctx.Err() != nil {
			return
		}
		l.log.Warn("liveness connection is lost", "part", what, "error", err)
		t := time.NewTimer(reconnectAfter)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// hold holds the node's lock until the connection breaks. Leases that peers have taken meanwhile the next renewal
// finds; the others are still ours.
func (l *liveness) hold(ctx context.Context, c *pgx.Conn) error {
	for {
		held, err := store.Hold(ctx, c, l.node)
		if err != nil {
			return err
		}
		if held {
			break
		}
	}
	_, err := c.WaitForNotification(ctx) // nobody notifies: it returns when the connection ends
	return err
}

// watch waits for the next node in the ring, and repairs what a dead one has left.
func (l *liveness) watch(ctx context.Context, c *pgx.Conn) error {
	l.setWatcher(c.PgConn().PID())
	defer l.setWatcher(0)
	for {
		peer, err := store.Watch(ctx, c, l.node, l.ttl)
		if err != nil {
			return err
		}
		switch peer.State {
		case store.PeerLost:
			ids, err := l.store.Sweep(ctx, l.ttl, *peer.Incarnation, sweepBatch)
			l.log.Warn("node died; its processes are taken over", "peer", *peer.ID, "processes", len(ids), "error", err)
			if err == nil {
				// Of no effect while some are left, for example because a client has locked them.
				err = l.store.LostNode(ctx, store.Node{ID: *peer.ID, Incarnation: *peer.Incarnation})
			}
			if err != nil {
				return err
			}
			if len(ids) == 0 {
				l.wait(ctx, lockedFor)
			}
		case store.PeerAlone:
			l.wait(ctx, aloneFor)
		case store.PeerSpared:
			l.wait(ctx, sparedFor)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

func (l *liveness) setWatcher(pid uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watcher = pid
}

// wait waits for a while, or until somebody has joined.
func (l *liveness) wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.joined:
	case <-ctx.Done():
	}
}

// nodeJoined has the watcher look at the ring anew.
func (l *liveness) nodeJoined(ctx context.Context) {
	select {
	case l.joined <- struct{}{}:
	default:
	}
	l.mu.Lock()
	pid := l.watcher
	l.mu.Unlock()
	if pid != 0 {
		if err := l.store.Nudge(ctx, pid); err != nil && ctx.Err() == nil {
			l.log.Warn("the watching connection is not told of a new node", "error", err)
		}
	}
}
