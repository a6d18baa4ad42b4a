package turn

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/store"
)

const (
	maxUnflushed = 1 << 20 // bytes that one turn may have in memory only; a guest that is faster waits
	logLines     = 200     // that a turn may log in a second; the rest is counted and dropped
)

// floodSeconds is how many seconds on end a guest may want more calls than it has.
var floodSeconds = 10

// execution is one attempt of one turn on this node. Its methods that make up hostabi.Host are in host.go.
type execution struct {
	runner  *Runner
	claim   store.Claim
	owner   store.Owner
	backend Backend
	log     *slog.Logger
	began   time.Time

	ctx    context.Context // ends when the guest must stop at once; its cause says why
	cancel context.CancelCauseFunc
	firm   chan struct{} // closed once the claim is stored

	// The guest's goroutine only.
	request  []byte
	digests  digester
	head     *entry          // the journal's head, until the claim is stored
	rows     []store.Journal // read, not unpacked yet
	past     []entry         // of the journal that this attempt replays
	n        int             // number of the next call
	now      int64
	random   *rand.ChaCha8
	streams  map[uint32]*stream
	opened   uint32             // handles given out
	doubtful json.RawMessage    // what outside returned; nil when it would be something else now
	lost     map[uint32]*stream // ELOST was observed, and no request has named it in retry_of yet
	reissued int
	emitted  int     // events
	seqs     []int64 // of the events that an earlier attempt has stored
	bytes    int64   // of events, emitted in all
	written  int64   // bytes of journal
	delta    map[string][]byte
	order    []string // keys of delta, in the order of their first write
	result   []byte
	second   second
	floods   int  // seconds on end in which the guest wanted more calls than it has
	offline  bool // a re-run from the journal alone, see Offline
	ended    bool // it has come to the journal's end
	inbox    *inbox
	running  sync.WaitGroup // streams

	heard map[string]bool // inputs that were put; the poller's only

	mu       sync.Mutex
	batch    store.Batch // not flushed yet
	size     int         // bytes in batch and in flight
	packed   int         // bytes of journal in the batch before, as a guess at those of the next
	flushing bool        // a batch of this turn is on its way
	stored   int         // calls whose entries are committed
	closed   bool        // the rest goes with the commit that ends the turn
	settled  *sync.Cond  // on mu: a flush came back
	kill     *time.Timer // ends the grace of a cancel
	cause    *Cancelled
}

// second counts what is limited by the second.
type second struct {
	began   time.Time
	calls   int
	lines   int
	dropped int
}

func newExecution(r *Runner, c store.Claim, log *slog.Logger) *execution {
	x := &execution{
		runner: r, claim: c, owner: c.Owner(), began: time.Now(),
		log:     log.With("process", *c.ProcessID, "session", *c.SessionID, "profile", *c.Profile, "attempt", *c.Attempt),
		digests: newDigester(r.DigestKey),
		streams: map[uint32]*stream{}, lost: map[uint32]*stream{}, delta: map[string][]byte{}, heard: map[string]bool{},
		inbox: newInbox(), firm: make(chan struct{}),
	}
	x.settled = sync.NewCond(&x.mu)
	x.random = rand.NewChaCha8(sha256.Sum256([]byte("towpath turn random " + *c.ProcessID)))
	x.batch.Owner = x.owner
	return x
}

// call counts a host call, and sleeps to the end of the second when the turn has made too many in it. It waits for the
// database while too much is in memory only.
func (x *execution) call(ctx context.Context) error {
	x.mu.Lock()
	var err error
	if x.size > maxUnflushed {
		err = x.settle(ctx, func() bool { return x.size <= maxUnflushed })
	}
	x.mu.Unlock()
	if err != nil {
		return err
	}
	if x.replaying() {
		return nil // the attempt that made the call has counted it
	}
	now := time.Now()
	if now.Sub(x.second.began) >= time.Second {
		x.roll(now)
		x.floods = 0
	}
	x.second.calls++
	if x.second.calls <= x.backend.Limits.Calls {
		return nil
	}
	if x.floods++; x.floods >= floodSeconds {
		return &Exceeded{Limit: "calls", Text: fmt.Sprintf("more than %d host calls a second, %d seconds on end", x.backend.Limits.Calls, x.floods)}
	}
	t := time.NewTimer(time.Second - now.Sub(x.second.began))
	defer t.Stop()
	select {
	case <-t.C:
		x.roll(time.Now())
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (x *execution) roll(now time.Time) {
	if x.second.dropped > 0 {
		x.log.Warn("the guest logs too much", "dropped", x.second.dropped)
	}
	x.second = second{began: now}
}

// settle waits, with mu held, until flushes have made a condition true or ctx ends.
func (x *execution) settle(ctx context.Context, done func() bool) error {
	stop := context.AfterFunc(ctx, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.settled.Broadcast()
	})
	defer stop()
	for !done() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		x.settled.Wait()
	}
	return nil
}

// sync returns when everything up to now is committed.
func (x *execution) sync(ctx context.Context) error {
	if x.runner.NoJournal {
		return nil
	}
	x.runner.flusher.lead(ctx, x)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.stored >= x.n {
		return nil
	}
	x.runner.flusher.dirty(x, atOnce)
	return x.settle(ctx, func() bool { return x.stored >= x.n })
}

// hear puts what a client said to the turn.
func (x *execution) hear(w store.Word) {
	if w.Kind != "cancel" {
		if !x.heard[*w.ID] {
			x.heard[*w.ID] = true
			x.inbox.put(hostabi.Record{Kind: hostabi.KindInput, Payload: w.Payload})
		}
		return
	}
	var c struct {
		Reason  string `json:"reason"`
		GraceMS int64  `json:"grace_ms"`
	}
	if err := json.Unmarshal(w.Payload, &c); err != nil {
		x.log.Error("cancel request is malformed", "error", err)
		return
	}
	grace := time.Duration(c.GraceMS) * time.Millisecond
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.kill != nil {
		x.kill.Reset(grace) // asked again: a nearer deadline
		return
	}
	x.cause = &Cancelled{Reason: c.Reason}
	x.kill = time.AfterFunc(grace, func() { x.cancel(x.cause) })
	x.inbox.put(hostabi.Record{Kind: hostabi.KindCancel, Payload: object("reason", c.Reason, "grace_ns", grace.Nanoseconds())})
}

// close ends every stream and waits for them.
func (x *execution) close() {
	for _, s := range x.streams {
		s.stop()
	}
	x.running.Wait()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.kill != nil {
		x.kill.Stop()
	}
}
