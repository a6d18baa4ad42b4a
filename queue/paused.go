package queue

import (
	"sync"

	"github.com/riverqueue/river"
)

// follow logs what people do to this node's queues, until the returned function is called.
func (c *Client) follow() (stop func()) {
	events, leave := c.river.Subscribe(river.EventKindQueuePaused, river.EventKindQueueResumed)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range events {
			text := "queue paused"
			if event.Kind == river.EventKindQueueResumed {
				text = "queue resumed"
			}
			c.config.Logger.Info(text, "queue", event.Queue.Name)
		}
	}()
	return sync.OnceFunc(func() { leave(); <-done })
}
