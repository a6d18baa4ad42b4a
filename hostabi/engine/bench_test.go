package engine

import (
	"context"
	"testing"
)

// The figures that people compare are those of enginebench; this is for a profile.
func BenchmarkTurn(b *testing.B) {
	for _, request := range []string{"echo {}", "events", "calls 10000"} {
		b.Run(request, func(b *testing.B) {
			m := load(b, open(b, Config{}), guest(b, "plain"), Limits{})
			b.ReportAllocs()
			for b.Loop() {
				if err := m.Run(context.Background(), &quietHost{testHost: newTestHost(request)}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// quietHost is a testHost without its trace.
type quietHost struct {
	*testHost
	value []byte
}

func (h *quietHost) Now() int64      { h.now += 1000; return h.now }
func (h *quietHost) Random(p []byte) { clear(p) }

func (h *quietHost) Emit(context.Context, []byte) (uint32, error)  { return 1, nil }
func (h *quietHost) Finish(context.Context, []byte) error          { return nil }
func (h *quietHost) KVGet(context.Context, string) ([]byte, error) { return h.value, nil }
func (h *quietHost) KVSet(_ context.Context, _ string, value []byte) error {
	h.value = append(h.value[:0], value...)
	return nil
}
