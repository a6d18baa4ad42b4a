package queue_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/towpath/towpath/queue"
	"github.com/towpath/towpath/queue/queuetest"
)

// BenchmarkInsertToHandler is the time from before a plain INSERT until its handler runs.
func BenchmarkInsertToHandler(b *testing.B) {
	pool := queuetest.Pool(b)
	ran := make(chan queue.Job)
	start(b, pool, queue.Config{Handlers: map[queue.Kind]queue.Handler{queue.Turn: send(ran)}})
	for b.Loop() {
		exec(b, pool, "insert into river_job (kind, args) values ('turn', '{}')")
		<-ran
	}
}

// statements counts what is sent to the database, by first word.
type statements struct {
	mu sync.Mutex
	by map[string]int
}

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = map[string]int{}
	}
	s.by[strings.ToUpper(strings.Fields(q.SQL)[0])]++
	return ctx
}

func (s *statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (s *statements) count(words ...string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for word, k := range s.by {
		if len(words) == 0 || slices.Contains(words, word) {
			n += k
		}
	}
	return n
}
