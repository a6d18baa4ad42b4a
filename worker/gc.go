package worker

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/towpath/towpath/hostabi/engine"
	"github.com/towpath/towpath/queue"
	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker/storage"
)

// orphanAge is how old a directory must be before it is nobody's: one is made before it is recorded.
const orphanAge = time.Hour

// dueBatch is how many evictions are fetched at a time.
const dueBatch = 2000

// removers is how many sessions' files are removed side by side: each waits for the file system, or the cluster.
const removers = 4

// Collected is what a node has removed because nobody needs it any more.
type Collected struct {
	Node      string   `json:"node"`
	Evicted   int      `json:"evicted"`   // storage of sessions
	Orphans   int      `json:"orphans"`   // directories of no session
	Temporary int      `json:"temporary"` // folders of processes that were killed
	Modules   int      `json:"modules"`   // compiled modules that were not used for longest
	Trouble   []string `json:"trouble,omitempty"`
}

func (c Collected) any() bool {
	return c.Evicted+c.Orphans+c.Temporary+c.Modules+len(c.Trouble) > 0
}

// collector removes from this node what nobody needs any more: at a signal, and by itself when none has come for a while.
type collector struct {
	store *store.Store
	node  store.Node
	roots []storage.Place
	cache *engine.Engine
	log   *slog.Logger
	every time.Duration
	temp  string // where processes make folders for a while
	wake  chan struct{}
	mu    sync.Mutex // of collect
}

// run collects when woken, and unasked after every; with LISTEN that is a fallback, so it waits for twice as long.
func (c *collector) run(ctx context.Context, pooled bool) {
	patience := 2 * c.every
	if pooled {
		patience = c.every
	}
	for {
		t := time.NewTimer(patience)
		select {
		case <-c.wake:
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
		t.Stop()
		if _, err := c.collect(ctx); err != nil && ctx.Err() == nil {
			c.log.Warn("collecting what nobody needs failed", "error", err)
		}
	}
}

// nudge has run collect soon. It never blocks.
func (c *collector) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// collect removes what nobody needs any more, and puts on record what that was. What cannot be removed is told and stays;
// the error is of the database or ctx.
func (c *collector) collect(ctx context.Context) (Collected, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	done := Collected{Node: c.node.ID}
	trouble := func(err error) {
		if err != nil {
			done.Trouble = append(done.Trouble, err.Error())
			c.log.Warn("something cannot be removed", "error", err)
		}
	}
	var errs []error
	for _, place := range c.roots {
		n, err := c.evict(ctx, place, trouble)
		done.Evicted += n
		errs = append(errs, err)
		var database error
		n, err = place.Orphans(ctx, orphanAge, func(names []string) ([]string, error) {
			known, err := c.store.KnownStorage(ctx, place.At().Root, names)
			database = err
			return known, err
		})
		done.Orphans += n
		if database != nil {
			errs = append(errs, database)
		} else {
			trouble(err)
		}
	}
	if c.cache != nil {
		done.Modules = c.cache.Clean()
	}
	n, err := removeLeftovers(c.temp, leftoverAge)
	done.Temporary = n
	trouble(err)
	err = errors.Join(errs...)
	if err == nil && done.any() {
		err = c.store.ReportCollected(ctx, c.node.ID, done)
		c.log.Info("collected", "report", done)
	}
	return done, err
}

// evict removes the files of the sessions whose storage is due. What goes by itself from now on is no trouble; the next run
// finds it gone.
func (c *collector) evict(ctx context.Context, place storage.Place, trouble func(error)) (n int, err error) {
	failed := map[string]bool{}
	for {
		due, err := c.store.DueStorage(ctx, []string{place.At().Root}, dueBatch+len(failed))
		if err != nil {
			return n, err
		}
		outcomes := remove(ctx, place, slices.DeleteFunc(due, func(d store.Storage) bool { return failed[d.Session] }))
		if len(outcomes) == 0 {
			return n, context.Cause(ctx)
		}
		if err := c.store.GoneStorage(ctx, outcomes); err != nil {
			return n, err
		}
		for session, err := range outcomes {
			switch {
			case err == nil:
				n++
				continue
			case !errors.Is(err, storage.ErrGoing):
				trouble(err)
			}
			failed[session] = true
		}
	}
}

// remove removes the files of sessions, a few side by side, and says what became of each that it came to before ctx ended.
func remove(ctx context.Context, place storage.Place, due []store.Storage) map[string]error {
	outcomes := map[string]error{}
	var (
		mu   sync.Mutex
		hand sync.WaitGroup
		next = make(chan store.Storage)
	)
	for range removers {
		hand.Go(func() {
			for d := range next {
				err := place.Remove(ctx, d.Name)
				mu.Lock()
				outcomes[d.Session] = err
				mu.Unlock()
			}
		})
	}
	for _, d := range due {
		if ctx.Err() != nil {
			break
		}
		next <- d
	}
	close(next)
	hand.Wait()
	return outcomes
}

// handle is the job gc: it wakes all nodes, collects on this one, and leaves the report in the job's row.
func (c *collector) handle(ctx context.Context) error {
	if err := c.store.WakeCollectors(ctx); err != nil {
		return err
	}
	done, err := c.collect(ctx)
	if err != nil {
		return err
	}
	return queue.Output(ctx, done)
}

// Collect removes from a root and a folder of temporary files what nobody needs any more, as a node does by itself.
func Collect(ctx context.Context, db *store.Store, node store.Node, root storage.Place, temp string, log *slog.Logger) (Collected, error) {
	c := &collector{store: db, node: node, roots: []storage.Place{root}, log: log, temp: temp}
	return c.collect(ctx)
}
