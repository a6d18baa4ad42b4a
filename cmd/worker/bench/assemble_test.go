package bench

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/towpath/towpath/hostabi/engine"
)

func TestMain(m *testing.M) {
	engine.ChildMain()
	os.Exit(m.Run())
}

// The engine takes what is assembled here, whatever the lengths do to the encoding of its numbers.
func TestAssembledGuestsAreLoaded(t *testing.T) {
	e, err := engine.New(t.Context(), engine.Config{LoadInProcess: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close(context.Background())
	for _, c := range []struct{ events, size int }{{0, 0}, {1, 63}, {64, 64}, {100, 200}, {8192, 70_000}} {
		m, err := e.Load(t.Context(), assemble("g", c.events, c.size), engine.Limits{})
		if err != nil {
			t.Errorf("%d events of %d bytes: %v", c.events, c.size, err)
			continue
		}
		if m.Manifest().Name != "g" {
			t.Errorf("%d events of %d bytes: manifest %+v", c.events, c.size, m.Manifest())
		}
	}
}

func TestPercentile(t *testing.T) {
	values := make([]float64, 100)
	for i := range values {
		values[i] = float64(100 - i) // 1 to 100, unordered
	}
	for _, c := range []struct{ p, want float64 }{{0, 1}, {0.5, 51}, {0.99, 100}, {1, 100}} {
		if got := percentile(values, c.p); got != c.want {
			t.Errorf("p%v is %v, want %v", c.p*100, got, c.want)
		}
	}
	if !math.IsNaN(percentile(nil, 0.5)) {
		t.Error("nothing measured has a percentile")
	}
}

func TestARatioIsOfThisRunsBaseline(t *testing.T) {
	real := suites
	defer func() { suites = real }()
	suites = []Suite{{Name: "fake", run: func(_ context.Context, _ Options, emit func(Row)) error {
		emit(Row{Name: "a", Value: 3, Baseline: 2, Unit: "s"})
		emit(Row{Name: "b", Value: 3})
		return nil
	}}}
	var rows []Row
	if err := Run(t.Context(), "fake", Options{}, func(r Row) { rows = append(rows, r) }); err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	const want = `[{"suite":"fake","name":"a","value":3,"unit":"s","baseline":2,"ratio":1.5},{"suite":"fake","name":"b","value":3,"unit":"","baseline":0,"ratio":0}]`
	if string(got) != want {
		t.Errorf("rows are %s", got)
	}
	if err := Run(t.Context(), "nothing", Options{}, nil); err == nil {
		t.Error("an unknown suite runs")
	}
}
