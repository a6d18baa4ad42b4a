package turn

import (
	"bytes"
	"context"
	"errors"
	"net"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/queue"
	"github.com/towpath/towpath/store"
)

// thief is a connection that loses the answer to a statement: the server has done it, and nobody is told.
type thief struct {
	net.Conn
	statement []byte
	left      *atomic.Int32 // answers to lose
	sent      bool
}

var errStolen = errors.New("connection reset by the test")

func (c *thief) Write(p []byte) (int, error) {
	c.sent = c.sent || bytes.Contains(p, c.statement)
	return c.Conn.Write(p)
}

func (c *thief) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.sent && c.left.Add(-1) >= 0 {
		_ = c.Conn.Close()
		return 0, errStolen
	}
	c.sent = false
	return n, err
}

// steal makes the bench's nodes lose the answers to some statements that hold a text.
func (b *bench) steal(statement string, answers int32) {
	b.t.Helper()
	left := &atomic.Int32{}
	left.Store(answers)
	cfg := b.pool.Config().Copy()
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec // the text in every message
	cfg.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return &thief{Conn: c, statement: []byte(statement), left: left}, err
	}
	pool, err := pgxpool.NewWithConfig(b.t.Context(), cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(pool.Close)
	b.store = store.New(pool)
	b.runner = b.node("robbed")
}

func TestWhoseAnswerIsLostIsStoredOnce(t *testing.T) {
	for statement, g := range map[string]guest{
		"towpath.append(": func(ctx context.Context, h hostabi.Host) error {
			emit(ctx, t, h, "a")
			if err := h.(*execution).sync(ctx); err != nil {
				return err
			}
			emit(ctx, t, h, "b")
			return finish(ctx, h)
		},
		"towpath.finish(": func(ctx context.Context, h hostabi.Host) error {
			emit(ctx, t, h, "a")
			emit(ctx, t, h, "b")
			return finish(ctx, h)
		},
	} {
		t.Run(statement, func(t *testing.T) {
			b := newBench(t)
			b.steal(statement, 1)
			b.guest = g
			id := b.submitted("p")
			if err := b.work(t.Context(), b.runner, id); err != nil {
				t.Fatal(err)
			}
			got, _ := b.transcript(id)
			if p := b.process(id); p.Status != "completed" || got != "message.delta{\"text\": \"a\"}\nmessage.delta{\"text\": \"b\"}" {
				t.Errorf("%s %s: %s\n%s", p.Status, p.Outcome, got, b.log(id))
			}
			b.check()
		})
	}
}

// A turn that goes back stores what it has first.
func TestAReturnWhoseAnswerIsLostKeepsTheJournal(t *testing.T) {
	b := newBench(t)
	b.steal("towpath.append(", 1)
	first := true
	b.guest = func(ctx context.Context, h hostabi.Host) error {
		emit(ctx, t, h, "a")
		if first {
			first = false
			return errors.New("the host's trouble")
		}
		return finish(ctx, h)
	}
	id := b.submitted("p")
	for range 2 {
		if err := b.work(t.Context(), b.runner, id); err != nil {
			t.Fatal(err)
		}
	}
	if p := b.process(id); p.Status != "completed" || strings.Count(b.log(id), "message.delta") != 1 {
		t.Errorf("%s %s\n%s", p.Status, p.Outcome, b.log(id))
	}
	b.check()
}

// The server ends a connection while it is in the middle of a flush, or of the commit that ends a turn: nothing of that is
// stored, and all of it by the next try, once.
//
// feature: D13
func TestTheServerFailsInTheMiddleOfAFlush(t *testing.T) {
	for statement, sync := range map[string]bool{"towpath.append(": true, "towpath.finish(": false} {
		t.Run(statement, func(t *testing.T) {
			b := newBench(t)
			spoken, proceed := make(chan struct{}), make(chan struct{})
			b.guest = func(ctx context.Context, h hostabi.Host) error {
				emit(ctx, t, h, "a")
				if err := h.(*execution).sync(ctx); err != nil {
					return err
				}
				close(spoken)
				<-proceed
				emit(ctx, t, h, "b")
				if sync {
					if err := h.(*execution).sync(ctx); err != nil {
						return err
					}
				}
				return finish(ctx, h)
			}
			id := b.submitted("p")
			done := make(chan error, 1)
			go func() { done <- b.work(t.Context(), b.runner, id) }()
			b.reached(spoken, done)
			lock, err := b.pool.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = lock.Rollback(context.WithoutCancel(t.Context())) }()
			if _, err := lock.Exec(t.Context(), "select from towpath.process where id = $1 for update", id); err != nil {
				t.Fatal(err)
			}
			close(proceed)
			for ended := 0; ended == 0; { // once it is at work, which is to wait for the lock
				if err := b.pool.QueryRow(t.Context(), `select count(pg_terminate_backend(pid)) from pg_stat_activity
					where datname = current_database() and wait_event_type = 'Lock' and strpos(query, $1) > 0`, statement).Scan(&ended); err != nil {
					t.Fatal(err)
				}
			}
			if err := lock.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			got, _ := b.transcript(id)
			if p := b.process(id); p.Status != "completed" || got != "message.delta{\"text\": \"a\"}\nmessage.delta{\"text\": \"b\"}" {
				t.Errorf("%s %s: %s\n%s", p.Status, p.Outcome, got, b.log(id))
			}
			b.check()
		})
	}
}

// The worker stops while a call waits for its commit: what the turn had said is stored, once, and the next attempt goes on from there.
func TestAWorkerThatStopsInTheCommitBeforeACallLosesNothing(t *testing.T) {
	b := newBench(t)
	stopped, stop := context.WithCancelCause(t.Context())
	b.runner.Fault = func(p Point) {
		if p.Name == AtAppend {
			stop(queue.ErrStopping)
		}
	}
	b.guest = func(ctx context.Context, h hostabi.Host) error {
		emit(ctx, t, h, "a")
		if err := h.(*execution).sync(ctx); err != nil {
			return err
		}
		emit(ctx, t, h, "b")
		return finish(ctx, h)
	}
	id := b.submit("")
	for _, ctx := range []context.Context{stopped, t.Context()} {
		if p := b.process(id); p.Status != "queued" {
			t.Fatalf("%s %s", p.Status, p.Outcome)
		}
		if err := b.work(ctx, b.runner, id); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := b.transcript(id); got != "message.delta{\"text\": \"a\"}\nmessage.delta{\"text\": \"b\"}" {
		t.Errorf("%s\n%s", got, b.log(id))
	}
	if p := b.process(id); p.Status != "completed" {
		t.Errorf("%s %s", p.Status, p.Outcome)
	}
	b.check()
}

// An outside call of the only turn waits for its commit, and for no goroutine that makes it.
func TestALoneTurnMakesItsOwnCommit(t *testing.T) {
	b := newBench(t)
	var made []string
	b.runner.Fault = func(p Point) {
		if p.Name == AtAppend {
			made = append(made, string(debug.Stack()))
		}
	}
	b.run(func(ctx context.Context, h hostabi.Host) error {
		emit(ctx, t, h, "a")
		if err := h.(*execution).sync(ctx); err != nil {
			return err
		}
		return finish(ctx, h)
	})
	if len(made) != 1 || !strings.Contains(made[0], "(*execution).sync(") {
		t.Errorf("%d commits, the first by\n%s", len(made), strings.Join(made, "\n"))
	}
}
