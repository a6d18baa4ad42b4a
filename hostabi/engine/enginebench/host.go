package enginebench

import (
	"context"
	"time"

	"github.com/towpath/towpath/hostabi"
)

// host is the least that a turn needs.
type host struct {
	request []byte
	now     int64
	events  int
	waiting chan<- struct{} // told when the guest waits
	emitted func()          // called at each event, if any
}

// request makes a request of 1 KiB that begins with a word.
func request(word string) []byte {
	b := make([]byte, 1024)
	for i := range b {
		b[i] = ' '
	}
	copy(b, word)
	return b
}

func (h *host) Request() []byte   { return h.request }
func (h *host) Now() int64        { h.now += 1000; return 1_800_000_000_000_000_000 + h.now }
func (h *host) Random(p []byte)   { clear(p) }
func (h *host) Log(int32, []byte) {}

func (h *host) Emit(context.Context, []byte) (uint32, error) { return h.emit(), nil }

func (h *host) emit() uint32 {
	if h.emitted != nil {
		h.emitted()
	}
	h.events++
	return uint32(h.events)
}

func (h *host) Wait(ctx context.Context, _ uint32, _ time.Duration) (*hostabi.Record, error) {
	h.waiting <- struct{}{}
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

func (h *host) Sleep(context.Context, time.Duration) error    { return nil }
func (h *host) Finish(context.Context, []byte) error          { return nil }
func (h *host) Close(context.Context, uint32) error           { return nil }
func (h *host) KVSet(context.Context, string, []byte) error   { return nil }
func (h *host) KVGet(context.Context, string) ([]byte, error) { return nil, nil }

func (h *host) ProcWrite(context.Context, uint32, []byte) error { return nil }
func (h *host) ProcFill(context.Context, uint32, []byte) error  { return nil }

func (h *host) HTTPOpen(context.Context, []byte, []byte) (uint32, error) { return 1, nil }
func (h *host) ProcOpen(context.Context, []byte) (uint32, error)         { return 1, nil }
