package turn

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/store"
)

// maxUnflushed is how many bytes of events a turn may have in memory only; a guest that emits faster waits.
const maxUnflushed = 1 << 20

// execution is one attempt of one turn on this node, and the Host of its guest.
type execution struct {
	runner  *Runner
	claim   store.Claim
	owner   store.Owner
	backend Backend
	request []byte
	log     *slog.Logger
	began   time.Time

	ctx    context.Context // ends when the guest must stop at once; its cause says why
	cancel context.CancelCauseFunc

	// The guest's goroutine only.
	now     int64
	random  *rand.ChaCha8
	streams map[uint32]*stream
	opened  uint32 // handles given out
	emitted uint32
	bytes   int64 // of events, emitted in all
	delta   map[string][]byte
	order   []string // keys of delta, in the order of their first write
	result  []byte
	window  time.Time // second in which calls are counted
	calls   int
	lines   int // logged in the window
	dropped int

	heard   map[string]bool // inputs that were put; the poller's only
	inbox   *inbox
	running sync.WaitGroup // streams

	mu       sync.Mutex
	batch    store.Batch // not flushed yet
	size     int         // bytes in batch and in flight
	flushing bool        // a batch of this turn is on its way
	closed   bool        // the rest goes with the commit that ends the turn
	settled  *sync.Cond  // on mu: a flush came back
	kill     *time.Timer // ends the grace of a cancel
	cause    *Cancelled
}

var _ hostabi.Host = (*execution)(nil)

func newExecution(r *Runner, c store.Claim, b Backend) *execution {
	x := &execution{
		runner: r, claim: c, owner: store.Owner{No: *c.No, Fence: *c.Fence}, backend: b, began: time.Now(),
		log:     r.Logger.With("process", *c.ProcessID, "session", *c.SessionID, "profile", *c.Profile, "attempt", *c.Attempt),
		streams: map[uint32]*stream{}, delta: map[string][]byte{}, heard: map[string]bool{}, inbox: newInbox(),
		now: time.Now().UnixNano(),
	}
	x.settled = sync.NewCond(&x.mu)
	x.random = rand.NewChaCha8(sha256.Sum256([]byte("towpath turn random " + *c.ProcessID)))
	x.batch.Owner = x.owner
	return x
}

// head makes the turn request.
func (x *execution) head() error {
	config := x.backend.Config
	if config == nil {
		config = json.RawMessage("{}")
	}
	var err error
	x.request, err = json.Marshal(hostabi.TurnRequest{
		Process: *x.claim.ProcessID, Session: *x.claim.SessionID, Profile: *x.claim.Profile, Attempt: *x.claim.Attempt,
		Input: x.claim.Input, Config: config,
		Thread: hostabi.Thread{Version: *x.claim.Version, Digest: hex.EncodeToString(x.claim.Digest)},
	})
	return err
}

func (x *execution) Request() []byte { return x.request }

// Now is the time of the last observation, and a microsecond more for each reading.
func (x *execution) Now() int64 {
	x.now += int64(time.Microsecond)
	return x.now
}

// observe moves the turn's clock to an observation; it never goes back.
func (x *execution) observe() { x.now = max(x.now, time.Now().UnixNano()) }

func (x *execution) Random(p []byte) { _, _ = x.random.Read(p) } // never fails

// logLines is how many lines a second a turn may log; the rest is counted and dropped.
const logLines = 200

// call counts a host call, and sleeps to the end of the second when the turn has made too many in it.
func (x *execution) call(ctx context.Context) error {
	now := time.Now()
	if now.Sub(x.window) >= time.Second {
		x.roll(now)
	}
	x.calls++
	if x.calls <= x.backend.Limits.Calls {
		return nil
	}
	t := time.NewTimer(time.Second - now.Sub(x.window))
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
	if x.dropped > 0 {
		x.log.Warn("the guest logs too much", "dropped", x.dropped)
	}
	x.window, x.calls, x.lines, x.dropped = now, 0, 0, 0
}

func (x *execution) Log(level int32, message []byte) {
	if now := time.Now(); now.Sub(x.window) >= time.Second {
		x.roll(now)
	}
	if x.lines++; x.lines > logLines {
		x.dropped++
		return
	}
	l := slog.LevelInfo
	switch {
	case level < 0:
		l = slog.LevelDebug
	case level == 1:
		l = slog.LevelWarn
	case level > 1:
		l = slog.LevelError
	}
	x.log.Log(x.ctx, l, string(x.backend.redact(message)), "from", "guest")
}

