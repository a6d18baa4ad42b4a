package store

import (
	"context"
	"strings"
	"sync"
	"time"
)

// later is the first argument of a function that an executor calls all the time. It is computed before the call: waking
// the readers of the process is then left to wakeReaders. A commit that notifies holds a lock of the whole server while
// it waits for the disk, so that no other shares its flush; a transaction that does nothing but notify waits for nothing.
// Readers miss the wake-up of a node that dies between the two, and look by themselves, as they must anyhow.
func later(argument string) string {
	return "case when set_config('towpath.notify', 'after', true) <> '' then " + argument + " end"
}

// wakes are the processes whose readers are to be woken. While one notification is on its way, others gather.
type wakes struct {
	mu   sync.Mutex
	ids  []string
	busy bool
}

const (
	wakeBytes   = 7900 // of a payload; Postgres allows below 8000
	wakeTimeout = 5 * time.Second
)

// wakeReaders notifies the readers of processes of what has been committed. An owner without ID wakes all readers.
func (s *Store) wakeReaders(ids ...string) {
	s.wakes.mu.Lock()
	defer s.wakes.mu.Unlock()
	s.wakes.ids = append(s.wakes.ids, ids...)
	if !s.wakes.busy {
		s.wakes.busy = true
		go s.sendWakes()
	}
}

func (s *Store) sendWakes() {
	for {
		s.wakes.mu.Lock()
		ids := s.wakes.ids
		s.wakes.ids = nil
		s.wakes.busy = len(ids) > 0
		s.wakes.mu.Unlock()
		if len(ids) == 0 {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), wakeTimeout)
		_, _ = s.pool.Exec(ctx, "select pg_notify($1, $2)", ChannelEvents, payload(ids)) // who misses it looks by itself
		cancel()
	}
}

// payload names each of the ids once, or is "*" where one is missing or they are too many.
func payload(ids []string) string {
	var b strings.Builder
	seen := make(map[string]bool, len(ids))
	for _, id := range ids {
		if seen[id] {
			continue
		}
		seen[id] = true
		if id == "" || b.Len()+len(id) >= wakeBytes {
			return "*"
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(id)
	}
	return b.String()
}
