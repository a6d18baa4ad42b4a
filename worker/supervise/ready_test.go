//go:build linux

package supervise

import (
	"io"
	"syscall"
	"testing"
	"time"
)

// stocked gives guards of which one is ready.
func stocked(t *testing.T) *Guards {
	t.Helper()
	g := &Guards{}
	t.Cleanup(g.Close)
	g.fill()
	if g.ready == nil {
		t.Fatal("no guard is ready")
	}
	return g
}

func TestAGuardThatIsReadyTakesTheNextChild(t *testing.T) {
	g := stocked(t)
	waiting := g.ready.guard.Process.Pid
	for i, script := range []string{"echo one; exit 3", "echo two; exit 4"} {
		c, err := g.Start(t.Context(), shell(script))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Kill()
		said, err := io.ReadAll(c.Stdout)
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"one\n", "two\n"}[i]; string(said) != want {
			t.Errorf("the child said %q, want %q", said, want)
		}
		if exit := ended(t, c); exit != (Exit{Code: 3 + i}) {
			t.Errorf("exit is %+v", exit)
		}
		if took := c.guard.Process.Pid == waiting; took != (i == 0) {
			t.Errorf("child %d: has the guard that was ready: %v", i, took)
		}
	}
}

func TestAGuardIsMadeReadyForTheNextOnce(t *testing.T) {
	g := stocked(t)
	first := g.ready
	g.fill()
	if g.ready != first {
		t.Error("a second guard took the place of one that is ready")
	}
	c, err := g.Start(t.Context(), shell("exit 0"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Kill()
	ended(t, c)
	g.mu.Lock()
	due := g.refill != nil
	g.mu.Unlock()
	if !due {
		t.Error("no next guard is on its way")
	}
}

func TestAGuardThatDiedWhileItWaitedCostsNothing(t *testing.T) {
	g := stocked(t)
	dead := g.ready
	if err := dead.guard.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(dead.guard.Process.Pid)
	c, err := g.Start(t.Context(), shell("exit 5"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Kill()
	if exit := ended(t, c); exit != (Exit{Code: 5}) {
		t.Errorf("exit is %+v", exit)
	}
	select {
	case <-dead.Done():
	case <-time.After(patience):
		t.Error("the dead guard is a zombie")
	}
}

func TestAGuardThatIsReadyEndsWithItsWorker(t *testing.T) {
	g := stocked(t)
	pid := g.ready.guard.Process.Pid
	g.Close()
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("its guard is still there: %v", err)
	}
	g.fill()
	g.later()
	if g.ready != nil || g.refill != nil {
		t.Error("a closed store of guards fills up")
	}
	c, err := g.Start(t.Context(), shell("exit 6")) // closing, a node may still start one
	if err != nil {
		t.Fatal(err)
	}
	defer c.Kill()
	if exit := ended(t, c); exit != (Exit{Code: 6}) {
		t.Errorf("exit is %+v", exit)
	}
}

func TestAGuardThatIsReadyOutlivesNoWorkerThatIsKilled(t *testing.T) {
	g := stocked(t)
	c := g.ready
	g.ready = nil
	c.letters.Close() // what the kernel does with the pipes of a worker that it ends
	if _, err := io.ReadAll(c.reports); err != nil {
		t.Fatal(err)
	}
	c.discard()
	if code := c.guard.ProcessState.ExitCode(); code != 1 {
		t.Errorf("it ended with %d, not by itself", code)
	}
}
