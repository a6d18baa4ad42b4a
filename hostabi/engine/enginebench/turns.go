package enginebench

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"syscall"
	"time"

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

// compute measures what metering costs Go code that makes no calls: between the guest's two marks, so that neither its
// instance nor its first use of memory count. Processor time and the best of many turns, which take turns with the plain
// ones, leave out what else the machine does.
func (b *bench) compute(ctx context.Context) error {
	m, p, err := b.both(ctx, b.guest)
	if err != nil {
		return err
	}
	defer p.close(ctx)
	between := func(run func(context.Context, *host) error) (time.Duration, error) {
		var marks []time.Duration
		h := &host{request: request("compute"), emitted: func() { marks = append(marks, processorTime()) }}
		if err := run(ctx, h); err != nil {
			return 0, err
		}
		if len(marks) != 2 {
			return 0, fmt.Errorf("the guest made %d marks", len(marks))
		}
		return marks[1] - marks[0], nil
	}
	var metered, unmetered durations
	for range max(b.turns/80, 3) {
		d, err := between(func(ctx context.Context, h *host) error { return m.Run(ctx, h) })
		if err != nil {
			return err
		}
		plain, err := between(p.run)
		if err != nil {
			return err
		}
		metered, unmetered = append(metered, d), append(unmetered, plain)
	}
	ours, theirs := metered.quantile(0), unmetered.quantile(0)
	b.add("metered_go_ms", ours/1e3, "ms", theirs/1e3)
	b.add("metering_overhead_pct", 100*(ours/theirs-1), "%", 0)
	return nil
}

// processorTime is what this process has used.
func processorTime() time.Duration {
	var used syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &used) // it fails for another who than this
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
