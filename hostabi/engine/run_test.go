package engine

import (
	"context"
	"testing"
)

// open makes an engine that is closed when the test ends.
func open(t testing.TB, config Config) *Engine {
	t.Helper()
	e, err := New(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return e
}

func load(t testing.TB, e *Engine, wasm []byte, limits Limits) *Module {
	t.Helper()
	m, err := e.Load(context.Background(), wasm, limits)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestATurnRuns(t *testing.T) {
	m := load(t, open(t, Config{}), guest(t, "plain"), Limits{})
	if got := m.Manifest(); got.Name != "plain" || got.Version != "1.2.3" || len(got.HTTP) != 1 || got.TurnS != 60 {
		t.Errorf("manifest is %+v", got)
	}
	for range 3 {
		h := newTestHost(`echo {"text":"hi"}`)
		if err := m.Run(context.Background(), h); err != nil {
			t.Fatal(err)
		}
		if h.result != `{"text":"hi"}` {
			t.Errorf("result is %q", h.result)
		}
	}
}
