// Hostile makes use of everything that could make a Go guest behave differently from one run to the next, and emits
// what it saw.
package main

import (
	crand "crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"time"
	"unsafe"
)

//go:wasmimport turn_v1 emit
func emit(p unsafe.Pointer, n uint32) int32

//go:wasmimport turn_v1 finish
func finish(p unsafe.Pointer, n uint32) int32

func main() {}

//go:wasmexport manifest_v1
func manifest() int32 { return end(`{"name":"hostile","version":"1"}`) }

func end(s string) int32 { return finish(unsafe.Pointer(unsafe.StringData(s)), uint32(len(s))) }

func say(format string, args ...any) {
	b, _ := json.Marshal(map[string]string{"type": "saw", "text": fmt.Sprintf(format, args...)})
	emit(unsafe.Pointer(&b[0]), uint32(len(b)))
}

// frozen is drawn in _initialize.
var frozen = func() string {
	m := map[int]int{1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 7, 8: 8, 9: 9}
	var b strings.Builder
	for k := range m {
		fmt.Fprint(&b, k)
	}
	return fmt.Sprint(b.String(), " ", rand.Int(), " ", time.Now().UnixNano())
}()

//go:wasmexport turn_v1
func turn() int32 {
	start := time.Now()
	say("frozen %s, start %v", frozen, start.UnixNano())

	m := map[string]int{}
	for i := range 20 {
		m[fmt.Sprint("k", i)] = i
	}
	var order []string
	for k := range m {
		order = append(order, k)
	}
	say("map order %v", order)
	for k := range maps.Keys(m) {
		say("first key %s", k)
		break
	}
	secret := make([]byte, 16)
	crand.Read(secret)
	say("rand %d %d %f, crypto %x", rand.Int(), rand.IntN(1000), rand.Float64(), secret)

	var wg sync.WaitGroup
	var mu sync.Mutex
	total := 0
	for g := range 16 {
		wg.Go(func() {
			for i := range 5 {
				mu.Lock()
				total += g * i
				mu.Unlock()
				if i == 2 {
					runtime.Gosched()
				}
				if (g+i)%3 == 0 {
					time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
				}
				say("goroutine %d step %d", g, i)
			}
		})
	}
	wg.Wait()

	one, two := make(chan int, 100), make(chan int, 100)
	for i := range 50 {
		one <- i
		two <- -i
	}
	var picks []byte
	for range 60 {
		select {
		case <-one:
			picks = append(picks, '1')
		case <-two:
			picks = append(picks, '2')
		}
	}
	say("select %s", picks)

	after, tick := time.After(3*time.Millisecond), time.NewTicker(2*time.Millisecond)
	for ticks := 0; ticks < 3; {
		select {
		case <-after:
			say("after fired")
			after = nil
		case <-tick.C:
			ticks++
			say("tick %d", ticks)
		}
	}

	cleanups := 0
	for i := range 100 {
		p := new([1 << 16]byte)
		p[i] = 1
		if i%25 == 0 {
			runtime.AddCleanup(p, func(int) { cleanups++ }, i)
		}
	}
	runtime.GC()
	runtime.Gosched()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	say("gc %d mallocs %d cleanups %d address %p", stats.NumGC, stats.Mallocs, cleanups, &cleanups)
	say("floats %x %x %x", math.Float64bits(math.Sqrt(2)), math.Float64bits(math.FMA(0.1, 0.2, 0.3)), math.Float64bits(math.Sin(1e9)))
	say("elapsed %d total %d goroutines %d", time.Since(start), total, runtime.NumGoroutine())
	return end("{}")
}
