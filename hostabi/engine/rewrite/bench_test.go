package rewrite_test

import (
	"context"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/towpath/towpath/hostabi/engine/rewrite"
)

// BenchmarkModule rewrites a Go plugin.
func BenchmarkModule(b *testing.B) {
	wasm := built(b)
	b.SetBytes(int64(len(wasm)))
	b.ReportAllocs()
	for b.Loop() {
		r, err := rewrite.Module(wasm, limits())
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(r.Wasm))/float64(len(wasm)), "out/in")
	}
}

// BenchmarkMeter runs each job of the Go guest plain and rewritten, in turns, and reports the ratio of the best times.
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
				begin := time.Now()
				if _, err := i.ExportedFunction(job).Call(ctx); err != nil {
					b.Fatal(err)
				}
				return time.Since(begin)
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
