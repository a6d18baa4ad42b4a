package engine

import (
	"context"
	"testing"
)

func BenchmarkTurn(b *testing.B) {
	for _, request := range []string{"echo {}", "events", "calls 100", "calls 10000"} {
		b.Run(request, func(b *testing.B) {
			m := load(b, open(b, Config{}), guest(b, "plain"), Limits{})
			b.ReportAllocs()
			for b.Loop() {
				if err := m.Run(context.Background(), &quietHost{request: request}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type quietHost struct {
	testHost
	request string
	kv      []byte
	now     int64
}

func (h *quietHost) Request() []byte                               { return []byte(h.request) }
func (h *quietHost) Now() int64                                    { h.now += 1000; return 1_800_000_000_000_000_000 + h.now }
func (h *quietHost) Random(p []byte)                               { clear(p) }
func (h *quietHost) Log(int32, []byte)                             {}
func (h *quietHost) Emit(context.Context, []byte) (uint32, error)  { return 1, nil }
func (h *quietHost) Finish(context.Context, []byte) error          { return nil }
func (h *quietHost) KVGet(context.Context, string) ([]byte, error) { return h.kv, nil }
func (h *quietHost) KVSet(_ context.Context, _ string, v []byte) error {
	h.kv = append(h.kv[:0], v...)
	return nil
}
