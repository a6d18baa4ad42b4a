package enginebench

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/towpath/towpath/hostabi/engine"
)

const (
	beside = 50                    // turns at once
	pace   = 25 * time.Millisecond // between the starts of one of them: together a tenth of a core or two
	given  = 50 * time.Millisecond // what an attack may take
	rounds = 5                     // beside an attack, and as many without
)

// attack measures, for each attack, how long over its time it goes on, and what fifty turns beside it suffer meanwhile, with
// the garbage collector at work. The turns come at set times; what one waits before it starts counts. Rounds without the
// attack and with it take turns, so that what else the machine does meets both alike; a quantile is that of the turns of all
// its rounds.
func (b *bench) attack(ctx context.Context) error {
	turn, err := b.engine.Load(ctx, b.guest, engine.Limits{})
	if err != nil {
		return err
	}
	for _, a := range attacks {
		m, err := b.engine.Load(ctx, module(a.pages, a.turn), engine.Limits{Memory: int64(a.pages) << 16})
		if err != nil {
			return err
		}
		var alone, attacked, over durations
		for range rounds {
			calm, err := b.others(ctx, turn)
			if err != nil {
				return err
			}
			stop, overs := make(chan struct{}), make(chan durations)
			go func() { overs <- overruns(ctx, m, stop) }()
			busy, err := b.others(ctx, turn)
			close(stop)
			over = append(over, <-overs...)
			if err != nil {
				return err
			}
			alone, attacked = append(alone, calm...), append(attacked, busy...)
		}
		b.add("overrun_"+a.name+"_max_ms", over.quantile(1)/1e3, "ms", 0)
		b.add("50_turns_beside_"+a.name+"_p99_us", attacked.quantile(.99), "us", alone.quantile(.99))
	}
	return nil
}

// overruns makes the attack again and again until stop, once at least, and returns how long over its time each went on.
func overruns(ctx context.Context, m *engine.Module, stop <-chan struct{}) (over durations) {
	for {
		limited, cancel := context.WithTimeout(ctx, given)
		start := time.Now()
		m.Run(limited, &host{}) // its error is the deadline's, or the stack's
		over = append(over, max(time.Since(start)-given, 0))
		cancel()
		select {
		case <-stop:
			return over
		default:
		}
	}
}

// others runs turns of fifty guests, while the garbage is collected again and again.
func (b *bench) others(ctx context.Context, m *engine.Module) (durations, error) {
	each := max(b.turns/beside/rounds, 2)
	took, errs := make([]durations, beside), make([]error, beside)
	stop := make(chan struct{})
	var collector, turns sync.WaitGroup
	collector.Go(func() {
		for tick := time.NewTicker(pace); ; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
				runtime.GC()
			}
		}
	})
	begin := time.Now().Add(pace)
	for i := range beside {
		turns.Go(func() {
			for n := range each + 1 {
				due := begin.Add(pace*time.Duration(n) + pace*time.Duration(i)/beside)
				time.Sleep(time.Until(due))
				if errs[i] = m.Run(ctx, &host{request: request("events")}); errs[i] != nil {
					return
				}
				if n > 0 { // the first one is for warming up
					took[i] = append(took[i], time.Since(due))
				}
			}
		})
	}
	turns.Wait()
	close(stop)
	collector.Wait()
	var all durations
	for _, d := range took {
		all = append(all, d...)
	}
	return all, errors.Join(errs...)
}
