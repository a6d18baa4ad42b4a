package turn

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/worker/egress"
	"github.com/towpath/towpath/worker/supervise"
)

// Command is what an operator's permit makes of a guest's wish for a child.
type Command struct {
	Path  string // absolute
	Args  []string
	Fill  func([]byte) ([]byte, error) // replaces the placeholders of what ProcFill writes; an *hostabi.Error refuses
	Scrub func() *egress.Scrubber      // for one stream of output
	// Begin, if set, is called before the child is started. heard may be called until End has returned: it tells the
	// guest the head of an answer that something of the host got for the child.
	Begin func(heard func(status int, header http.Header)) error
	End   func() // if set, called when the child has ended, or did not start
}

func (c Command) begin(heard func(int, http.Header)) error {
	if c.Begin == nil {
		return nil
	}
	return c.Begin(heard)
}

func (c Command) end() {
	if c.End != nil {
		c.End()
	}
}

// leaseMargin is how long before a lease may lapse its turn's children are told to end. Half of it is their grace.
func leaseMargin(ttl time.Duration) time.Duration { return min(2*time.Second, ttl/4) }

// brood is the children of all turns of a node. They are fed when the leases are renewed: nobody takes a turn over
// while a child of it runs.
type brood struct {
	guards  supervise.Guards
	mu      sync.Mutex
	renewed time.Time // when the last renewal that succeeded was asked for
	members map[*supervise.Child]*execution
}

// allowance is how long a child may live by what is known of its turn's lease; mu is held.
func (b *brood) allowance(x *execution) time.Duration {
	since := x.began
	if b.renewed.After(since) {
		since = b.renewed
	}
	ttl := x.runner.TTL
	return max(0, time.Until(since.Add(ttl-leaseMargin(ttl))))
}

// raise starts a child of a turn.
func (b *brood) raise(ctx context.Context, x *execution, c Command) (*supervise.Child, error) {
	b.mu.Lock()
	feed := b.allowance(x)
	b.mu.Unlock()
	var dir string
	if x.runner.Dir != nil {
		var err error
		if dir, err = x.runner.Dir(ctx, *x.claim.SessionID); err != nil {
			return nil, err
		}
	}
	child, err := b.guards.Start(ctx, supervise.Spec{Path: c.Path, Args: c.Args, Dir: dir, Feed: feed, Grace: leaseMargin(x.runner.TTL) / 2})
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.members == nil {
		b.members = map[*supervise.Child]*execution{}
	}
	b.members[child] = x
	child.Feed(b.allowance(x)) // the leases may have been renewed meanwhile
	return child, nil
}

func (b *brood) leave(c *supervise.Child) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.members, c)
}

// feed is told of a renewal: when it was asked for, and whose leases it extended.
func (b *brood) feed(asked time.Time, held func(*execution) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.renewed = asked
	for c, x := range b.members {
		if held(x) {
			c.Feed(b.allowance(x))
		}
	}
}

// procSpec reads the argument of proc_open.
func procSpec(raw []byte) (hostabi.ProcSpec, error) {
	var s hostabi.ProcSpec
	if len(raw) > hostabi.MaxHead {
		return s, hostabi.Errorf(hostabi.E2BIG, "the spec has %d bytes, at most %d", len(raw), hostabi.MaxHead)
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, hostabi.Errorf(hostabi.EINVAL, "spec: %v", err)
	}
	switch s.Framing {
	case "", hostabi.FramingLines, hostabi.FramingRaw:
	default:
		return s, hostabi.Errorf(hostabi.EINVAL, "framing %.20q: known are %s, %s", s.Framing, hostabi.FramingLines, hostabi.FramingRaw)
	}
	for _, arg := range s.Args {
		if strings.ContainsRune(arg, 0) {
			return s, hostabi.Errorf(hostabi.EINVAL, "an argument holds a NUL")
		}
	}
	return s, nil
}

// permit asks the profile for the command that a guest wants.
func (x *execution) permit(ctx context.Context, wish hostabi.ProcSpec) (Command, error) {
	if x.backend.Proc == nil {
		return Command{}, hostabi.Errorf(hostabi.EDENIED, "command %.64q is not permitted: this worker starts no children for turns", wish.Name)
	}
	return x.backend.Proc(ctx, wish)
}

