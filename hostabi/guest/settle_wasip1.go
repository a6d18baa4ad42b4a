package guest

import (
	"runtime"
	"runtime/metrics"
)

// maxRounds bounds how long settle defers to goroutines that never block.
const maxRounds = 1 << 12

var runnable = []metrics.Sample{{Name: "/sched/goroutines/runnable:goroutines"}}

// settle lets every other goroutine run until it blocks, because `wait` is going to stop them all. With one thread the
// runtime's count is exact. A goroutine that only ever yields does not hold up records for ever.
func settle() {
	for range maxRounds {
		runtime.Gosched() // due timers fire here
		if metrics.Read(runnable); runnable[0].Value.Uint64() == 0 {
			return
		}
	}
}
