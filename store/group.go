package store

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// Group makes the claims and the ends of many turns in shared transactions: half of what a call of our functions costs
// is paid once for a transaction, since Postgres makes their expressions ready anew in each. Who calls while nobody else
// does is served alone and at once. Its calls mean what those of Store mean. A Group is safe for concurrent use.
type Group struct {
	// Decided, unless nil, is told of a claim that the database has decided and not stored; until it returns nothing goes on.
	// For harnesses. Set it before the first claim.
	Decided func(Claim)

	claims gatherer[Claim]
	ends   gatherer[struct{}]
}

// Group returns one for a node.
func (s *Store) Group() *Group {
	g := &Group{
		claims: gatherer[Claim]{op: "claim", sql: claimSQL, store: s, lanes: 1, scan: pgx.RowToStructByName[Claim]},
		ends:   gatherer[struct{}]{op: "finish", sql: finishSQL, store: s, lanes: 2, scan: func(pgx.CollectableRow) (struct{}, error) { return struct{}{}, nil }},
	}
	g.claims.halves = &halves[Claim]{
		sql: claimBy("begin_claim"), rest: "select towpath.store_claim($1)", args: func(args []any) []any { return args[4:] },
		between: func(c Claim) {
			if g.Decided != nil && c.Action == ActionRun {
				g.Decided(c)
			}
		},
	}
	return g
}

// Claim is Store.Claim, and may return when the claim is decided and not stored yet. Whoever gets no error calls stored, once or
// often, which waits for the commit: until it has returned nil the claim holds for nobody, and nothing that follows from it may be written or
// leave the node.
func (g *Group) Claim(ctx context.Context, n Node, job int64, args json.RawMessage, ttl time.Duration) (c Claim, stored func() error, err error) {
	made, err := g.claims.do(ctx, claimArgs(n, job, args, ttl))
	return made.result, sync.OnceValue(func() error {
		err := made.wait()
		if err == nil {
			g.claims.store.claimed(made.result)
		}
		return err
	}), err
}

// Finish is Store.Finish.
func (g *Group) Finish(ctx context.Context, e End) error {
	_, err := g.ends.do(ctx, finishArgs(e))
	if err == nil {
		g.ends.store.wakeReaders(e.Owner.ID)
	}
	return err
}

const (
	groupMost = 32                     // calls in a transaction
	groupWait = 200 * time.Millisecond // for a lock that somebody else holds, until each goes by itself
)

// gatherer makes the calls of one function. While a transaction is on its way, those that come gather for the next one.
// A call that is refused, or waits for a lock, costs the others no more than time: nothing of the transaction remains,
// and each of its calls is made by itself.
type gatherer[T any] struct {
	op     string
	sql    string
	store  *Store
	lanes  int // transactions at once: another begins when the calls that wait fill it
	scan   pgx.RowToFunc[T]
	halves *halves[T] // of a call by itself; nil for one whose callers have nothing to do before its commit

	mu      sync.Mutex
	waiting []*call[T]
	running int // that make calls, and will make those that wait
}

// halves are a function as two of one transaction: the first answers, the rest stores.
type halves[T any] struct {
	sql, rest string
	args      func([]any) []any // that rest has of those of the call
	between   func(T)           // is told of the answer before the rest is asked for
}

type call[T any] struct {
	ctx    context.Context
	args   []any
	done   chan struct{} // there is a result, or err
	stored chan struct{} // and its commit has come back
	result T
	err    error
	lost   error // of what was to be stored behind the result
}

// wait returns when what the result tells is stored, or why it is not known to be.
func (c *call[T]) wait() error {
	<-c.stored
	return c.lost
}

func (g *gatherer[T]) do(ctx context.Context, args []any) (*call[T], error) {
	c := &call[T]{ctx: ctx, args: args, done: make(chan struct{}), stored: make(chan struct{})}
	g.mu.Lock()
	g.waiting = append(g.waiting, c)
	if g.running == 0 || g.running < g.lanes && len(g.waiting) >= groupMost {
		g.running++
		go g.run()
	}
	g.mu.Unlock()
	<-c.done // also when ctx ends: then the call fails, if nobody shares its transaction, or it is told what was stored
	return c, c.err
}

