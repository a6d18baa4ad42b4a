package turn

import (
	"context"
	"strings"
	"time"

	"github.com/towpath/towpath/store"
)

const (
	relisten  = time.Second            // after a listening connection broke
	askPooled = 500 * time.Millisecond // without LISTEN, while turns run
)

// listen hears which processes something was said to. What is missed while it reconnects, the next renewal asks for.
func (r *Runner) listen(ctx context.Context) {
	for {
		err := r.Store.Listen(ctx, []string{store.ChannelControl}, r.requestAll, func(_, payload string) {
			if payload == "*" && r.Joined != nil {
				r.Joined(ctx)
			}
			if r.Told != nil {
				r.Told()
			}
			if payload == store.Collect && r.Collect != nil {
				r.Collect()
				return
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			for id := range strings.SplitSeq(payload, ",") {
				if r.running[id] != nil {
					r.request(id)
				} else if r.claiming > 0 {
					r.missed[id] = struct{}{}
				}
			}
		})
		if ctx.Err() != nil {
			return
		}
		r.Logger.Warn("control channel broke", "error", err)
		if !r.pause(ctx, relisten) {
			return
		}
	}
}

// request asks, with mu held, what was said to a process.
func (r *Runner) request(id string) {
	r.asked[id] = struct{}{}
	signal(r.ask)
}

func (r *Runner) requestAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.running) > 0 {
		r.all = true
		signal(r.ask)
	}
}

// poll fetches what was said and hands it to the turns.
func (r *Runner) poll(ctx context.Context) {
	var tick <-chan time.Time
	if r.Pooled {
		t := time.NewTicker(askPooled)
		defer t.Stop()
		tick = t.C
	}
	for {
		select {
		case <-r.ask:
		case <-tick:
			r.requestAll()
			continue
		case <-ctx.Done():
			return
		}
		list := r.wanted()
		if len(list) == 0 {
			continue
		}
		words, err := r.Store.Poll(ctx, owners(list))
		if err != nil {
			if ctx.Err() != nil || !r.pause(ctx, relisten) {
				return
			}
			r.Logger.Warn("control words are not read", "error", err)
			r.requestAll()
			continue
		}
		byNo := make(map[int64]*execution, len(list))
		for _, x := range list {
			byNo[x.owner.No] = x
		}
		for _, w := range words {
			byNo[w.No].hear(w)
		}
	}
}

// wanted takes the executions that were asked for.
func (r *Runner) wanted() []*execution {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []*execution
	for id, x := range r.running {
		if _, asked := r.asked[id]; asked || r.all {
			list = append(list, x)
		}
	}
	clear(r.asked)
	r.all = false
	return list
}
