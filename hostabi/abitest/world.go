package abitest

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/towpath/towpath/hostabi"
)

// World is what a host under test gives the guest's calls their meaning by. It is deterministic, notes each call as it was
// decoded, and keeps to the ABI's rules for handles, keys and the end. Waiting takes no time.
type World struct {
	request  string
	now      int64
	random   *rand.ChaCha8
	events   uint32
	handles  uint32
	open     map[uint32]*handle
	records  []*hostabi.Record
	kv       map[string]string
	finished bool

	saw   []string
	asked int    // for the request
	notes []byte // what the guest logged last
}

// handle is an open request or child.
type handle struct {
	proc   bool
	closed bool // its standard input
}

// The number of the test stands in the turn request at a fixed place, so that a guest finds it without reading JSON.
const (
	requestStart = `{"input":{"test":"`
	numberAt     = len(requestStart)
	numberDigits = 3
)

// NewWorld makes the world for the test with a number.
func NewWorld(test int) *World {
	request := fmt.Sprintf(requestStart+`%0*d"},"process":"p","session":"s","profile":"abitest","attempt":1,"config":{},"thread":{"version":0,"digest":""}}`, numberDigits, test)
	return &World{
		request: request, now: 1_800_000_000_000_000_000, random: rand.NewChaCha8([32]byte{1}),
		open: map[uint32]*handle{}, kv: map[string]string{},
	}
}

// note keeps a call; long arguments by their length.
func (w *World) note(call string, args ...any) {
	var b strings.Builder
	b.WriteString(call)
	for _, a := range args {
		switch a := a.(type) {
		case []byte:
			if len(a) > 200 {
				fmt.Fprintf(&b, " %d bytes", len(a))
			} else {
				fmt.Fprintf(&b, " %q", a)
			}
		default:
			fmt.Fprintf(&b, " %v", a)
		}
	}
	w.saw = append(w.saw, b.String())
}

// Request implements hostabi.Host. The guest's first is how it finds its test.
func (w *World) Request() []byte {
	if w.asked++; w.asked > 1 {
		w.note("request")
	}
	return []byte(w.request)
}

// Now implements hostabi.Host.
func (w *World) Now() int64 {
	w.now += 1000
	w.note("now")
	return w.now
}

// Random implements hostabi.Host. A host may draw a long piece in several, so that it is not noted.
func (w *World) Random(p []byte) { w.random.Read(p) }

// Log implements hostabi.Host.
func (w *World) Log(level int32, message []byte) {
	w.notes = append([]byte(nil), message...)
	w.note("log", level, message)
}

// Emit implements hostabi.Host.
func (w *World) Emit(_ context.Context, event []byte) (uint32, error) {
	w.note("emit", event)
	var head struct{ Type string }
	if json.Unmarshal(event, &head) != nil || head.Type == "" {
		return 0, hostabi.Errorf(hostabi.EINVAL, "an event is a JSON object with a type")
	}
	w.events++
	return w.events, nil
}

// HTTPOpen implements hostabi.Host. Every request is answered by three records.
func (w *World) HTTPOpen(_ context.Context, head, body []byte) (uint32, error) {
	w.note("http_open", head, body)
	if !json.Valid(head) {
		return 0, hostabi.Errorf(hostabi.EINVAL, "the head is no JSON")
	}
	h, err := w.begin(false)
	if err != nil {
		return 0, err
	}
	w.records = append(w.records,
		&hostabi.Record{Kind: hostabi.KindHead, Handle: h, Code: 200, Payload: []byte(`{"a":["b"]}`)},
		&hostabi.Record{Kind: hostabi.KindData, Handle: h, Payload: []byte("\x00\xff pong")},
		&hostabi.Record{Kind: hostabi.KindEnd, Handle: h})
	return h, nil
}

