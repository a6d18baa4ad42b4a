package guesttest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/vocabulary"
)

// Host is the world of one turn. Set its fields before Run.
type Host struct {
	Turn    hostabi.TurnRequest
	Session map[string][]byte // the session's keys; Run writes them when the turn has finished
	Server  func(*Exchange)   // answers each request, in a goroutine of its own
	Child   func(*Child)      // plays each child, in a goroutine of its own
	Fill    map[string]string // what ProcFill writes for a placeholder, such as secret:NAME

	tb testing.TB

	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever something below changes
	records []hostabi.Record
	open    map[uint32]*exchange
	lost    map[uint32]string // lost requests not yet acknowledged, with their idempotency keys
	gone    map[uint32]bool   // lost children
	handles uint32
	delta   map[string][]byte
	events  []Event
	log     []string
	result  []byte
}

// Event is an event that the plugin emitted.
type Event struct {
	Type string
	JSON json.RawMessage
}

// exchange is an open handle.
type exchange struct {
	cancel context.CancelFunc
	key    string
	stdin  *stdin // of a child
}

// New makes a Host whose session is empty.
func New(tb testing.TB, turn hostabi.TurnRequest) *Host {
	return &Host{
		Turn: turn, Session: map[string][]byte{}, tb: tb,
		changed: make(chan struct{}), open: map[uint32]*exchange{}, lost: map[uint32]string{}, gone: map[uint32]bool{}, delta: map[string][]byte{},
	}
}

// Run runs the plugin's function as one turn and returns what it finished with.
func (h *Host) Run(run guest.Run) Result {
	h.tb.Helper()
	return h.Serve(func(ctx context.Context, host hostabi.Host) error { return guest.Serve(ctx, host, run) })
}

// Serve has something else run the turn, such as an engine with the plugin's module, and returns what it finished with.
func (h *Host) Serve(turn func(context.Context, hostabi.Host) error) Result {
	h.tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := turn(ctx, h); err != nil {
		h.tb.Fatalf("turn: %v", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, x := range h.open {
		x.cancel()
	}
	for key, value := range h.delta {
		if len(value) == 0 {
			delete(h.Session, key)
		} else {
			h.Session[key] = value
		}
	}
	result := Result{JSON: h.result}
	if err := json.Unmarshal(h.result, &result.Result); err != nil {
		h.tb.Fatalf("result %s: %v", h.result, err)
	}
	return result
}

// Result is what a turn finished with.
type Result struct {
	guest.Result
	JSON json.RawMessage
}

// Input sends an input to the turn, such as guest.Input{Type: guest.InputSteer, Text: "…"}.
func (h *Host) Input(in guest.Input) {
	payload, err := json.Marshal(in)
	if err != nil {
		h.tb.Errorf("input: %v", err)
	}
	h.push(hostabi.Record{Kind: hostabi.KindInput, Payload: payload})
}

// Cancel asks the turn to end.
func (h *Host) Cancel(reason string, grace time.Duration) {
	payload, err := json.Marshal(map[string]any{"reason": reason, "grace_ns": int64(grace)})
	if err != nil {
		h.tb.Errorf("cancel: %v", err)
	}
	h.push(hostabi.Record{Kind: hostabi.KindCancel, Payload: payload})
}

// Await returns the n-th event of a type, from 1, once the plugin has emitted it. When the turn finishes without it,
// the test has failed.
func (h *Host) Await(eventType string, n int) Event {
	for {
		h.mu.Lock()
		changed, seen := h.changed, 0
		for _, e := range h.events {
			if e.Type == eventType {
				if seen++; seen == n {
					h.mu.Unlock()
					return e
				}
			}
		}
		finished := h.result != nil
		h.mu.Unlock()
		if finished {
			h.tb.Errorf("the turn finished with %d events of type %s, want %d", seen, eventType, n)
			return Event{}
		}
		<-changed
	}
}

// Events returns what was emitted so far.
func (h *Host) Events() []Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Event(nil), h.events...)
}

// Lines returns what was logged so far.
func (h *Host) Lines() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.log...)
}

// Finished returns what the turn finished with, nil before.
func (h *Host) Finished() json.RawMessage {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.result
}

// update changes the host under its lock and wakes who waits for it.
func (h *Host) update(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *Host) push(r hostabi.Record) {
	h.update(func() {
		if r.Handle == 0 || h.open[r.Handle] != nil {
			h.records = append(h.records, r)
		}
		if x := h.open[r.Handle]; x != nil && r.Kind == hostabi.KindFailed && hostabi.Code(-r.Code) == hostabi.ELOST {
			delete(h.open, r.Handle)
			if x.stdin != nil {
				h.gone[r.Handle] = true
				x.cancel() // it ends with its worker
			} else {
				h.lost[r.Handle] = x.key
			}
		}
	})
}

var errFinished = hostabi.Errorf(hostabi.ESTATE, "the turn has finished")

// Request implements hostabi.Host.
func (h *Host) Request() []byte {
	b, err := json.Marshal(h.Turn)
	if err != nil {
		h.tb.Errorf("turn request: %v", err)
	}
	return b
}

// Now implements hostabi.Host.
func (h *Host) Now() int64 { return time.Now().UnixNano() }

// Random implements hostabi.Host.
func (h *Host) Random(p []byte) { _, _ = rand.Read(p) }

// Log implements hostabi.Host.
func (h *Host) Log(level int32, message []byte) {
	h.update(func() { h.log = append(h.log, fmt.Sprintf("%d %s", level, message)) })
}

