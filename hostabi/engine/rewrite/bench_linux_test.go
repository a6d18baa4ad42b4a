package rewrite_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/hostabi/engine/rewrite"
)

// BenchmarkMeter runs each job of the Go guest plain and rewritten, in turns, and reports the ratio of the best times:
// the processor's, so that it means something on a busy machine.
func BenchmarkMeter(b *testing.B) {
	wasm := built(b)
	r, err := rewrite.Module(wasm, limits())
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	w := newWorld(b, "compiler")
	original, rewritten := w.compile(b, wasm), w.compile(b, r.Wasm)
	for _, job := range []string{"stream", "codec", "match", "digest", "order"} {
		b.Run(job, func(b *testing.B) {
			run := func(c wazero.CompiledModule, image []rewrite.Extent) time.Duration {
				i := w.start(b, c, image)
				defer i.Close(ctx)
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				begin := threadTime(b)
				if _, err := i.ExportedFunction(job).Call(ctx); err != nil {
					b.Fatal(err)
				}
				return threadTime(b) - begin
			}
			plain, metered := time.Hour, time.Hour
			n := 0
			for b.Loop() {
				plain, metered = min(plain, run(original, nil)), min(metered, run(rewritten, r.Image))
				n++
			}
			b.ReportMetric(float64(plain.Microseconds())/1e3, "plain-ms")
			b.ReportMetric(float64(metered)/float64(plain), "metered/plain")
			b.ReportMetric(float64(w.yields)/float64(n), "yields/op")
			w.yields = 0
		})
	}
}

func threadTime(b *testing.B) time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
