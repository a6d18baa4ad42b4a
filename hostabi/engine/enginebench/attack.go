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
)

// attack measures how long over its time an attack goes on, and what fifty turns beside it suffer meanwhile, with the
// garbage collector at work. The turns come at set times; what one waits before it starts counts.
func (b *bench) attack(ctx context.Context) error {
	turn, err := b.engine.Load(ctx, b.guest, engine.Limits{})
	if err != nil {
		return err
	}
	var hostile []*engine.Module
	for _, wasm := range attacks {
		m, err := b.engine.Load(ctx, wasm, engine.Limits{})
		if err != nil {
			return err
		}
		hostile = append(hostile, m)
	}
	alone, err := b.others(ctx, turn)
	if err != nil {
		return err
	}
	var over durations
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			limited, cancel := context.WithTimeout(ctx, given)
			start := time.Now()
			hostile[n%len(hostile)].Run(limited, &host{}) // its error is the deadline's, or the stack's
			over = append(over, max(time.Since(start)-given, 0))
			cancel()
		}
	}()
	attacked, err := b.others(ctx, turn)
	close(stop)
	<-stopped
	if err != nil {
		return err
	}
	b.add("attack_overrun_max_ms", over.quantile(1)/1e3, "ms", 0)
	b.add("50_turns_beside_attack_p99_us", attacked.quantile(.99), "us", alone.quantile(.99))
	return nil
}

// others runs turns of fifty guests, while the garbage is collected again and again.
func (b *bench) others(ctx context.Context, m *engine.Module) (durations, error) {
	each := max(b.turns/beside, 2)
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
