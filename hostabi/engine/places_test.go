package engine

import (
	"context"
	"runtime"
	"testing"
	"time"
)

// longTurn counts far beyond what a short turn may compute, emits, waits, counts again and ends.
func longTurn() []byte {
	s := newSmall("emit", "wait")
	count := cat(i32Const(64), i32Const(0), i32Store(0), loop,
		i32Const(64), i32Const(64), i32Load(0), i32Const(1), i32Add, i32Store(0),
		i32Const(64), i32Load(0), i32Const(40_000_000), []byte{0x48, 0x0d, 0}, end)
	return s.plugin(count, i32Const(0), i32Const(2), s.call("emit"), drop,
		i32Const(0), i64Const(-1), s.call("wait"), drop, count, s.finish())
}

// However many turns compute for long, they leave a processor to the others.
func TestLongComputationsShareTheirPlaces(t *testing.T) {
	ctx := context.Background()
	e := open(t, Config{})
	m := load(t, e, longTurn(), Limits{})
	s := newSmall()
	short := load(t, e, s.plugin(s.finish()), Limits{})
	for range cap(e.places) { // as if others had taken all
		e.places <- struct{}{}
	}

	host, ended := newTestHost(""), make(chan error, 1)
	waits := make(chan int)
	host.block = func(context.Context) error {
		waits <- len(e.places)
		return nil
	}
	go func() { ended <- m.Run(ctx, host) }()
	for range 100 {
		if err := short.Run(ctx, newTestHost("")); err != nil {
			t.Fatal("a short turn:", err)
		}
	}
	select {
	case <-waits:
		t.Error("it went on without a place")
	case err := <-ended:
		t.Error("it ended without a place:", err)
	default:
	}
	for range cap(e.places) {
		<-e.places
	}
	if n := <-waits; n != 0 {
		t.Errorf("it keeps %d places while it waits", n)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := len(e.places); n != 0 {
		t.Errorf("%d places are lost", n)
	}
}

func TestWaitingForAPlaceEndsWithTheTurn(t *testing.T) {
	e := open(t, Config{})
	s := newSmall("request")
	m := load(t, e, s.plugin(s.call("request"), drop, loop, br(0), end, unreachable), Limits{})
	for range cap(e.places) {
		e.places <- struct{}{}
	}
	ctx, cancel := context.WithCancel(context.Background())
	host := newTestHost("")
	host.asked = make(chan struct{})
	go func() {
		<-host.asked
		cancel()
	}()
	if trap := turnError(t, ctx, m, host); trap.Reason != ReasonDeadline {
		t.Errorf("ended with %v, want %s", trap, ReasonDeadline)
	}
	if n := len(e.places); n != cap(e.places) {
		t.Errorf("%d of %d places are taken", n, cap(e.places))
	}
}

// The slice follows what a unit of fuel costs the guest, and what it waits in calls counts for little.
func TestASliceFitsTheGrain(t *testing.T) {
	begin := time.Now()
	for _, c := range []struct {
		name   string
		took   time.Duration
		called bool
		want   int64
	}{
		{"new memory", time.Millisecond, false, leastSlice},
		{"arithmetic", time.Microsecond, false, mostSlice},
		{"as it should be", grain / 2, false, firstSlice},
		{"waiting", time.Hour, true, firstSlice},
	} {
		turn := &turn{slice: firstSlice, called: c.called}
		for range 20 {
			turn.resumed = begin
			turn.paceAt(begin.Add(c.took))
		}
		if turn.slice != c.want || turn.computed > 20*quantum {
			t.Errorf("%s: slices of %d after %v, want %d", c.name, turn.slice, turn.computed, c.want)
		}
	}
}

func TestACompilerLeavesAProcessorWhereTurnsRun(t *testing.T) {
	ctx := context.Background()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	e := open(t, Config{})
	s := newSmall()
	m := load(t, e, s.plugin(s.finish()), Limits{})
	if n := e.compilers(); n != 3 {
		t.Errorf("%d threads compile on an idle node, want 3", n)
	}
	if err := m.Run(ctx, newTestHost("")); err != nil {
		t.Fatal(err)
	}
	if n := e.compilers(); n != 2 {
		t.Errorf("%d threads compile where turns run, want 2", n)
	}
	runtime.GOMAXPROCS(1)
	if n := e.compilers(); n != 1 {
		t.Errorf("%d threads compile on one processor, want 1", n)
	}
}

// Which of several processors are at work is never certain; one alone is, as it runs this.
func TestOneProcessorIsCrowded(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if !crowded() {
		t.Error("a guest would keep the only processor until Go takes it")
	}
}

func BenchmarkCrowded(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		crowded()
	}
}
