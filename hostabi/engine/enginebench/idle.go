package enginebench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/towpath/towpath/hostabi/engine"
)

// idle measures turns that wait: their memory, and the threads of the process.
func (b *bench) idle(ctx context.Context) error {
	m, p, err := b.both(ctx, b.guest)
	if err != nil {
		return err
	}
	defer p.close(ctx)
	plainKB, err := perInstance(100, func(release <-chan struct{}) error {
		for range 100 {
			i, err := p.instance(context.WithValue(ctx, hostKey{}, &host{}))
			if err != nil {
				return err
			}
			go func() { <-release; i.Close(ctx) }()
		}
		return nil
	})
	if err != nil {
		return err
	}
	var threads float64
	ours := func(n int) (float64, error) {
		waiting, stop := context.WithCancel(ctx)
		var turns sync.WaitGroup
		defer turns.Wait()
		defer stop()
		return perInstance(n, func(<-chan struct{}) error {
			err := wait(waiting, m, n, &turns)
			if err == nil {
				threads, err = status("/proc/self/status", "Threads:")
			}
			return err
		})
	}
	kb, err := ours(1000)
	if err != nil {
		return err
	}
	b.add("idle_go_instance_kb", kb, "KiB", plainKB)
	if _, err := ours(5000); err != nil {
		return err
	}
	b.add("waiting_5000_threads", threads, "threads", 5000)
	return nil
}

// wait starts n turns and returns when all of them wait.
func wait(ctx context.Context, m *engine.Module, n int, turns *sync.WaitGroup) error {
	waiting := make(chan struct{})
	for range n {
		ended := make(chan error, 1)
		turns.Go(func() { ended <- m.Run(ctx, &host{request: request("wait"), waiting: waiting}) })
		select {
		case <-waiting:
		case err := <-ended:
			return fmt.Errorf("a turn that should wait ended: %w", err)
		}
	}
	return nil
}

// perInstance returns how much the memory of this process grows by each of the n things that make makes, in KiB.
func perInstance(n int, make_ func(release <-chan struct{}) error) (float64, error) {
	before, err := memory()
	if err != nil {
		return 0, err
	}
	release := make(chan struct{})
	defer close(release)
	if err := make_(release); err != nil {
		return 0, err
	}
	after, err := memory()
	return (after - before) / float64(n), err
}

// memory is the share of this process of the machine's memory, in KiB. A page that many instances share counts once.
func memory() (float64, error) {
	runtime.GC()
	debug.FreeOSMemory()
	return status("/proc/self/smaps_rollup", "Pss:")
}

// status reads a number from a file of /proc.
func status(file, field string) (float64, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), field); ok {
			var n float64
			_, err := fmt.Sscan(rest, &n)
			return n, err
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, field)
}
