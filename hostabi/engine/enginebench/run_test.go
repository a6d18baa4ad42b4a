package enginebench

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/towpath/towpath/hostabi/engine"
)

func TestMain(m *testing.M) {
	engine.ChildMain()
	os.Exit(m.Run())
}

// The figures are for people and for `worker bench guest`; the test asks that each is there and above zero.
func TestEveryFigureIsMeasured(t *testing.T) {
	o := Options{Turns: 20, Log: func(s string) { t.Log(s) }}
	rows, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, r := range rows {
		print(t, r)
		// Differences may be on either side of nothing.
		if r.Value <= 0 && r.Unit != "%" && !strings.HasPrefix(r.Name, "overrun_") {
			t.Errorf("%s is %v", r.Name, r.Value)
		}
		got[r.Name] = true
	}
	for _, name := range []string{
		"small_instance_p50_us", "go_instance_p50_us", "turn_100_events_go_p50_us", "go_turn_vs_exec", "host_call_1k_ns",
		"metered_go_ms", "metering_overhead_pct", "overrun_loop_max_ms", "50_turns_beside_loop_p99_us", "overrun_fill_256mb_max_ms", "idle_go_instance_kb", "waiting_5000_threads",
	} {
		if !got[name] {
			t.Errorf("%s is missing", name)
		}
	}
}

// BenchmarkGuest prints the figures once, all or those of a part: go test -bench Guest/attack -benchtime 1x.
func BenchmarkGuest(b *testing.B) {
	for _, part := range Parts() {
		b.Run(part, func(b *testing.B) {
			for b.Loop() {
				if _, err := Run(context.Background(), Options{Only: part, Row: func(r Row) { print(b, r) }}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func print(t testing.TB, r Row) {
	t.Logf("%-36s %10.1f %-8s baseline %10.1f ratio %.3f", r.Name, r.Value, r.Unit, r.Baseline, r.Ratio)
}
