package rewrite_test

import (
	"testing"

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
