package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/hostabi"
)

// open makes an engine that is closed when the test ends. Tests that do not ask for a cache share one.
func open(t testing.TB, config Config) *Engine {
	t.Helper()
	if config.CacheDir == "" {
		config.CacheDir = sharedCache
	}
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

// turnError runs a turn that must not end well.
func turnError(t testing.TB, ctx context.Context, m *Module, h hostabi.Host) *Trap {
	t.Helper()
	err := m.Run(ctx, h)
	var trap *Trap
	if !errors.As(err, &trap) {
		t.Fatalf("turn ended with %v, want a trap", err)
	}
	return trap
}

func TestATurnRunsInAFreshInstance(t *testing.T) {
	for name, config := range map[string]Config{
		"mapped": {}, "copied": {CopyMemory: true}, "interpreted": {Interpreter: true},
		"loaded here": {LoadInProcess: true, CacheDir: filepath.Join(t.TempDir(), "cache")},
	} {
		t.Run(name, func(t *testing.T) {
			m := load(t, open(t, config), guest(t, "plain"), Limits{})
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
		})
	}
}

func TestEveryCallAnswersAsTheABISays(t *testing.T) {
	m := load(t, open(t, Config{}), guest(t, "plain"), Limits{})
	h := newTestHost("all")
	h.records = []*hostabi.Record{{Kind: hostabi.KindData, Handle: 1, Payload: []byte("hi")}}
	h.fail["proc_write"] = hostabi.Errorf(hostabi.EIO, "the child is gone")
	if err := m.Run(context.Background(), h); err != nil {
		t.Fatal(err)
	}
	var drawn [4]byte
	rand.NewChaCha8([32]byte{1}).Read(drawn[:])
	number := fmt.Sprint(int32(binary.BigEndian.Uint32(drawn[:])))
	want := strings.Split(strings.ReplaceAll(strings.TrimSpace(`
http_open 1 ""
wait 18 "\x02\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00hi"
wait any 0
proc_open 2 ""
proc_write -5 "the child is gone"
proc_fill 0
close 0
kv_get -3 "no key \"key\""
kv_set 0
kv_get 4 "body"
kv_get empty -1 "a key is UTF-8 text of 1 to 512 bytes without NUL"
kv_set too long -4 "the value has 2097152 bytes, the limit is 1048576"
random 0
random bytes RANDOM ""
log 0
log level -1 "level 3 is not between -1 and 2"
emit 1 ""
emit again 2 ""
finish 0
finish again -11 "finish after finish"
emit after finish -11 "emit after finish"`), "RANDOM", number), "\n")
	got := strings.Split(strings.TrimPrefix(h.logs[len(h.logs)-1], "0 "), "\n")
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("line %d differs\n got %q\nwant %q", i, got[min(i, len(got)):], want[min(i, len(want)):])
		}
	}
	if h.result != "{}" || !slices.Equal(h.events, []string{`{"type":"one"}`, `{"type":"one"}`}) {
		t.Errorf("result %q, events %q", h.result, h.events)
	}
}

func TestAFailedTurnNamesItsReason(t *testing.T) {
	m := load(t, open(t, Config{}), guest(t, "plain"), Limits{Memory: 32 << 20})
	for _, c := range []struct {
		request string
		reason  Reason
		code    int32
		text    string // of the trap, its stderr included
	}{
		{"code 3", ReasonExit, 3, "turn_v1 returned 3"},
		{"code -1", ReasonExit, -1, "turn_v1 returned -1"},
		{"nonsense", ReasonExit, 99, "no turn nonsense"},
		{"forget", ReasonNoFinish, 0, "without a call of finish"},
		{"exit", ReasonExit, 7, "exited with code 7"},
		{"panic boom", ReasonTrap, 0, "panic: boom"},
		{"deadlock", ReasonTrap, 0, "all goroutines are asleep - deadlock!"},
		{"oom", ReasonMemory, 0, "memory is limited to 33554432 bytes"},
		{"deep", ReasonDepth, 0, "nested too deep"},
	} {
		t.Run(c.request, func(t *testing.T) {
			trap := turnError(t, context.Background(), m, newTestHost(c.request))
			if trap.Reason != c.reason || trap.Code != c.code || !strings.Contains(trap.Error(), c.text) {
				t.Errorf("got reason %q, code %d: %v", trap.Reason, trap.Code, trap)
			}
			if len(trap.Stderr) > hostabi.StderrTail {
				t.Errorf("%d bytes of stderr", len(trap.Stderr))
			}
		})
	}
}