// run makes calls until none wait.
func (g *gatherer[T]) run() {
	for {
		g.mu.Lock()
		n := min(len(g.waiting), groupMost)
		calls := slices.DeleteFunc(g.waiting[:n:n], (*call[T]).givenUp)
		g.waiting = g.waiting[n:]
		if n == 0 {
			g.running--
		}
		g.mu.Unlock()
		if n == 0 {
			return
		}
		if len(calls) > 1 && g.together(calls) {
			continue
		}
		for _, c := range calls {
			go g.alone(c)
		}
		// Those that come meanwhile gather, but not for somebody who waits for a lock.
		patience := time.NewTimer(groupWait)
		for _, c := range calls {
			select {
			case <-c.stored:
			case <-patience.C:
				patience.Reset(0)
			}
		}
		patience.Stop()
	}
}

// givenUp answers a call whose caller left before it was made.
func (c *call[T]) givenUp() bool {
	if c.err = c.ctx.Err(); c.err == nil {
		return false
	}
	c.end()
	return true
}

// end tells the caller what has become of the whole call.
func (c *call[T]) end() {
	close(c.done)
	close(c.stored)
}

func (g *gatherer[T]) alone(c *call[T]) {
	if g.halves == nil {
		c.result, c.err = one(c.ctx, g.store, g.op, g.scan, g.sql, c.args...)
		c.end()
		return
	}
	known := false
	made, err := retry(c.ctx, g.op, func() (error, error) {
		err := g.early(c.ctx, c.args, func(row T) {
			known, c.result = true, row
			close(c.done)
		})
		if known { // a second try would be another call
			return err, nil
		}
		return nil, err
	})
	if known {
		c.lost = wrap(g.op, made)
		close(c.stored)
		return
	}
	c.err = err
	c.end()
}

// early makes a call as its halves, in one transaction, and hands over the answer of the first before it asks for the rest.
// It returns when the commit has come back. Between the two the server waits for us, though no longer than the first half lets it.
func (g *gatherer[T]) early(ctx context.Context, args []any, known func(T)) error {
	c, err := g.store.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	var first, rest pgx.Batch
	first.Queue("begin")
	first.Queue(g.halves.sql, args...).Query(func(rows pgx.Rows) error {
		row, err := pgx.CollectExactlyOneRow(rows, g.scan)
		if err == nil {
			known(row)
			g.halves.between(row)
		}
		return err
	})
	if err := c.SendBatch(ctx, &first).Close(); err != nil {
		_, _ = c.Exec(ctx, "rollback") // or the pool closes the connection
		return err
	}
	rest.Queue(g.halves.rest, g.halves.args(args)...)
	rest.Queue("commit")
	return c.SendBatch(ctx, &rest).Close()
}

// together makes calls in one transaction and reports whether it was committed.
func (g *gatherer[T]) together(calls []*call[T]) bool {
	ctx, cancel := untilAllEnd(calls)
	defer cancel()
	// Pipelined statements are one transaction, which the end of the pipeline commits.
	var batch pgx.Batch
	batch.Queue("select set_config('lock_timeout', $1, true)", groupWait.String())
	for _, c := range calls {
		batch.Queue(g.sql, c.args...)
	}
	answers := g.store.pool.SendBatch(ctx, &batch)
	_, err := answers.Exec()
	results := make([]T, len(calls))
	for i := range calls {
		if err != nil {
			break
		}
		var rows pgx.Rows
		if rows, err = answers.Query(); err == nil {
			results[i], err = pgx.CollectExactlyOneRow(rows, g.scan)
		}
	}
	if closed := answers.Close(); err != nil || closed != nil {
		return false
	}
	for i, c := range calls {
		c.result = results[i]
		c.end()
	}
	return true
}

// untilAllEnd makes a context that ends when all those of the calls have.
func untilAllEnd[T any](calls []*call[T]) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(calls[0].ctx))
	var live atomic.Int64
	live.Store(int64(len(calls)))
	stops := make([]func() bool, len(calls))
	for i, c := range calls {
		stops[i] = context.AfterFunc(c.ctx, func() {
			if live.Add(-1) == 0 {
				cancel()
			}
		})
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}
