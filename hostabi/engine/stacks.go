package engine

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/towpath/towpath/hostabi/engine/rewrite"
)

// stacks bounds how fast the stacks of all turns grow, in bytes of the counter. A stack that a guest outgrows is copied
// and left to Go's collector: a recursion to its bound leaves 20 MB within milliseconds, and over and over it has the
// collector at work all the time, where turns that allocate wait for it.
type stacks struct{ *rate.Limiter }

const (
	stackRate  = 64 << 20 // bytes a second
	stackBurst = 4 * rewrite.StackBudget
	flatStack  = 256 << 10 // a turn has this much for nothing
)

func newStacks() stacks { return stacks{rate.NewLimiter(stackRate, stackBurst)} }

// deepen has a turn wait for what its stack has grown to. Like waiting for a place, it is no computing.
func (t *turn) deepen(depth int64) {
	more := depth - max(t.deepest, flatStack)
	if more <= 0 {
		return
	}
	t.deepest = depth
	began := time.Now()
	taken := t.instance.template.stacks.ReserveN(began, int(min(more, stackBurst)))
	wait := taken.DelayFrom(began)
	if wait == 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Done():
		taken.Cancel()
		t.stop(t.deadline())
	}
	t.waited(began)
}
