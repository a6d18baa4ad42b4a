package store

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Channels that wake readers. A payload names process ids, separated by commas, or is "*" for any.
const (
	ChannelEvents  = "towpath_events"
	ChannelControl = "towpath_control"
)

// Event is one line of a process's log.
type Event struct {
	Seq  int64           `db:"seq" json:"seq"`
	Type string          `db:"type" json:"type"`
	Data json.RawMessage `db:"data" json:"data"`
	At   time.Time       `db:"at" json:"at"`
}

// Final reports whether nothing comes after e.
func (e Event) Final() bool {
	switch e.Type {
	case "process.completed", "process.failed", "process.cancelled", "process.abandoned":
		return true
	}
	return false
}

// Events reads at most max events after a sequence number, oldest first.
func (s *Store) Events(ctx context.Context, id string, after int64, max int) ([]Event, error) {
	return all(ctx, s, "events", pgx.RowToStructByName[Event], "select seq, type, data, at from towpath.events($1, $2, $3)", id, after, max)
}

// Follow calls fn with each event after a sequence number, as they are stored, until the process has ended, fn
// returns an error, or ctx ends. poll is how long it waits without a wake-up before it looks by itself; listen false
// only looks, as a pooled connection must.
func (s *Store) Follow(ctx context.Context, id string, after int64, poll time.Duration, listen bool, fn func(Event) error) error {
	wake := make(chan struct{}, 1)
	if listen {
		sub, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		ready := make(chan struct{})
		go func() {
			defer close(done)
			// Without the wake-up the loop below still reads, at the pace of poll.
			_ = s.Listen(sub, []string{ChannelEvents}, func() { close(ready) }, func(_, payload string) {
				if payload == "*" || contains(payload, id) {
					select {
					case wake <- struct{}{}:
					default:
					}
				}
			})
		}()
		defer func() { stop(); <-done }()
		select {
		case <-ready:
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	tick := time.NewTicker(poll)
	defer tick.Stop()
	const page = 500
	for {
		list, err := s.Events(ctx, id, after, page)
		if err != nil {
			return err
		}
		for _, e := range list {
			if err := fn(e); err != nil {
				return err
			}
			if e.Final() {
				return nil
			}
			after = e.Seq
		}
		if len(list) == page {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
		case <-tick.C:
		}
	}
}

func contains(payload, id string) bool {
	for part := range strings.SplitSeq(payload, ",") {
		if part == id {
			return true
		}
	}
	return false
}

// Listen holds a connection and calls fn for each notification on the channels until ctx ends or the connection
// breaks; it returns what ended it. ready, if given, is called once it listens.
func (s *Store) Listen(ctx context.Context, channels []string, ready func(), fn func(channel, payload string)) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return wrap("listen", err)
	}
	// A listening connection must not go back to the pool.
	c := conn.Hijack()
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = c.Close(closing)
	}()
	for _, channel := range channels {
		if _, err := c.Exec(ctx, "listen "+pgx.Identifier{channel}.Sanitize()); err != nil {
			return wrap("listen", err)
		}
	}
	if ready != nil {
		ready()
	}
	for {
		n, err := c.WaitForNotification(ctx)
		if err != nil {
			return wrap("listen", err)
		}
		fn(n.Channel, n.Payload)
	}
}
