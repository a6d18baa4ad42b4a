package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/towpath/towpath/hostabi"
)

// testHost is a world in memory that notes every call in a trace.
type testHost struct {
	request string
	asked   chan struct{} // closed by Request, when there is one
	now     int64
	random  *rand.ChaCha8
	trace   strings.Builder
	logs    []string
	events  []string
	result  string
	kv      map[string][]byte
	handles uint32
	records []*hostabi.Record
	fail    map[string]error                // by call
	block   func(ctx context.Context) error // what Wait does when it has no record
}

func newTestHost(request string) *testHost {
	return &testHost{
		request: request, now: 1_800_000_000_000_000_000, random: rand.NewChaCha8([32]byte{1}),
		kv: map[string][]byte{}, fail: map[string]error{},
	}
}

func (h *testHost) note(call string, args ...any) error {
	fmt.Fprintf(&h.trace, "%s %q\n", call, args)
	return h.fail[call]
}

func (h *testHost) Request() []byte {
	if h.asked != nil {
		close(h.asked)
	}
	return []byte(h.request)
}

func (h *testHost) Now() int64 {
	h.now += 1000
	h.note("now", h.now)
	return h.now
}

func (h *testHost) Random(p []byte) {
	h.random.Read(p)
	h.note("random", p)
}

func (h *testHost) Log(level int32, message []byte) {
	h.logs = append(h.logs, fmt.Sprintf("%d %s", level, message))
	h.note("log", level, message)
}

func (h *testHost) Emit(_ context.Context, event []byte) (uint32, error) {
	h.events = append(h.events, string(event))
	return uint32(len(h.events)), h.note("emit", event)
}

func (h *testHost) HTTPOpen(_ context.Context, head, body []byte) (uint32, error) {
	h.handles++
	return h.handles, h.note("http_open", head, body)
}

func (h *testHost) ProcOpen(_ context.Context, spec []byte) (uint32, error) {
	h.handles++
	return h.handles, h.note("proc_open", spec)
}

func (h *testHost) ProcWrite(_ context.Context, handle uint32, p []byte) error {
	return h.note("proc_write", handle, p)
}

func (h *testHost) ProcFill(_ context.Context, handle uint32, p []byte) error {
	return h.note("proc_fill", handle, p)
}

func (h *testHost) Wait(ctx context.Context, handle uint32, timeout time.Duration) (*hostabi.Record, error) {
	if err := h.note("wait", handle, timeout); err != nil {
		return nil, err
	}
	if len(h.records) > 0 {
		r := h.records[0]
		h.records = h.records[1:]
		return r, nil
	}
	if h.block != nil {
		return nil, h.block(ctx)
	}
	return nil, nil
}

func (h *testHost) Sleep(_ context.Context, d time.Duration) error {
	h.now += int64(d)
	return h.note("sleep", d)
}

func (h *testHost) Close(_ context.Context, handle uint32) error { return h.note("close", handle) }

func (h *testHost) KVGet(_ context.Context, key string) ([]byte, error) {
	if err := h.note("kv_get", key); err != nil {
		return nil, err
	}
	v, ok := h.kv[key]
	if !ok {
		return nil, hostabi.Errorf(hostabi.ENOENT, "no key %q", key)
	}
	return v, nil
}

func (h *testHost) KVSet(_ context.Context, key string, value []byte) error {
	h.kv[key] = append([]byte(nil), value...)
	return h.note("kv_set", key, value)
}

func (h *testHost) Finish(_ context.Context, result []byte) error {
	h.result = string(result)
	return h.note("finish", result)
}
