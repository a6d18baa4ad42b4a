package engine

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/towpath/towpath/hostabi"
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

// So do the plugins that we ship, up to the end of a turn or to where its provider or child says no more.
func TestOurPluginsMakeEqualTraces(t *testing.T) {
	chat := []*hostabi.Record{
		{Kind: hostabi.KindHead, Handle: 1, Code: 200, Payload: []byte(`{"content-type":["text/event-stream"]}`)},
		{Kind: hostabi.KindData, Handle: 1, Payload: []byte("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"}}]}\n\n")},
		{Kind: hostabi.KindData, Handle: 1, Payload: []byte("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\", Ada\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")},
		{Kind: hostabi.KindEnd, Handle: 1},
	}
	cache := filepath.Join(t.TempDir(), "cache")
	for folder, c := range map[string]struct {
		records []*hostabi.Record
		calls   string // one of them, late in the turn
	}{
		"../../examples/01-hello":  {nil, "Hello, Ada"},
		"../../plugins/deepseek":   {chat, "message.delta"},
		"../../plugins/minimax-m3": {chat, "message.delta"},
		"../../plugins/codex":      {nil, "proc_open"},
	} {
		t.Run(filepath.Base(folder), func(t *testing.T) {
			const request = `{"process":"p","session":"s","profile":"x","attempt":1,"input":{"text":"Ada"},"config":{},"thread":{}}`
			wasm, want := guest(t, folder), ""
			for _, config := range []Config{{}, {}, {CopyMemory: true}, {Interpreter: true}} { // made, from the cache, copied, interpreted
				config.CacheDir, config.Seed = cache, []byte("a secret of the deployment")
				e, err := New(context.Background(), config)
				if err != nil {
					t.Fatal(err)
				}
				h := newTestHost(request)
				h.records = slices.Clone(c.records)
				h.block = func(context.Context) error { return hostabi.Errorf(hostabi.ECANCELED, "nothing more comes") }
				ended := load(t, e, wasm, Limits{}).Run(context.Background(), h)
				got := fmt.Sprintf("%s%v", h.trace.String(), ended)
				if err := e.Close(context.Background()); err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(got, c.calls) {
					t.Fatalf("the turn does not come to %s:\n%s", c.calls, got)
				}
				if want == "" {
					want = got
				}
				if got != want {
					t.Errorf("%+v makes another trace:\n%s\nwant\n%s", config, got, want)
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
