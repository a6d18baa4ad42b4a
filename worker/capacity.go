package worker

import (
	"context"
	"sync"
)

// capacity bounds the turns of each profile on this node. The bound is the profile's as it stands when a turn enters,
// so a replaced permit file takes effect at once.
type capacity struct {
	mu    sync.Mutex
	taken map[string]int
	left  chan struct{} // closed and replaced when somebody leaves
}

func newCapacity() *capacity { return &capacity{taken: map[string]int{}, left: make(chan struct{})} }

// enter waits for room, or for the end of ctx, whose cause it then returns.
func (c *capacity) enter(ctx context.Context, name string, limit int) error {
	for {
		c.mu.Lock()
		if c.taken[name] < limit {
			c.taken[name]++
			c.mu.Unlock()
			return nil
		}
		left := c.left
		c.mu.Unlock()
		select {
		case <-left:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (c *capacity) leave(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.taken[name]--; c.taken[name] == 0 {
		delete(c.taken, name)
	}
	close(c.left)
	c.left = make(chan struct{})
}
