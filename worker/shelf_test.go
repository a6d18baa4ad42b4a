package worker

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/towpath/towpath/hostabi/abitest"
	"github.com/towpath/towpath/hostabi/engine"
	"github.com/towpath/towpath/worker/profiles"
)

// stored is a shelf whose modules come from a map, with room for one idle one.
func stored(t *testing.T) (s *shelf, files map[string][]byte, cache string) {
	t.Helper()
	cache = filepath.Join(t.TempDir(), "cache")
	eng, err := engine.New(t.Context(), engine.Config{CacheDir: cache, LoadInProcess: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := eng.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	files = map[string][]byte{}
	s = newShelf(eng, 1, func(_ context.Context, digest string) ([]byte, error) { return files[digest], nil })
	s.warm = 0
	return s, files, cache
}

// marked is a module whose digest is its own.
func marked(mark string) []byte {
	return append(append(abitest.Turn.Guest(), 0, byte(len(mark)+1), byte(len(mark))), mark...)
}

func (s *shelf) put(t *testing.T, mark string) *shelved {
	t.Helper()
	m, err := s.load(t.Context(), marked(mark), profiles.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return m.(*shelved)
}

func (s *shelf) inMemory(m *shelved) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return m.module != nil
}

// held is a world in which a turn stands still until it is let go.
type held struct {
	*abitest.World
	once    sync.Once
	reached chan struct{}
	release chan struct{}
}

func (h *held) Request() []byte {
	h.once.Do(func() { close(h.reached) })
	<-h.release
	return h.World.Request()
}

func TestAModuleThatNobodyRunsIsPutAside(t *testing.T) {
	s, _, _ := stored(t)
	one := s.put(t, "one")
	if s.inMemory(one) {
		t.Error("an idle module over the limit is in memory")
	}
	for range 2 {
		if err := one.Run(t.Context(), abitest.NewWorld(0)); err != nil {
			t.Fatal(err)
		}
	}
	if s.inMemory(one) {
		t.Error("it stays in memory")
	}

	// While a turn runs it stays, whatever else is loaded.
	h := &held{World: abitest.NewWorld(0), reached: make(chan struct{}), release: make(chan struct{})}
	ended := make(chan error)
	go func() { ended <- one.Run(context.Background(), h) }()
	<-h.reached
	two := s.put(t, "two")
	if !s.inMemory(one) || s.inMemory(two) {
		t.Error("the one that runs is aside, or the idle one is not")
	}
	if err := one.Run(t.Context(), abitest.NewWorld(0)); err != nil || !s.inMemory(one) {
		t.Errorf("another turn beside it: %v", err)
	}
	close(h.release)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if s.inMemory(one) {
		t.Error("it stays in memory after its last turn")
	}
	if one.Digest() == two.Digest() || one.Manifest().Name != "abitest" {
		t.Error("what is known of a module went with it")
	}
}

// What has just run stays for a while, and goes by itself.
func TestAWarmModuleStays(t *testing.T) {
	s, _, _ := stored(t)
	s.warm = time.Hour
	one := s.put(t, "one")
	if err := one.Run(t.Context(), abitest.NewWorld(0)); err != nil {
		t.Fatal(err)
	}
	s.put(t, "two")
	if !s.inMemory(one) {
		t.Fatal("a warm module is aside")
	}
	s.mu.Lock()
	one.used = one.used.Add(-s.warm)
	s.later.Reset(0)
	s.mu.Unlock()
	for s.inMemory(one) { // until the timer has fired
		runtime.Gosched()
	}
}

func TestTheOldestIdleModuleGoesFirst(t *testing.T) {
	s, _, _ := stored(t)
	s.idle = 1 << 30
	one, two, three := s.put(t, "one"), s.put(t, "two"), s.put(t, "three")
	if err := one.Run(t.Context(), abitest.NewWorld(0)); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.idle = one.module.Size() + three.module.Size()
	s.mu.Unlock()
	s.trim()
	if !s.inMemory(one) || s.inMemory(two) || !s.inMemory(three) {
		t.Errorf("in memory: %t %t %t", s.inMemory(one), s.inMemory(two), s.inMemory(three))
	}
}

func TestAModuleThatTheCacheLostIsFetched(t *testing.T) {
	s, files, cache := stored(t)
	one := s.put(t, "one")
	entries, err := filepath.Glob(filepath.Join(cache, "*", "*"))
	if err != nil || len(entries) != 1 {
		t.Fatalf("entries %v: %v", entries, err)
	}
	lose := func() {
		if err := os.RemoveAll(entries[0]); err != nil {
			t.Fatal(err)
		}
	}
	lose()
	if err := one.Run(t.Context(), abitest.NewWorld(0)); !errors.Is(err, engine.ErrNotCached) {
		t.Errorf("a module that is nowhere: %v", err)
	}
	digest := one.Digest()
	files[hex.EncodeToString(digest[:])] = marked("one")
	if err := one.Run(t.Context(), abitest.NewWorld(0)); err != nil {
		t.Error(err)
	}
	lose()
	files[hex.EncodeToString(digest[:])] = marked("another")
	if err := one.Run(t.Context(), abitest.NewWorld(0)); err == nil || !strings.Contains(err.Error(), "became another one") {
		t.Errorf("another module: %v", err)
	}
}

func TestAClosedModuleStaysClosed(t *testing.T) {
	s, _, _ := stored(t)
	for _, idle := range []int64{1, 1 << 30} {
		s.idle = idle
		m := s.put(t, "one")
		for range 2 {
			if err := m.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if err := m.Run(t.Context(), abitest.NewWorld(0)); !errors.Is(err, engine.ErrClosed) {
			t.Errorf("a turn after close: %v", err)
		}
	}
}