func (x *execution) Emit(ctx context.Context, event []byte) (uint32, error) {
	if err := x.call(ctx); err != nil {
		return 0, err
	}
	if n := int64(len(event)); n > x.backend.Limits.EventBytes {
		return 0, hostabi.Errorf(hostabi.E2BIG, "the event has %d bytes, at most %d", n, x.backend.Limits.EventBytes)
	} else if x.bytes += n; x.bytes > x.backend.Limits.EventsBytes {
		return 0, hostabi.Errorf(hostabi.EQUOTA, "the turn's events are over %d bytes", x.backend.Limits.EventsBytes)
	}
	kind, data, err := parseEvent(x.backend.redact(event))
	if err != nil {
		return 0, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.size > maxUnflushed {
		if err := x.settle(ctx, func() bool { return x.size <= maxUnflushed }); err != nil {
			return 0, err
		}
	}
	x.batch.Types, x.batch.Data = append(x.batch.Types, kind), append(x.batch.Data, data)
	x.size += len(data)
	x.runner.flusher.dirty(x, x.size >= flushBytes)
	x.emitted++
	return x.emitted, nil
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

func (x *execution) HTTPOpen(ctx context.Context, head, body []byte) (uint32, error) {
	if err := x.call(ctx); err != nil {
		return 0, err
	}
	if len(head) > hostabi.MaxHead {
		return 0, hostabi.Errorf(hostabi.E2BIG, "the head has %d bytes, at most %d", len(head), hostabi.MaxHead)
	}
	var h hostabi.HTTPHead
	if err := json.Unmarshal(head, &h); err != nil {
		return 0, hostabi.Errorf(hostabi.EINVAL, "head: %v", err)
	}
	s, err := x.open()
	if err != nil {
		return 0, err
	}
	// The same call of the same turn has the same key whoever makes it, so that a provider that knows keys can tell.
	digest := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%s\x00%s", *x.claim.ProcessID, s.handle, head, body))
	own := http.Header{"Idempotency-Key": {hex.EncodeToString(digest[:16])}}
	body = append([]byte(nil), body...) // guest memory is ours during the call only
	x.start(s, func(ctx context.Context) { s.exchange(ctx, x.inbox, x.backend.HTTP, h, body, own) })
	return s.handle, nil
}

// open makes the next handle.
func (x *execution) open() (*stream, error) {
	if len(x.streams) >= x.backend.Limits.Handles {
		return nil, hostabi.Errorf(hostabi.EQUOTA, "%d handles are open: close one", len(x.streams))
	}
	x.opened++
	s := &stream{handle: x.opened, room: make(chan struct{}, ahead), done: make(chan struct{})}
	for range ahead {
		s.room <- struct{}{}
	}
	x.streams[s.handle] = s
	return s, nil
}

// start runs a stream until it has nothing more to put or is closed.
func (x *execution) start(s *stream, run func(context.Context)) {
	ctx, cancel := context.WithCancel(x.ctx)
	s.cancel = cancel
	x.running.Go(func() {
		defer close(s.done)
		defer cancel()
		run(ctx)
	})
}

func (x *execution) ProcOpen(ctx context.Context, spec []byte) (uint32, error) {
	if err := x.call(ctx); err != nil {
		return 0, err
	}
	var s hostabi.ProcSpec
	if err := json.Unmarshal(spec, &s); err != nil {
		return 0, hostabi.Errorf(hostabi.EINVAL, "spec: %v", err)
	}
	return 0, hostabi.Errorf(hostabi.EDENIED, "command %q is not permitted: this worker starts no children for turns", s.Name)
}

func (x *execution) ProcWrite(ctx context.Context, handle uint32, _ []byte) error {
	if err := x.call(ctx); err != nil {
		return err
	}
	return hostabi.Errorf(hostabi.EBADF, "handle %d is no child", handle)
}

func (x *execution) Wait(ctx context.Context, handle uint32, timeout time.Duration) (*hostabi.Record, error) {
	if err := x.call(ctx); err != nil {
		return nil, err
	}
	if handle != 0 && x.streams[handle] == nil {
		return nil, hostabi.Errorf(hostabi.EBADF, "no handle %d", handle)
	}
	ctx, stop := x.idle(ctx)
	defer stop()
	r, err := x.inbox.wait(ctx, handle, timeout)
	if err != nil {
		return nil, err
	}
	x.observe()
	if r == nil {
		return nil, nil
	}
	switch {
	case r.Kind == hostabi.KindInput:
		x.applied(r)
	case x.streams[r.Handle] != nil:
		x.streams[r.Handle].room <- struct{}{}
	}
	return r, nil
}

// applied notes that the guest has observed an input; the note is stored with the events that follow.
func (x *execution) applied(r *hostabi.Record) {
	var input struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(r.Payload, &input) != nil || input.ID == "" {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.batch.Applied = append(x.batch.Applied, input.ID)
	x.runner.flusher.dirty(x, false)
}

// idle bounds how long a guest may wait without anything to observe.
func (x *execution) idle(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, x.backend.Limits.Idle, &Exceeded{Limit: "idle", Text: "nothing happened for " + x.backend.Limits.Idle.String()})
}

func (x *execution) Sleep(ctx context.Context, d time.Duration) error {
	if err := x.call(ctx); err != nil {
		return err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		x.observe()
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (x *execution) Close(ctx context.Context, handle uint32) error {
	if err := x.call(ctx); err != nil {
		return err
	}
	s := x.streams[handle]
	if s == nil {
		return hostabi.Errorf(hostabi.EBADF, "no handle %d", handle)
	}
	s.cancel()
	delete(x.streams, handle)
	<-s.done // so that nothing is put after forget
	x.inbox.forget(handle)
	return nil
}

func (x *execution) KVGet(ctx context.Context, key string) ([]byte, error) {
	if err := x.call(ctx); err != nil {
		return nil, err
	}
	value, written := x.delta[key]
	if !written {
		var err error
		if value, err = x.runner.Store.KVGet(ctx, *x.claim.SessionID, key); err != nil {
			return nil, err
		}
		x.observe()
	}
	if len(value) == 0 {
		return nil, hostabi.Errorf(hostabi.ENOENT, "no key %q", key)
	}
	return value, nil
}

func (x *execution) KVSet(ctx context.Context, key string, value []byte) error {
	if err := x.call(ctx); err != nil {
		return err
	}
	switch {
	case key == "" || len(key) > hostabi.MaxKey || strings.ContainsRune(key, 0):
		return hostabi.Errorf(hostabi.EINVAL, "a key has 1 to %d bytes and no NUL", hostabi.MaxKey)
	case len(value) > hostabi.MaxValue:
		return hostabi.Errorf(hostabi.E2BIG, "the value has %d bytes, at most %d", len(value), hostabi.MaxValue)
	}
	if _, written := x.delta[key]; !written {
		x.order = append(x.order, key)
	}
	x.delta[key] = append([]byte{}, x.backend.redact(value)...)
	return nil
}

func (x *execution) Finish(_ context.Context, result []byte) error {
	if x.result != nil {
		return hostabi.Errorf(hostabi.ESTATE, "the turn has finished")
	}
	result, err := normalize(x.backend.redact(result))
	if err != nil {
		return err
	}
	if result[0] != '{' && !strings.HasPrefix(strings.TrimLeft(string(result), " \t\r\n"), "{") {
		return hostabi.Errorf(hostabi.EINVAL, "a result is a JSON object")
	}
	x.result = append([]byte(nil), result...)
	return nil
}

// hear puts what a client said to the turn.
func (x *execution) hear(w store.Word) {
	if w.Kind != "cancel" {
		if x.heard[*w.ID] {
			return
		}
		x.heard[*w.ID] = true
		x.inbox.put(hostabi.Record{Kind: hostabi.KindInput, Payload: w.Payload})
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
	payload, err := json.Marshal(map[string]any{"reason": c.Reason, "grace_ns": grace.Nanoseconds()})
	if err != nil {
		x.log.Error("cancel request is malformed", "error", err)
		return
	}
	x.inbox.put(hostabi.Record{Kind: hostabi.KindCancel, Payload: payload})
}

// close ends every stream and waits for them.
func (x *execution) close() {
	for _, s := range x.streams {
		s.cancel()
	}
	x.running.Wait()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.kill != nil {
		x.kill.Stop()
	}
}
