package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/hostabi"
)

// entries lists what a cache directory holds, below its version.
func entries(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	list, err := os.ReadDir(filepath.Join(dir, version()))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestASecondLoadComesFromTheCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	wasm := keeper()
	first := load(t, open(t, Config{CacheDir: dir}), wasm, Limits{})
	// No child can do anything in a nanosecond: what loads now was there.
	hurried := Config{CacheDir: dir, Load: LoadLimits{Deadline: 1}}
	second := load(t, open(t, hurried), wasm, Limits{Fuel: 1 << 30})
	if first.Digest() != second.Digest() || first.Snapshot() != second.Snapshot() || second.Manifest().Name != "small" {
		t.Error("the cached module is another")
	}
	if _, err := open(t, hurried).Load(context.Background(), wasm, Limits{Memory: 8 << 20}); !isRefusal(err, "takes longer than 1ns") {
		t.Errorf("other memory, so another program: %v", err)
	}
	for _, e := range entries(t, dir) {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("entry %s: %v %v", e.Name(), info.Mode(), err)
		}
	}
}

func isRefusal(err error, text string) bool {
	var refused *LoadError
	return errors.As(err, &refused) && strings.Contains(err.Error(), text)
}

func TestADamagedCacheEntryIsMadeAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	want := load(t, open(t, Config{CacheDir: dir}), keeper(), Limits{}).Snapshot()
	files, err := filepath.Glob(filepath.Join(dir, "*", "*", programFile))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v %v", files, err)
	}
	for name, damage := range map[string]func([]byte) []byte{
		"flipped": func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"torn":    func(b []byte) []byte { return b[:len(b)/2] },
		"empty":   func([]byte) []byte { return nil },
	} {
		b, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(files[0], damage(b), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := load(t, open(t, Config{CacheDir: dir}), keeper(), Limits{}).Snapshot(); got != want {
			t.Errorf("%s: snapshot differs", name)
		}
	}
}

func TestTheCacheIsBoundedAndForgetsOtherVersions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	old := filepath.Join(dir, cachePrefix+"0-of-another-version", "entry")
	foreign := filepath.Join(dir, "notes")
	for _, d := range []string{old, foreign} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	e := open(t, Config{CacheDir: dir, CacheBytes: 1, LoadInProcess: true})
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the cache of another version: %v", err)
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Errorf("what is not ours: %v", err)
	}
	for i := range 4 {
		s := newSmall()
		m := load(t, e, s.plugin(i32Const(i), drop, s.finish()), Limits{})
		if err := m.Run(context.Background(), newTestHost("")); err != nil {
			t.Error(err)
		}
		if n := len(entries(t, dir)); n != 1 {
			t.Errorf("%d entries in a cache that has room for none but the newest", n)
		}
	}
}

func TestACacheThatOthersCanWriteToIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o770); err != nil {
		t.Fatal(err)
	}
	for dir, text := range map[string]string{dir: "run chmod 0700", "cache": "not an absolute path"} {
		if _, err := New(context.Background(), Config{CacheDir: dir}); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("cache in %s: %v", dir, err)
		}
	}
}

func TestALoadCanBeGivenUp(t *testing.T) {
	e := open(t, Config{})
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("the worker stops")
	cancel(why)
	s := newSmall()
	_, err := e.Load(ctx, s.plugin(s.finish()), Limits{})
	var refused *LoadError
	if !errors.Is(err, why) || errors.As(err, &refused) {
		t.Errorf("got %v", err)
	}
}

func TestAProgramThatCannotBeAChildIsTold(t *testing.T) {
	e := open(t, Config{CacheDir: filepath.Join(t.TempDir(), "cache")})
	e.self = "/bin/false"
	s := newSmall()
	_, err := e.Load(context.Background(), s.plugin(s.finish()), Limits{})
	if err == nil || !strings.Contains(err.Error(), "does not call engine.ChildMain first in main") {
		t.Errorf("got %v", err)
	}
}

func TestTheProcessHasOneMemoryBudget(t *testing.T) {
	e := open(t, Config{MemoryBudget: 4 * wasmPage})
	s := newSmall("wait")
	s.memory(3, 8)
	m := load(t, e, s.plugin(i32Const(0), i64Const(-1), s.call("wait"), drop,
		i32Const(2), memoryGrow, i32Const(-1), []byte{0x46}, ifThen(unreachable), s.finish()), Limits{})
	held, release := make(chan struct{}), make(chan struct{})
	h := newTestHost("")
	h.block = func(context.Context) error {
		close(held)
		<-release
		return nil
	}
	first := make(chan error)
	go func() { first <- m.Run(context.Background(), h) }()
	<-held
	if trap := turnError(t, context.Background(), m, newTestHost("")); trap.Reason != ReasonHost || !errors.Is(trap, ErrMemoryBudget) {
		t.Errorf("a second instance: %v", trap)
	}
	close(release)
	// Alone it has room to start, but not to grow.
	var trap *Trap
	if err := <-first; !errors.As(err, &trap) || trap.Reason != ReasonMemory || !errors.Is(err, ErrMemoryBudget) {
		t.Errorf("growth: %v", err)
	}
	if used := e.budget.used.Load(); used != 0 {
		t.Errorf("%d bytes are still taken", used)
	}
}

func TestClosingWaitsForRunningTurns(t *testing.T) {
	e := open(t, Config{})
	s := newSmall("wait")
	m := load(t, e, s.plugin(i32Const(0), i64Const(-1), s.call("wait"), drop, s.finish()), Limits{})
	held, release := make(chan struct{}), make(chan struct{})
	h := newTestHost("")
	h.block = func(context.Context) error {
		close(held)
		<-release
		return nil
	}
	turn := make(chan error)
	go func() { turn <- m.Run(context.Background(), h) }()
	<-held
	impatient, cancel := context.WithCancelCause(context.Background())
	why := errors.New("no patience")
	cancel(why)
	if err := m.Close(impatient); !errors.Is(err, why) {
		t.Errorf("close while a turn runs: %v", err)
	}
	if err := m.Run(context.Background(), newTestHost("")); !errors.Is(err, ErrClosed) {
		t.Errorf("a turn after close: %v", err)
	}
	close(release)
	if err := <-turn; err != nil {
		t.Errorf("the turn that was running: %v", err)
	}
	for range 2 {
		if err := m.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
	if _, err := e.Load(context.Background(), s.bytes(), Limits{}); !errors.Is(err, ErrClosed) {
		t.Errorf("load after close: %v", err)
	}
}

func TestManyTurnsRunSideBySide(t *testing.T) {
	m := load(t, open(t, Config{}), guest(t, "plain"), Limits{})
	const turns = 50
	errs := make(chan error, turns)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for i := range turns {
		go func() {
			request := []string{"echo {}", "events", "sleep 1s", "calls 20", "all"}[i%5]
			h := newTestHost(request)
			h.records = []*hostabi.Record{{Kind: hostabi.KindEnd}}
			errs <- m.Run(ctx, h)
		}()
	}
	for range turns {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
