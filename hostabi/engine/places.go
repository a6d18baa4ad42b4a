package engine

import (
	"runtime"
	"runtime/metrics"
	"time"

	"github.com/towpath/towpath/hostabi/engine/rewrite"
)

// places are what turns that compute for long share, one processor less than there are: however many such turns there
// are, a short one finds a processor, and so does the garbage collector.
type places chan struct{}

func newPlaces() places { return make(places, max(1, runtime.GOMAXPROCS(0)-1)) }

const (
	// shortTurn is how long a turn computes before it needs a place.
	shortTurn = 10 * time.Millisecond
	// quantum is how long a guest that only computes keeps a processor that others wait for. Go's scheduler would give it
	// ten times as much.
	quantum = time.Millisecond
	// grain is the longest that a guest should compute until it yields, as Go's collector waits for it meanwhile, and all
	// turns with the collector.
	grain = quantum / 4
	// What a turn gets of fuel at a time, between these. The least fills 256 KiB of memory: more would be milliseconds where
	// each page is new, and the kernel has to find and clear it.
	leastSlice = 1 << 15
	firstSlice = 1 << 17
	mostSlice  = rewrite.Slice
)

// paceAt fits the slice to what the guest does: a unit of fuel is a nanosecond or fifty.
func (t *turn) paceAt(now time.Time) {
	took := now.Sub(t.resumed)
	switch {
	case t.called: // in which it may have waited
		took = min(took, quantum)
	case took > grain:
		t.slice = max(t.slice/2, leastSlice)
	case took < grain/4:
		t.slice = min(t.slice*2, mostSlice)
	}
	t.computed += took
}

// enter takes a place for a turn that has computed for long. Waiting for one is no computing: the call gap leaves it out.
func (t *turn) enter() {
	if t.computed < shortTurn {
		return
	}
	places := t.instance.template.places
	select {
	case places <- struct{}{}:
	default:
		began := time.Now()
		select {
		case places <- struct{}{}:
		case <-t.Done():
			t.stop(t.deadline())
		}
		t.waited(began)
	}
	t.placed = true
}

// waited leaves the time since began out of what the turn computes.
func (t *turn) waited(began time.Time) {
	d := time.Since(began)
	t.lastSeen, t.resumed = t.lastSeen.Add(d), t.resumed.Add(d)
}

// leave gives the place back, if the turn has one: when others get their chance, before a host call, at its end.
func (t *turn) leave() {
	if t.placed {
		t.placed = false
		<-t.instance.template.places
	}
}

// giveWay lets others run if any wait for a processor.
func giveWay() {
	if crowded() {
		runtime.Gosched()
	}
}

// crowded says whether all of Go's processors are at work. One that is not takes whatever there is to run; to give way
// then only moves the guest to that one's thread, which the kernel may put beside this one's, where it keeps back for
// milliseconds what this processor was about to run. It costs a microsecond.
func crowded() bool {
	running := []metrics.Sample{{Name: "/sched/goroutines/running:goroutines"}}
	metrics.Read(running)
	return running[0].Value.Uint64() >= uint64(runtime.GOMAXPROCS(0))
}
