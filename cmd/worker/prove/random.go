package prove

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"

	"github.com/towpath/towpath/worker/turn"
)

// Random inflicts n faults by chance, on three nodes a lane with several turns each, and checks every turn. What is
// struck where follows from the seed. Options.Only names the one fault to inflict. It returns ErrBroken if anything is.
func Random(ctx context.Context, o Options, n int, seed uint64) (err error) {
	began := time.Now()
	if o.DatabaseURL != "" {
		o.Lanes = 1
	}
	lanes, err := open(ctx, o, crew)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll(lanes)) }()
	want, _, err := lanes[0].undisturbed(ctx)
	if err != nil {
		return fmt.Errorf("the undisturbed turn: %w", err)
	}
	fmt.Fprintf(o.Out, "Seed %d, %d faults, %d lanes of %d nodes, leases of %v.\n", seed, n, o.Lanes, crew, LeaseTTL)
	campaigns := make([]*campaign, len(lanes))
	var playing sync.WaitGroup
	for i, l := range lanes {
		c := &campaign{lane: l, want: want, chance: rand.New(rand.NewPCG(seed, uint64(i))), struck: map[Fault]int{}}
		campaigns[i] = c
		playing.Go(func() { c.play(ctx, n/len(lanes)) })
	}
	playing.Wait()
	var sum campaign
	sum.struck = map[Fault]int{}
	for _, c := range campaigns {
		sum.turns, sum.again, sum.taken, sum.resumed = sum.turns+c.turns, sum.again+c.again, sum.taken+c.taken, sum.resumed+c.resumed
		for f, k := range c.struck {
			sum.struck[f] += k
		}
		sum.errs = append(sum.errs, c.errs...)
	}
	for _, f := range Faults {
		fmt.Fprintf(o.Out, "%-12s %d\n", f, sum.struck[f])
	}
	fmt.Fprintf(o.Out, "%d turns, %d takeovers, %d calls made again and reported, %d stopped nodes resumed; %d broken, %v.\n",
		sum.turns, sum.taken, sum.again, sum.resumed, len(sum.errs), time.Since(began).Round(time.Second))
	for _, err := range sum.errs {
		fmt.Fprintln(o.Out, "\nbroken:", err)
	}
	if len(sum.errs) > 0 {
		return fmt.Errorf("%w: seed %d", ErrBroken, seed)
	}
	return context.Cause(ctx)
}

// crew is how many nodes a lane of a random run has.
const crew = 3

// campaign is what chance does to one lane.
type campaign struct {
	lane   *lane
	want   string
	chance *rand.Rand
	round  int
	ids    []string // of the round's turns

	turns, again, taken, resumed int
	struck                       map[Fault]int
	errs                         []error
}

func (c *campaign) total() (n int) {
	for _, k := range c.struck {
		n += k
	}
	return n
}

func (c *campaign) play(ctx context.Context, n int) {
	for c.total() < n && ctx.Err() == nil && len(c.errs) < 5 {
		c.round++
		if err := c.one(ctx); err != nil && ctx.Err() == nil {
			for _, node := range c.lane.nodes {
				err = fmt.Errorf("%w\nlog of %s: %s", err, node.id, node.log)
			}
			c.lane.clear(ctx, c.ids...)
			c.errs = append(c.errs, fmt.Errorf("lane %s, round %d: %w", c.lane.name, c.round, err))
		}
		fmt.Fprintf(c.lane.options.Progress, "\rlane %s: %d of %d faults", c.lane.name, c.total(), n)
	}
}

// draw chooses a point and a fault.
func (c *campaign) draw(id string) (Arm, Fault) {
	a := Arm{Process: id, Name: turn.AtCall, N: 1 + c.chance.IntN(70)}
	switch c.chance.IntN(10) {
	case 0:
		a.Name, a.N = turn.AtIntent, 1+c.chance.IntN(2)
	case 1:
		a.Name, a.N = turn.AtAppend, 1+c.chance.IntN(4)
	case 2:
		a.Name, a.N = turn.AtAppended, 1+c.chance.IntN(4)
	case 3:
		a.Name, a.N = turn.AtFinish, 1
	case 4:
		a.Name, a.N = turn.AtFinished, 1
	case 5:
		a.Name, a.N = turn.AtClaim, 1
	}
	if only := Fault(c.lane.options.Only); only != "" {
		return a, only
	}
	fault := Kill
	switch k := c.chance.IntN(100); {
	case k < 15:
		fault = Stop
	case k < 30:
		fault = Connections
	case k < 32 && c.lane.server != nil:
		fault = Postgres
	}
	return a, fault
}

