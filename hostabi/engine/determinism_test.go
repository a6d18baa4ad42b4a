package engine

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"testing"
)

// traceOf runs a turn and returns the digest of all that the guest asked of its host and was answered.
func traceOf(t *testing.T, m *Module, request string) string {
	t.Helper()
	h := newTestHost(request)
	if err := m.Run(context.Background(), h); err != nil {
		t.Fatal(err)
	}
	if h.trace.Len() == 0 {
		t.Fatal("the turn made no call")
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(h.trace.String())))
}

// A turn with an equal host makes equal calls, whatever runs it: that is what a replay rests on.
func TestEqualHostsMakeEqualTraces(t *testing.T) {
	seed := []byte("a secret of the deployment")
	cache := filepath.Join(t.TempDir(), "cache")
	type variant struct {
		name   string
		config Config
		runs   int
	}
	for guestName, variants := range map[string][]variant{
		"plain": {{"compiled", Config{Seed: seed, CacheDir: cache}, 2}, {"interpreted", Config{Seed: seed, CacheDir: cache, Interpreter: true}, 1}},
		"hostile": {
			{"compiled", Config{Seed: seed, CacheDir: cache}, 10},
			{"from the cache, as after a restart", Config{Seed: seed, CacheDir: cache}, 2},
			{"made anew, as on another node", Config{Seed: seed, CacheDir: filepath.Join(t.TempDir(), "other")}, 2},
			{"in this process", Config{Seed: seed, CacheDir: filepath.Join(t.TempDir(), "here"), LoadInProcess: true}, 1},
			{"copied memory", Config{Seed: seed, CacheDir: cache, CopyMemory: true}, 2},
			{"interpreted", Config{Seed: seed, CacheDir: cache, Interpreter: true}, 1},
		},
	} {
		t.Run(guestName, func(t *testing.T) {
			request := map[string]string{"hostile": "", "plain": "all"}[guestName]
			wasm := guest(t, guestName)
			want := ""
			for _, c := range variants {
				e, err := New(context.Background(), c.config)
				if err != nil {
					t.Fatal(err)
				}
				m := load(t, e, wasm, Limits{})
				for range c.runs {
					got := traceOf(t, m, request)
					if want == "" {
						want = got
					}
					if got != want {
						t.Errorf("%s: trace %s, want %s", c.name, got, want)
					}
				}
				if err := e.Close(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestTheSeedDecidesWhatIsFrozen(t *testing.T) {
	traces := map[string]bool{}
	snapshots := map[[32]byte]bool{}
	for _, seed := range []string{"one", "two", "one"} {
		m := load(t, open(t, Config{Seed: []byte(seed)}), guest(t, "hostile"), Limits{})
		traces[traceOf(t, m, "")] = true
		snapshots[m.Snapshot()] = true
	}
	if len(traces) != 2 || len(snapshots) != 2 {
		t.Errorf("two seeds made %d traces and %d snapshots", len(traces), len(snapshots))
	}
}
