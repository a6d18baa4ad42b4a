package engine

import (
	"runtime"
	"runtime/metrics"
	"time"
)

// places are what turns that compute for long share, one processor less than there are: however many such turns there
// are, a short one finds a processor, and so does the garbage collector.
type places chan struct{}

func newPlaces() places { return make(places, max(1, runtime.GOMAXPROCS(0)-1)) }

// shortTurn is how many times a turn yields before it needs a place: some ten milliseconds of computing.
const shortTurn = 64

// enter takes a place for a turn that has computed for long. Waiting for one is no computing: the call gap leaves it out.
func (t *turn) enter() {
	if t.yields < shortTurn {
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
		t.lastSeen = t.lastSeen.Add(time.Since(began))
	}
	t.placed = true
}

// leave gives the place back, if the turn has one: when others get their chance, before a host call, at its end.
func (t *turn) leave() {
	if t.placed {
		t.placed = false
		<-t.instance.template.places
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