// spawn starts the child of a stream. One that does not start is a stream that fails.
func (x *execution) spawn(ctx context.Context, s *stream, framing string) error {
	x.traceStream(s)
	listening, cease := context.WithCancel(x.ctx)
	s.hush = sync.OnceFunc(func() {
		cease()
		s.command.end()
	})
	err := s.command.begin(func(status int, header http.Header) {
		s.put(listening, x.inbox, hostabi.Record{Kind: hostabi.KindHead, Code: int32(status), Payload: egress.HeadPayload(header)})
	})
	var child *supervise.Child
	if err == nil {
		child, err = x.runner.brood.raise(ctx, x, s.command)
	}
	if err != nil {
		s.hush()
	}
	switch {
	case ctx.Err() != nil && err != nil:
		return context.Cause(ctx)
	case err != nil:
		x.log.Warn("a child did not start", "command", s.target, "error", err)
		var told *hostabi.Error
		if !errors.As(err, &told) {
			told = hostabi.Errorf(hostabi.EIO, "%v", err)
		}
		x.start(s, func(ctx context.Context) { s.fail(ctx, x.inbox, told) })
		return nil
	}
	s.child = child
	x.start(s, func(ctx context.Context) { s.follow(ctx, x.inbox, framing) })
	// A stream that is stopped has put its last record. The turn ends no sooner than its children, all at once.
	x.running.Go(func() {
		child.Wait()
		x.runner.brood.leave(child)
	})
	return nil
}

// follow puts what a child says: DATA and STDERR as they come, and END once it has ended and all is put; or FAILED.
// The end of ctx, or a FAILED, kills the child.
func (s *stream) follow(ctx context.Context, to *inbox, framing string) {
	defer s.child.Kill()
	defer s.hush()
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(inner, s.child.Kill)()
	put := func(kind hostabi.Kind) func([]byte) error {
		return func(p []byte) error {
			if !s.put(inner, to, hostabi.Record{Kind: kind, Payload: bytes.Clone(p)}) {
				return context.Cause(inner)
			}
			return nil
		}
	}
	var out framer = &lines{put: put(hostabi.KindData)}
	if framing == hostabi.FramingRaw {
		out = raw(put(hostabi.KindData))
	}
	var pumps sync.WaitGroup
	pump := func(from io.Reader, f framer) {
		if err := frame(from, s.command.Scrub(), f); err != nil {
			cancel(err)
		}
	}
	pumps.Go(func() { pump(s.child.Stdout, out) })
	pumps.Go(func() { pump(s.child.Stderr, raw(put(hostabi.KindStderr))) })
	pumps.Wait()
	select {
	case <-s.child.Done():
	case <-inner.Done():
	}
	s.hush()
	if ctx.Err() != nil {
		return
	}
	if err := context.Cause(inner); err != nil {
		s.fail(ctx, to, err)
		return
	}
	switch exit, err := s.child.Wait(); {
	case err != nil:
		s.fail(ctx, to, hostabi.Errorf(hostabi.EIO, "how the child ended is unknown: %v", err))
	case exit.Cause == supervise.Starved:
		s.fail(ctx, to, hostabi.Errorf(hostabi.EIO, "the child was ended: this worker could not renew its lease in time"))
	default:
		s.put(ctx, to, hostabi.Record{Kind: hostabi.KindEnd, Code: int32(exit.Status())})
	}
}

// feed writes to the standard input of a stream's child; no bytes close it. What a child does not take is dropped: its
// end says more.
func (s *stream) feed(ctx context.Context, p []byte) error {
	if len(p) == 0 {
		s.closed = true
		s.child.CloseStdin()
		return nil
	}
	if err := s.child.Write(ctx, p); err != nil {
		s.deaf = true
		if ctx.Err() != nil {
			return err
		}
	}
	return nil
}

// listens says why a write to a stream is refused, if it is.
func (s *stream) listens(handle uint32) error {
	switch {
	case s == nil || !s.proc:
		return hostabi.Errorf(hostabi.EBADF, "handle %d is no child", handle)
	case s.lost:
		return hostabi.Errorf(hostabi.ELOST, "the worker that had this child was lost, and the child ended with it: open it again")
	case s.closed:
		return hostabi.Errorf(hostabi.ESTATE, "the child's standard input is closed")
	case s.child == nil || s.deaf:
		return hostabi.Errorf(hostabi.EIO, "the child takes no input")
	}
	select {
	case <-s.child.Done():
		return hostabi.Errorf(hostabi.EIO, "the child has ended")
	default:
		return nil
	}
}
