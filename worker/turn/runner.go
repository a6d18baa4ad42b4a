package turn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker/trace"
)

// Outbound sends the requests of a profile's guests; *egress.Client is one.
type Outbound interface {
	Open(ctx context.Context, head hostabi.HTTPHead, body []byte, own http.Header) (*http.Response, error)
}

// Limits of a turn. Every field is set.
type Limits struct {
	EventBytes  int64         // one event
	EventsBytes int64         // all events of an attempt
	Handles     int           // open at once
	Journal     int64         // bytes of recorded calls; 0: 256 MiB
	Calls       int           // host calls a second; a guest that makes more is slowed down, and ended when it goes on
	Idle        time.Duration // without anything to observe, while the guest waits
}

// Backend is what a turn needs of its profile, for the length of one attempt.
type Backend struct {
	Run    func(context.Context, hostabi.Host) error // a fresh instance of the module
	Digest string                                    // of the module and the state that its turns begin with: a replay needs both
	HTTP   Outbound
	// Proc gives the command that the profile permits a guest, or refuses with an *hostabi.Error; nil: none is.
	Proc    func(context.Context, hostabi.ProcSpec) (Command, error)
	Redact  func([]byte) []byte // scrubs exact secret values; nil when there are none
	Config  json.RawMessage
	Limits  Limits
	InDoubt string // retry, fail or ask: what becomes of calls whose outcome is unknown
	Release func() // the attempt is over
}

func (b Backend) redact(p []byte) []byte {
	if b.Redact == nil {
		return p
	}
	return b.Redact(p)
}

// Config is what a Runner needs.
type Config struct {
	Store *store.Store
	Node  store.Node
	TTL   time.Duration // of a lease; renewed every third of it
	// DigestKey keys the digests in journals: the deployment's, the same on all nodes.
	DigestKey []byte
	Pooled    bool // no LISTEN: ask for control words every half second while turns run
	Logger    *slog.Logger
	// JobLog, if set, is the logger of the job that a context belongs to; what a turn logs goes there. Default: Logger.
	JobLog func(context.Context) *slog.Logger
	// Backend gives the profile by name, once there is room for one more turn of it, or an error when this node does
	// not have it.
	Backend func(ctx context.Context, name string) (Backend, error)
	// Pinned is Backend with the module that a turn began with, Backend.Digest, or, where nobody has that any more, with
	// the present one. nil: Backend.
	Pinned func(ctx context.Context, name, digest string) (Backend, error)
	// Observe, if set, is told of each attempt that has ended here. Many call it at once.
	Observe func(Done)
	// Warned, if set, is told what a profile's guests log as warnings and errors.
	Warned func(profile string, level slog.Level, line string)
	// Tracer records spans of turns; nil: none.
	Tracer *trace.Tracer
	// Fault, if set, is told where turns stand, by the goroutine that stands there. For a harness.
	Fault func(Point)
	// NoJournal leaves out the journal, and with it all that it is good for. For a benchmark.
	NoJournal bool
	// Joined, if set, is called when the control channel says that the ring of nodes may have changed.
	Joined func(ctx context.Context)
	// Told, if set, is called when the control channel says that something is wanted of processes, whosever they are.
	Told func()
	// Collect, if set, is called when the control channel asks every node to collect what nobody needs. It must not block.
	Collect func()
	// Dir, if set, gives the directory in which the children of a session's turns work; nil, or an empty answer: each has one
	// of its own, which goes with it. The code of a hostabi.Error is told to the guest.
	Dir func(ctx context.Context, session string) (string, error)
}

// Runner executes turns on this node.
type Runner struct {
	Config
	flusher *flusher
	group   *store.Group
	brood   brood
	renewed atomic.Int64 // Unix ns of the last renewal that the database has confirmed

	mu       sync.Mutex
	running  map[string]*execution // by process id
	claiming int
	missed   map[string]struct{} // told about while claims were on their way
	ask      chan struct{}       // poll now
	asked    map[string]struct{}
	all      bool
}

// New makes a Runner; Run it before the first Handle.
func New(c Config) *Runner {
	if c.JobLog == nil {
		c.JobLog = func(context.Context) *slog.Logger { return c.Logger }
	}
	r := &Runner{Config: c, running: map[string]*execution{}, missed: map[string]struct{}{},
		ask: make(chan struct{}, 1), asked: map[string]struct{}{}}
	r.renewed.Store(time.Now().UnixNano())
	r.flusher, r.group = newFlusher(r), c.Store.Group()
	if r.Fault != nil {
		r.group.Decided = func(c store.Claim) { r.Fault(Point{Process: *c.ProcessID, Name: AtClaim}) }
	}
	return r
}

