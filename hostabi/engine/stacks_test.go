package engine

import (
	"context"
	"testing"
	"time"
)

// However many turns recurse to their bound, the collector gets their stacks at a rate that it can bear.
func TestDeepRecursionsWaitForEachOther(t *testing.T) {
	e := open(t, Config{})
	s := newSmall("request")
	down := s.fn(s.code, call(len(s.imports)), i32Const(1), i32Add)
	deep := load(t, e, s.plugin(s.call("request"), drop, call(down)), Limits{})
	s = newSmall()
	flat := load(t, e, s.plugin(s.finish()), Limits{})

	if trap := turnError(t, context.Background(), deep, newTestHost("")); trap.Reason != ReasonDepth {
		t.Errorf("alone it ended with %v, want %s", trap, ReasonDepth)
	}
	for range 10_000 { // as if as many others had been as deep
		e.stacks.ReserveN(time.Now(), stackBurst)
	}
	before := e.stacks.Tokens()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	host := newTestHost("")
	host.asked = make(chan struct{})
	go func() {
		<-host.asked
		for range 100 {
			if err := flat.Run(ctx, newTestHost("")); err != nil {
				t.Error("a flat turn:", err)
			}
		}
		cancel()
	}()
	if trap := turnError(t, ctx, deep, host); trap.Reason != ReasonDeadline {
		t.Errorf("after others it ended with %v, want %s", trap, ReasonDeadline)
	}
	if after := e.stacks.Tokens(); after < before {
		t.Errorf("a turn that ended while it waited still counts: %.0f bytes are left, %.0f were", after, before)
	}
}