// one round: some turns at once, faults for most of them.
func (c *campaign) one(ctx context.Context) error {
	l := c.lane
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("nothing after %v", patience))
	defer cancel()
	l.forget()
	if err := l.fill(ctx, crew); err != nil {
		return err
	}
	asked := l.provider.asked()
	ids := make([]string, 1+c.chance.IntN(6))
	c.ids = ids
	faults := map[string]Fault{}
	for i := range ids {
		ids[i] = fmt.Sprintf("random-%s-%d-%d", l.name, c.round, i+1)
		if c.chance.IntN(4) == 0 {
			continue
		}
		var arm Arm
		arm, faults[ids[i]] = c.draw(ids[i])
		if err := l.order(order{Arm: &arm}); err != nil {
			return err
		}
	}
	for _, id := range ids {
		if err := l.submit(ctx, id); err != nil {
			return err
		}
	}
	all := make(chan error, 1)
	go func() {
		var attending sync.WaitGroup
		errs := make([]error, len(ids))
		for i, id := range ids {
			attending.Go(func() { errs[i] = l.attend(ctx, id) })
		}
		attending.Wait()
		all <- errors.Join(errs...)
	}()
	sweeping, swept := context.WithCancel(ctx)
	go l.sweeping(sweeping)
	stopped, err := c.strikes(ctx, faults, all)
	swept()
	if err != nil {
		return err
	}
	if err := c.resume(ctx, stopped, ids); err != nil {
		return err
	}
	return c.judge(ctx, ids, asked)
}

// strikes inflicts the faults as turns come to their points, until all turns have ended.
func (c *campaign) strikes(ctx context.Context, faults map[string]Fault, all <-chan error) (stopped []*child, err error) {
	l := c.lane
	out := map[*child]bool{} // dead or stopped
	for seen := 0; ; {
		l.mu.Lock()
		fresh, moved := l.passed[seen:], l.moved
		seen = len(l.passed)
		l.mu.Unlock()
		for _, p := range fresh {
			if !p.hit || out[p.node] {
				continue
			}
			fault := faults[p.point.Process]
			c.struck[fault]++
			if err := l.strike(ctx, fault, p.node); err != nil {
				return stopped, fmt.Errorf("fault %s: %w", fault, err)
			}
			if fault == Kill || fault == Stop {
				out[p.node] = true
				if fault == Stop {
					stopped = append(stopped, p.node)
				}
				// A fresh node, which nobody arms: so there is one that goes on to the end.
				if err := l.launch(); err != nil {
					return stopped, err
				}
			}
		}
		select {
		case <-moved:
		case err := <-all:
			return stopped, err
		}
	}
}

// resume lets stopped nodes go on with turns that have ended elsewhere.
func (c *campaign) resume(ctx context.Context, stopped []*child, ids []string) error {
	l := c.lane
	for _, node := range stopped {
		before := make([]string, len(ids))
		for i, id := range ids {
			var err error
			if before[i], err = l.fingerprint(ctx, id); err != nil {
				return err
			}
		}
		if err := node.signal(syscall.SIGCONT); err != nil {
			return err
		}
		if err := node.order(order{Disarm: true, Go: true}); err != nil {
			return err
		}
		for i, id := range ids {
			if l.holds(node, id) {
				if err := l.awaitLeft(ctx, node, id); err != nil {
					return err
				}
			}
			after, err := l.fingerprint(ctx, id)
			if err != nil {
				return err
			}
			if before[i] != after {
				return fmt.Errorf("the fenced owner %s of %s wrote: before it went on\n%s\nafter\n%s", node.id, id, before[i], after)
			}
		}
		c.resumed++
	}
	// Who was blocked when its connections broke goes on too.
	return l.order(order{Disarm: true, Go: true})
}

// holds reports whether a node has begun with a turn and not left it.
func (l *lane) holds(node *child, process string) (holds bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.passed {
		if p.node == node && p.point.Process == process {
			holds = p.point.Name != turn.AtLeft
		}
	}
	return holds
}

func (c *campaign) judge(ctx context.Context, ids []string, asked map[string]int) error {
	l := c.lane
	reissued := map[string]int{}
	for _, id := range ids {
		h, err := l.history(ctx, id)
		if err == nil {
			err = h.check(c.want)
		}
		if err != nil {
			return fmt.Errorf("turn %s: %w", id, err)
		}
		c.turns++
		c.taken += h.attempts - 1
		for key, n := range h.reissued {
			reissued[key] += n
			c.again += n
		}
	}
	calls := 0
	for key, n := range l.provider.asked() {
		if n -= asked[key]; n == 0 {
			continue
		}
		calls++
		// One that was reported may not have left: the node died between the intent and the sending.
		if n > 1+reissued[key] {
			return fmt.Errorf("call %s was asked %d times, %d times reported as made again", key, n, reissued[key])
		}
	}
	if calls != 2*len(ids) {
		return fmt.Errorf("the provider knows %d calls of %d turns, want two each", calls, len(ids))
	}
	return l.broken(ctx)
}
