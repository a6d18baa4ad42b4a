package enginebench

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"

	"github.com/towpath/towpath/hostabi/engine"
)

// both loads a module into the engine and into plain wazero.
func (b *bench) both(ctx context.Context, wasm []byte) (*engine.Module, *plain, error) {
	m, err := b.engine.Load(ctx, wasm, engine.Limits{})
	if err != nil {
		return nil, nil, err
	}
	p, err := newPlain(ctx, wasm)
	return m, p, err
}

// small measures a module of a few instructions: what an instance costs by itself.
func (b *bench) small(ctx context.Context) error {
	m, p, err := b.both(ctx, smallModule)
	if err != nil {
		return err
	}
	defer p.close(ctx)
	ours, err := sample(5*b.turns, func() error { return m.Run(ctx, &host{}) })
	if err != nil {
		return err
	}
	theirs, err := sample(5*b.turns, func() error { return p.run(ctx, &host{}) })
	if err != nil {
		return err
	}
	b.add("small_instance_p50_us", ours.quantile(.5), "us", theirs.quantile(.5))
	return nil
}

// instances measures turns of a Go guest.
func (b *bench) instances(ctx context.Context) error {
	m, p, err := b.both(ctx, b.guest)
	if err != nil {
		return err
	}
	defer p.close(ctx)
	for _, turn := range []struct{ name, request string }{
		{"go_instance", "touch"}, {"turn_100_events_go", "events"},
	} {
		in := request(turn.request)
		ours, err := sample(b.turns, func() error { return m.Run(ctx, &host{request: in}) })
		if err != nil {
			return err
		}
		theirs, err := sample(b.turns/4, func() error { return p.run(ctx, &host{request: in}) })
		if err != nil {
			return err
		}
		b.add(turn.name+"_p50_us", ours.quantile(.5), "us", theirs.quantile(.5))
		b.add(turn.name+"_p99_us", ours.quantile(.99), "us", theirs.quantile(.99))
	}
	turn := b.rows[len(b.rows)-2].Value
	native, err := sample(b.turns/10, func() error {
		cmd := exec.CommandContext(ctx, b.native)
		cmd.Stdin = bytes.NewReader(request("events"))
		out, err := cmd.Output()
		if err == nil && len(out) != 101*4+100*200+2 {
			err = fmt.Errorf("the native program wrote %d bytes", len(out))
		}
		return err
	})
	if err != nil {
		return err
	}
	b.add("go_turn_vs_exec", turn, "us", native.quantile(.5))
	return nil
}

// calls measures a host call that moves 1 KiB.
func (b *bench) calls(ctx context.Context) error {
	m, p, err := b.both(ctx, b.guest)
	if err != nil {
		return err
	}
	defer p.close(ctx)
	const moved = 200_000 // the calls of "calls" that move 1 KiB; its third of calls that move nothing is free
	in := request("calls")
	ours, err := sample(10, func() error { return m.Run(ctx, &host{request: in}) })
	if err != nil {
		return err
	}
	theirs, err := sample(10, func() error { return p.run(ctx, &host{request: in}) })
	if err != nil {
		return err
	}
	b.add("host_call_1k_ns", ours.quantile(.5)*1e3/moved, "ns", theirs.quantile(.5)*1e3/moved)
	return nil
}

// compute measures what metering costs Go code that makes no calls. What a turn costs that does nothing is taken off.
func (b *bench) compute(ctx context.Context) error {
	m, p, err := b.both(ctx, b.guest)
	if err != nil {
		return err
	}
	defer p.close(ctx)
	took := map[string]durations{}
	for range 12 { // by turns, so that a busy machine slows both
		for _, word := range []string{"nothing", "compute"} {
			for name, run := range map[string]func(context.Context, *host) error{
				"metered ": func(ctx context.Context, h *host) error { return m.Run(ctx, h) }, "plain ": p.run,
			} {
				d, err := sample(1, func() error { return run(ctx, &host{request: request(word)}) })
				if err != nil {
					return err
				}
				took[name+word] = append(took[name+word], d...)
			}
		}
	}
	net := func(name string) float64 {
		return (took[name+" compute"].quantile(.25) - took[name+" nothing"].quantile(.25)) / 1e3
	}
	metered, unmetered := net("metered"), net("plain")
	b.add("metered_go_ms", metered, "ms", unmetered)
	b.add("metering_overhead_pct", 100*(metered/unmetered-1), "%", 0)
	return nil
}
