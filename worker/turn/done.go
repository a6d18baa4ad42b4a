package turn

import (
	"cmp"
	"time"
)

// Done is one attempt of a turn that has ended on this node.
type Done struct {
	Profile  string
	Status   string // a terminal one, requeued, waiting, or lost to another node
	Took     time.Duration
	Events   int // that the plugin emitted
	Reissued int // outside calls that were made again
}

// attempt is how one ended, in the words of Done.
func (v verdict) attempt() string {
	switch {
	case v.nothing:
		return "lost"
	case v.ask:
		return "waiting"
	default:
		return cmp.Or(v.status, "requeued")
	}
}

func (x *execution) tell(v verdict) {
	if x.runner.Observe == nil {
		return
	}
	x.runner.Observe(Done{Profile: *x.claim.Profile, Status: v.attempt(), Took: time.Since(x.began), Events: x.emitted, Reissued: x.reissued})
}

// Running is how many turns run here now.
func (r *Runner) Running() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.running)
}

// Renewed is when the database last confirmed that this node lives.
func (r *Runner) Renewed() time.Time { return time.Unix(0, r.renewed.Load()) }
