//go:build linux

package supervise

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/queue/queuetest"
	"github.com/towpath/towpath/store"
)

// yard is a database with daemons and the nodes that keep them; River is played by hand.
type yard struct {
	testing.TB
	pool  *pgxpool.Pool
	store *store.Store
	dir   string
	log   *heard // of the nodes
}

// heard is what nodes have logged.
type heard struct {
	mu   sync.Mutex
	text strings.Builder
}

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(p)
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String()
}

func newYard(t testing.TB) *yard {
	t.Helper()
	pool := queuetest.Pool(t)
	return &yard{TB: t, pool: pool, store: store.New(pool), dir: t.TempDir(), log: &heard{}}
}

func (y *yard) ok(err error) {
	y.Helper()
	if err != nil {
		y.Fatal(err)
	}
}

// node starts a supervisor; stop ends it as a worker's clean end does.
func (y *yard) node(name string) (d *Daemons, stop func()) {
	y.Helper()
	n := store.Node{ID: name, Incarnation: uuid.New()}
	_, err := y.store.StartNode(y.Context(), n, "v", "h", os.Getpid(), []string{"lifecycle"})
	y.ok(err)
	// Pooled: it asks by itself, since nobody listens for it here.
	d, err = NewDaemons(DaemonConfig{Store: y.store, Node: n, TTL: 9 * time.Second, Dir: y.dir, Pooled: true, Logger: slog.New(slog.NewTextHandler(y.log, nil))})
	y.ok(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); d.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		bounded, release := context.WithTimeout(context.Background(), patience)
		defer release()
		if err := d.Stop(bounded); err != nil {
			y.Error(err)
		}
		cancel()
		<-done
	}
	y.Cleanup(func() {
		y.stopAll()
		stop()
		y.clear()
	})
	return d, stop
}

// stopAll stops every daemon by its process, whatever it is.
func (y *yard) stopAll() {
	_, err := y.pool.Exec(context.Background(), "select towpath.halt(id, 'end of the test') from towpath.process where class = 'daemon' and finalized_at is null")
	if err != nil {
		y.Error(err)
	}
}

// clear leaves no process behind, whatever the test did.
func (y *yard) clear() {
	rows, err := y.pool.Query(context.Background(), "select id from towpath.process where class = 'daemon'")
	if err != nil {
		return
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if rows.Scan(&id) == nil {
			signalTagged(id, 9)
		}
	}
}

func (y *yard) spec(name, spec string) {
	y.Helper()
	y.ok(y.store.PutSpec(y.Context(), name, json.RawMessage(spec)))
}

// sh is a spec whose command is a script.
func sh(script, more string) string {
	text, _ := json.Marshal(script) // a string always marshals
	return fmt.Sprintf(`{"command": "/bin/sh", "args": ["-c", %s], "grace_s": 1, "backoff_s": 0.1%s}`, text, more)
}

// start starts a registered daemon by a person, and its child on a node.
func (y *yard) start(d *Daemons, name string) string {
	y.Helper()
	id, err := y.store.StartDaemon(y.Context(), name, "", "")
	y.ok(err)
	y.deliver(d, id)
	return id
}

// deliver hands the River job of a process to a node, as River does when it is due.
func (y *yard) deliver(d *Daemons, id string) {
	y.Helper()
	var generation int
	var job int64
	y.ok(y.pool.QueryRow(y.Context(), "select generation, coalesce(river_job_id, 0) from towpath.process where id = $1", id).Scan(&generation, &job))
	y.ok(d.Start(y.Context(), id, generation, job))
}

func (y *yard) seen(name string) store.Daemon {
	y.Helper()
	d, err := y.store.Daemon(context.Background(), name)
	y.ok(err)
	return d
}

// until waits for a daemon to be as wanted.
func (y *yard) until(name string, what string, as func(store.Daemon) bool) store.Daemon {
	y.Helper()
	deadline := time.Now().Add(patience)
	for {
		d := y.seen(name)
		if as(d) {
			return d
		}
		if time.Now().After(deadline) {
			text, _ := json.Marshal(d)
			y.Fatalf("daemon %s is never %s: %s", name, what, text)
		}
		y.ok(y.pool.QueryRow(context.Background(), "select pg_sleep(0.02)::text").Scan(new(string)))
	}
}

func (y *yard) state(name, state string) store.Daemon {
	y.Helper()
	return y.until(name, state, func(d store.Daemon) bool { return d.State == state })
}

func (y *yard) sound() {
	y.Helper()
	var broken string
	y.ok(y.pool.QueryRow(context.Background(), "select coalesce(string_agg(rule || ': ' || subject || ': ' || detail, E'\n'), '') from towpath.check()").Scan(&broken))
	if broken != "" {
		y.Errorf("broken rules:\n%s", broken)
	}
}

func (y *yard) said(name, stream string) string {
	y.Helper()
	l, err := ReadLog(y.dir, name, stream, 0, 1<<20)
	y.ok(err)
	return string(l.Data)
}

// says waits for a daemon to have said something.
func (y *yard) says(name, stream, text string) {
	y.Helper()
	y.until(name, "heard to say "+text, func(store.Daemon) bool { return strings.Contains(y.said(name, stream), text) })
}

func dead(pid int) bool { _, alive := startOf(pid); return !alive }