// ProcOpen implements hostabi.Host. Every child says a word and fails.
func (w *World) ProcOpen(_ context.Context, spec []byte) (uint32, error) {
	w.note("proc_open", spec)
	if !json.Valid(spec) {
		return 0, hostabi.Errorf(hostabi.EINVAL, "the spec is no JSON")
	}
	h, err := w.begin(true)
	if err != nil {
		return 0, err
	}
	w.records = append(w.records, &hostabi.Record{Kind: hostabi.KindFailed, Handle: h, Code: -int32(hostabi.ELOST), Payload: []byte("its worker died")})
	return h, nil
}

func (w *World) begin(proc bool) (uint32, error) {
	if len(w.open) >= hostabi.MaxHandles {
		return 0, hostabi.Errorf(hostabi.EQUOTA, "%d handles are open", len(w.open))
	}
	w.handles++
	w.open[w.handles] = &handle{proc: proc}
	return w.handles, nil
}

// ProcWrite implements hostabi.Host.
func (w *World) ProcWrite(_ context.Context, h uint32, p []byte) error {
	w.note("proc_write", h, p)
	return w.write(h, p)
}

// ProcFill implements hostabi.Host. The only secret is KEY.
func (w *World) ProcFill(_ context.Context, h uint32, p []byte) error {
	w.note("proc_fill", h, p)
	if strings.Contains(string(p), "{{secret:OTHER}}") {
		return hostabi.Errorf(hostabi.EDENIED, "OTHER is not bound to it")
	}
	return w.write(h, p)
}

func (w *World) write(h uint32, p []byte) error {
	if x := w.open[h]; x == nil || !x.proc || x.closed {
		return hostabi.Errorf(hostabi.EBADF, "no child %d that listens", h)
	}
	w.open[h].closed = len(p) == 0
	return nil
}

// Wait implements hostabi.Host. What is not there yet never comes.
func (w *World) Wait(_ context.Context, h uint32, timeout time.Duration) (*hostabi.Record, error) {
	w.note("wait", h, int64(timeout))
	if h != 0 && w.open[h] == nil {
		return nil, hostabi.Errorf(hostabi.EBADF, "no handle %d", h)
	}
	for i, r := range w.records {
		if h == 0 || r.Handle == h {
			w.records = append(w.records[:i:i], w.records[i+1:]...)
			return r, nil
		}
	}
	return nil, nil
}

// Sleep implements hostabi.Host.
func (w *World) Sleep(_ context.Context, d time.Duration) error {
	w.now += int64(d)
	w.note("sleep", int64(d))
	return nil
}

// Close implements hostabi.Host.
func (w *World) Close(_ context.Context, h uint32) error {
	w.note("close", h)
	if w.open[h] == nil {
		return hostabi.Errorf(hostabi.EBADF, "no handle %d", h)
	}
	delete(w.open, h)
	var kept []*hostabi.Record
	for _, r := range w.records {
		if r.Handle != h {
			kept = append(kept, r)
		}
	}
	w.records = kept
	return nil
}

// KVGet implements hostabi.Host.
func (w *World) KVGet(_ context.Context, key string) ([]byte, error) {
	w.note("kv_get", []byte(key))
	if w.kv[key] == "" {
		return nil, hostabi.Errorf(hostabi.ENOENT, "no key %q", key)
	}
	return []byte(w.kv[key]), nil
}

// KVSet implements hostabi.Host.
func (w *World) KVSet(_ context.Context, key string, value []byte) error {
	w.note("kv_set", []byte(key), value)
	w.kv[key] = string(value)
	return nil
}

// Finish implements hostabi.Host.
func (w *World) Finish(_ context.Context, result []byte) error {
	w.note("finish", result)
	var object map[string]any
	if json.Unmarshal(result, &object) != nil {
		return hostabi.Errorf(hostabi.EINVAL, "a result is a JSON object")
	}
	if w.finished {
		return hostabi.Errorf(hostabi.ESTATE, "the turn has finished")
	}
	w.finished = true
	return nil
}
