package engine

import (
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"time"

	"github.com/towpath/towpath/hostabi"
)

// initHost is the world of a module that is loaded: a fixed clock that only reading and sleeping move, a random
// stream from the deployment's secret, and no capability.
type initHost struct {
	now    int64
	random *rand.ChaCha8
	result []byte
	finish bool // allowed: this is a manifest
}

// initTime is before any turn's time.
var initTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()

func newInitHost(seed []byte, digest [32]byte, finish bool) *initHost {
	h := sha256.New()
	h.Write(digest[:])
	h.Write(seed)
	return &initHost{now: initTime, random: rand.NewChaCha8([32]byte(h.Sum(nil))), finish: finish}
}

func (h *initHost) Request() []byte   { return []byte("{}") }
func (h *initHost) Random(p []byte)   { h.random.Read(p) }
func (h *initHost) Log(int32, []byte) {}
func (h *initHost) Now() int64        { h.now += 1000; return h.now }

func (h *initHost) Sleep(_ context.Context, d time.Duration) error {
	h.now += int64(d)
	return nil
}

func (h *initHost) denied() error {
	return hostabi.Errorf(hostabi.EDENIED, "nothing is permitted before a turn")
}

func (h *initHost) Emit(context.Context, []byte) (uint32, error)             { return 0, h.denied() }
func (h *initHost) HTTPOpen(context.Context, []byte, []byte) (uint32, error) { return 0, h.denied() }
func (h *initHost) ProcOpen(context.Context, []byte) (uint32, error)         { return 0, h.denied() }
func (h *initHost) ProcWrite(context.Context, uint32, []byte) error          { return h.denied() }
func (h *initHost) ProcFill(context.Context, uint32, []byte) error           { return h.denied() }
func (h *initHost) Close(context.Context, uint32) error                      { return h.denied() }
func (h *initHost) KVGet(context.Context, string) ([]byte, error)            { return nil, h.denied() }
func (h *initHost) KVSet(context.Context, string, []byte) error              { return h.denied() }

func (h *initHost) Wait(context.Context, uint32, time.Duration) (*hostabi.Record, error) {
	return nil, h.denied()
}

func (h *initHost) Finish(_ context.Context, result []byte) error {
	if !h.finish {
		return h.denied()
	}
	h.result = append([]byte(nil), result...)
	return nil
}