// Emit implements hostabi.Host.
func (h *Host) Emit(_ context.Context, event []byte) (n uint32, err error) {
	if len(event) > hostabi.MaxEvent {
		return 0, hostabi.Errorf(hostabi.E2BIG, "event of %d bytes, at most %d", len(event), hostabi.MaxEvent)
	}
	var head struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(event, &head) != nil || head.Type == "" {
		return 0, hostabi.Errorf(hostabi.EINVAL, "event is no object with a type: %s", event)
	}
	if err := vocabulary.Check(head.Type, without(event, "type")); err != nil {
		h.tb.Errorf("vocabulary: %v", err)
	}
	h.update(func() {
		if h.result != nil {
			err = errFinished
			return
		}
		h.events = append(h.events, Event{head.Type, append([]byte(nil), event...)})
		n = uint32(len(h.events))
	})
	return n, err
}

// without returns a JSON object without one of its members.
func without(object []byte, member string) []byte {
	var members map[string]json.RawMessage
	if json.Unmarshal(object, &members) != nil {
		return object
	}
	delete(members, member)
	rest, err := json.Marshal(members)
	if err != nil {
		return object
	}
	return rest
}

// Wait implements hostabi.Host.
func (h *Host) Wait(ctx context.Context, handle uint32, timeout time.Duration) (*hostabi.Record, error) {
	var expired <-chan time.Time
	if timeout >= 0 {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		expired = timer.C
	}
	for {
		h.mu.Lock()
		changed := h.changed
		for i, r := range h.records {
			if handle == 0 || r.Handle == handle {
				h.records = append(h.records[:i:i], h.records[i+1:]...)
				h.mu.Unlock()
				return &r, nil
			}
		}
		h.mu.Unlock()
		select {
		case <-changed:
		case <-expired:
			return nil, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Sleep implements hostabi.Host.
func (h *Host) Sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close implements hostabi.Host.
func (h *Host) Close(_ context.Context, handle uint32) (err error) {
	h.update(func() {
		x := h.open[handle]
		if x == nil {
			err = hostabi.Errorf(hostabi.EBADF, "no handle %d", handle)
			return
		}
		x.cancel()
		delete(h.open, handle)
		kept := h.records[:0:0]
		for _, r := range h.records {
			if r.Handle != handle {
				kept = append(kept, r)
			}
		}
		h.records = kept
	})
	return err
}

// KVGet implements hostabi.Host.
func (h *Host) KVGet(_ context.Context, key string) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	value, in := h.delta[key]
	if !in {
		value = h.Session[key]
	}
	if len(value) == 0 {
		return nil, hostabi.Errorf(hostabi.ENOENT, "no key %q", key)
	}
	return append([]byte(nil), value...), nil
}

// KVSet implements hostabi.Host.
func (h *Host) KVSet(_ context.Context, key string, value []byte) (err error) {
	if len(key) == 0 || len(key) > hostabi.MaxKey || len(value) > hostabi.MaxValue {
		return hostabi.Errorf(hostabi.E2BIG, "key of %d bytes, value of %d", len(key), len(value))
	}
	h.update(func() {
		if h.result != nil {
			err = errFinished
			return
		}
		h.delta[key] = append([]byte(nil), value...)
	})
	return err
}

// Finish implements hostabi.Host.
func (h *Host) Finish(_ context.Context, result []byte) (err error) {
	if len(result) > hostabi.MaxResult {
		return hostabi.Errorf(hostabi.E2BIG, "result of %d bytes", len(result))
	}
	if err := vocabulary.CheckOutcome(result); err != nil {
		h.tb.Errorf("vocabulary: %v", err)
	}
	h.update(func() {
		if h.result != nil {
			err = errFinished
			return
		}
		h.result = append([]byte(nil), result...)
	})
	return err
}

// Next makes a Host for the next turn of the same session.
func (h *Host) Next(input json.RawMessage) *Host {
	turn := h.Turn
	turn.Input = input
	next := New(h.tb, turn)
	next.Session, next.Server, next.Child, next.Fill = maps.Clone(h.Session), h.Server, h.Child, h.Fill
	return next
}

// begin registers a new handle, of a request or a child.
func (h *Host) begin(retryOf uint32, proc bool) (handle uint32, ctx context.Context, x *exchange, err error) {
	h.update(func() {
		x = &exchange{}
		switch key, lost := h.lost[retryOf]; {
		case h.result != nil:
			err = errFinished
			return
		case len(h.open) >= hostabi.MaxHandles:
			err = hostabi.Errorf(hostabi.EQUOTA, "%d handles are open", len(h.open))
			return
		case proc && retryOf != 0 && !h.gone[retryOf]:
			err = hostabi.Errorf(hostabi.EINVAL, "retry_of is %d, lost children are %v", retryOf, h.gone)
			return
		case proc:
			delete(h.gone, retryOf)
		case lost:
			x.key = key
			delete(h.lost, retryOf)
		case retryOf != 0 || len(h.lost) > 0:
			err = hostabi.Errorf(hostabi.EINVAL, "retry_of is %d, lost handles are %v", retryOf, h.lost)
			return
		}
		h.handles++
		handle = h.handles
		if x.key == "" {
			x.key = fmt.Sprintf("%s-%d", h.Turn.Process, handle)
		}
		ctx, x.cancel = context.WithCancel(context.Background())
		h.open[handle] = x
	})
	return handle, ctx, x, err
}

var errNoServer = errors.New("guesttest: Host.Server or Host.Child is not set")
