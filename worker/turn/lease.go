package turn

import (
	"context"
	"time"

	"github.com/towpath/towpath/store"
)

// renew extends the leases of what the node executes, every third of their time. What it does not execute lapses and
// is found by the sweep. A turn whose lease is gone ends at once and writes
// nothing. When the database has not answered for two lease times somebody else must be assumed to have taken over.
func (r *Runner) renew(ctx context.Context) {
	last := time.Now()
	for r.pause(ctx, r.TTL/3) {
		asked := time.Now()
		before := r.executions()
		held, err := r.Store.RenewOnly(ctx, r.Node, r.TTL, numbers(before))
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			r.Logger.Warn("leases are not renewed", "turns", len(before), "error", err)
			if time.Since(last) > 2*r.TTL {
				for _, x := range before {
					x.cancel(errLost)
				}
			}
			continue
		}
		last = time.Now()
		r.renewed.Store(last.UnixNano())
		for _, x := range before {
			if held[x.owner.No] != x.owner.Fence {
				x.cancel(errLost)
			}
		}
		r.brood.feed(asked, func(x *execution) bool { return held[x.owner.No] == x.owner.Fence })
		r.requestAll() // what a lost notification did not tell
	}
}

func (r *Runner) executions() []*execution {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*execution, 0, len(r.running))
	for _, x := range r.running {
		list = append(list, x)
	}
	return list
}

func owners(list []*execution) []store.Owner {
	o := make([]store.Owner, len(list))
	for i, x := range list {
		o[i] = x.owner
	}
	return o
}

func numbers(list []*execution) []int64 {
	nos := make([]int64, len(list)) // not nil, which would mean every lease
	for i, x := range list {
		nos[i] = x.owner.No
	}
	return nos
}