// Run flushes events, renews leases and listens for what clients say, until ctx ends. End it after the last Handle
// has returned.
func (r *Runner) Run(ctx context.Context) {
	defer r.brood.guards.Close()
	var group sync.WaitGroup
	group.Go(func() { r.flusher.run(ctx) })
	group.Go(func() { r.renew(ctx) })
	group.Go(func() { r.poll(ctx) })
	if !r.Pooled {
		group.Go(func() { r.listen(ctx) })
	}
	group.Wait()
}

// Handle works one turn job. A nil error means that the River row has done its part, whatever became of the turn.
// An error of package store that is Refused means that the job's args are wrong.
func (r *Runner) Handle(ctx context.Context, job int64, args json.RawMessage) error {
	r.mu.Lock()
	r.claiming++
	r.mu.Unlock()
	asked := time.Now()
	c, stored, err := r.group.Claim(ctx, r.Node, job, args, r.TTL)
	var x *execution
	if err == nil && c.Action == store.ActionRun {
		x = newExecution(r, c, r.JobLog(ctx))
		x.ctx, x.cancel = context.WithCancelCause(x.trace(ctx, job, asked))
	}
	var ours bool
	var v verdict
	var claimed sync.WaitGroup
	claimed.Go(func() {
		if err == nil {
			err = stored()
		}
		ours = r.register(x, err)
	})
	if x != nil && !*c.Resume { // a replay reads what the database has
		v = r.execute(x)
	}
	claimed.Wait()
	if err != nil {
		if x != nil {
			x.fault(AtLeft, 0)
		}
		return err
	}
	if !ours {
		if c.Detail != nil {
			r.JobLog(ctx).Info("the job has nothing to do", "action", c.Action, "detail", *c.Detail)
		}
		if c.Action == store.ActionElsewhere {
			return ErrElsewhere
		}
		return nil
	}
	defer r.unregister(x)
	if *c.Resume {
		v = r.execute(x)
	}
	// What the turn still has to write must not die with the job's context.
	closing, cancel := context.WithTimeout(context.WithoutCancel(x.ctx), 2*r.TTL)
	defer cancel()
	closing, finish := r.Tracer.Start(closing, "finish")
	err = x.settleTurn(closing, v)
	trace.End(finish, err)
	x.tell(v)
	x.traced(v)
	x.fault(AtLeft, 0)
	return err
}

// register lets an execution, if there is one, go on once its claim is stored, and hands it what was said meanwhile. It is
// false when there is nothing to execute, or this node executes it already.
func (r *Runner) register(x *execution, err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.claiming--
	missed := r.missed
	if r.claiming == 0 {
		r.missed = map[string]struct{}{}
	}
	if x == nil {
		return false
	}
	id := *x.claim.ProcessID
	if err != nil || r.running[id] != nil {
		x.cancel(errLost)
		x.traced(verdict{nothing: true})
		return false
	}
	r.running[id] = x
	close(x.firm)
	if _, told := missed[id]; told || *x.claim.Words {
		r.request(id)
	}
	return true
}

func (r *Runner) unregister(x *execution) {
	x.cancel(nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.running, *x.claim.ProcessID)
}

// execute runs the guest of a registered execution and decides what becomes of the turn.
func (r *Runner) execute(x *execution) (v verdict) {
	b, err := x.engage(x.ctx)
	switch {
	case x.ctx.Err() != nil:
		if err == nil {
			b.Release()
		}
		return x.decide(context.Cause(x.ctx))
	case err != nil:
		return verdict{refund: true, delay: backoff(*x.claim.Attempt), reason: fmt.Sprintf("node %s: %v", r.Node.ID, err)}
	}
	x.backend = b
	defer b.Release()
	defer x.close()
	if err := x.begin(x.ctx); err != nil {
		return x.decide(err)
	}
	limit := time.Duration(*x.claim.TimeoutMS) * time.Millisecond
	ctx, cancel := context.WithTimeoutCause(x.ctx, limit, &Exceeded{Limit: "deadline", Text: "the turn took longer than " + limit.String()})
	defer cancel()
	err = b.Run(ctx, x)
	if lost := x.confirm(); lost != nil {
		return x.decide(lost)
	}
	if err != nil && ctx.Err() != nil {
		// Whatever the guest made of its end, the reason is ours.
		err = fmt.Errorf("%w (%v)", context.Cause(ctx), err)
	}
	return x.decide(err)
}

// ErrElsewhere says that only a node with the session's files may execute a turn: its job must be handed out again.
var ErrElsewhere = errors.New("the files of the session are on another node")

// pause waits, and reports whether ctx is still alive after it.
func (r *Runner) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