func TestABudgetThatIsExceededIsNamed(t *testing.T) {
	e := open(t, Config{})
	wasm := guest(t, "plain")
	reason := func(limits Limits, request string, want Reason) {
		t.Helper()
		if trap := turnError(t, context.Background(), load(t, e, wasm, limits), newTestHost(request)); trap.Reason != want {
			t.Errorf("%s under %+v: %v", request, limits, trap)
		}
	}
	reason(Limits{Fuel: 50_000_000}, "loop", ReasonFuel)
	reason(Limits{Fuel: 50_000_000}, "spin", ReasonFuel)
	reason(Limits{CallGap: time.Millisecond}, "loop", ReasonCallGap)
}

func TestTheEndOfTheContextStopsAGuestAnywhere(t *testing.T) {
	m := load(t, open(t, Config{}), guest(t, "plain"), Limits{})
	why := errors.New("the lease is lost")
	for _, request := range []string{"loop", "spin", "wait"} {
		t.Run(request, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(context.Background())
			h := newTestHost(request)
			h.block = func(ctx context.Context) error {
				<-ctx.Done()
				return context.Cause(ctx)
			}
			h.asked = make(chan struct{})
			go func() {
				<-h.asked // the guest has read its request and is about to do it
				cancel(why)
			}()
			trap := turnError(t, ctx, m, h)
			if trap.Reason != ReasonDeadline || !errors.Is(trap, why) {
				t.Errorf("got %v", trap)
			}
		})
	}
}

func TestTheHostsOwnTroubleIsNotTheGuestsFailure(t *testing.T) {
	m := load(t, open(t, Config{}), guest(t, "plain"), Limits{})
	away := errors.New("the database is away")
	for _, call := range []string{"http_open", "wait", "proc_open", "proc_write", "proc_fill", "close", "kv_get", "kv_set", "emit", "finish"} {
		h := newTestHost("all")
		h.fail[call] = away
		if trap := turnError(t, context.Background(), m, h); trap.Reason != ReasonHost || !errors.Is(trap, away) || !strings.Contains(trap.Error(), call) {
			t.Errorf("%s: got %v", call, trap)
		}
	}
	h := newTestHost("sleep 1s")
	h.fail["sleep"] = away
	if trap := turnError(t, context.Background(), m, h); trap.Reason != ReasonHost || !errors.Is(trap, away) {
		t.Errorf("sleep: got %v", trap)
	}
	h = newTestHost("wait")
	h.block = func(context.Context) error { panic("a bug") }
	if trap := turnError(t, context.Background(), m, h); trap.Reason != ReasonHost || !strings.Contains(trap.Error(), "wait panicked: a bug") {
		t.Errorf("panic: got %v", trap)
	}
}

func TestAGuestSleepsOnTheTurnsClock(t *testing.T) {
	m := load(t, open(t, Config{}), guest(t, "plain"), Limits{})
	h := newTestHost("sleep 24h")
	if err := m.Run(context.Background(), h); err != nil {
		t.Fatal(err)
	}
	if h.result != `{"slept":"24h0m0s"}` {
		t.Errorf("result is %s", h.result)
	}
}

func TestStandardOutputIsLogged(t *testing.T) {
	m := load(t, open(t, Config{}), guest(t, "plain"), Limits{})
	long := strings.Repeat("x", hostabi.MaxLog+1)
	h := newTestHost("print one\n\ntwo\n" + long)
	if err := m.Run(context.Background(), h); err != nil {
		t.Fatal(err)
	}
	want := []string{"0 one", "0 two", "1 ONE", "1 TWO", "0 " + long[1:], "1 " + strings.ToUpper(long[1:])}
	if !slices.Equal(h.logs, want) {
		t.Errorf("logs are %.200q", h.logs)
	}
}
