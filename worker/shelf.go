package worker

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/engine"
	"github.com/towpath/towpath/worker/profiles"
)

// maxIdle is how many bytes of modules that no turn runs stay in memory: compiled code is four to five times the size of its
// file, and a node may serve many profiles of which few are busy.
const maxIdle = 64 << 20

// warm is how long a module stays in memory after a turn in any case: one with traffic is not loaded over and over.
const warm = 10 * time.Second

// shelf loads modules, and puts those aside that were not used for longest: they stay in the engine's cache on disk, and
// the next turn loads them from there, in a tenth of a second. It is safe for concurrent use.
type shelf struct {
	engine *engine.Engine
	fetch  func(ctx context.Context, digest string) ([]byte, error) // a module's file, should the cache have lost it
	idle   int64                                                    // bytes
	warm   time.Duration

	mu    sync.Mutex
	awake map[*shelved]struct{}
	later *time.Timer // trims again; nil while nothing is to be expected
}

func newShelf(eng *engine.Engine, idle int64, fetch func(context.Context, string) ([]byte, error)) *shelf {
	return &shelf{engine: eng, fetch: fetch, idle: idle, warm: warm, awake: map[*shelved]struct{}{}}
}

// shelved is a module that is in memory, or can be again.
type shelved struct {
	shelf    *shelf
	limits   engine.Limits
	digest   [32]byte
	snapshot [32]byte
	manifest hostabi.Manifest

	waking sync.Mutex // one loads, the others wait for it

	// Guarded by the shelf's lock.
	module *engine.Module // nil while it is aside
	users  int
	used   time.Time // last
	ran    bool      // a turn
	gone   bool      // closed
}

// load is a profiles.Loader.
func (s *shelf) load(ctx context.Context, wasm []byte, l profiles.Limits) (profiles.Module, error) {
	limits := engine.Limits{Memory: l.Memory, Fuel: l.Fuel}
	m, err := s.engine.Load(ctx, wasm, limits)
	if err != nil {
		return nil, err
	}
	b := &shelved{shelf: s, limits: limits, digest: m.Digest(), snapshot: m.Snapshot(), manifest: m.Manifest(), module: m, used: time.Now()}
	s.mu.Lock()
	s.awake[b] = struct{}{}
	s.mu.Unlock()
	s.trim()
	return b, nil
}

// trim puts modules aside that nobody runs, the longest unused first, until what is idle is within the limit. What is warm is
// left for later.
func (s *shelf) trim() {
	s.mu.Lock()
	var aside []*engine.Module
	for {
		var total int64
		var oldest *shelved
		soonest := s.warm // when the next one cools
		for b := range s.awake {
			if b.users > 0 {
				continue
			}
			total += b.module.Size()
			if since := time.Since(b.used); b.ran && since < s.warm {
				soonest = min(soonest, s.warm-since)
			} else if oldest == nil || b.used.Before(oldest.used) {
				oldest = b
			}
		}
		if total <= s.idle {
			break
		}
		if oldest == nil {
			if s.later == nil {
				s.later = time.AfterFunc(soonest, s.retry)
			}
			break
		}
		aside = append(aside, oldest.module)
		oldest.module = nil
		delete(s.awake, oldest)
	}
	s.mu.Unlock()
	for _, m := range aside {
		m.Close(context.Background()) // nobody runs it; what cannot be freed is freed with the engine
	}
}

func (s *shelf) retry() {
	s.mu.Lock()
	s.later = nil
	s.mu.Unlock()
	s.trim()
	debug.FreeOSMemory() // loading leaves much behind, and a node that was busy until now may be idle
}

func (b *shelved) Digest() [32]byte           { return b.digest }
func (b *shelved) Snapshot() [32]byte         { return b.snapshot }
func (b *shelved) Manifest() hostabi.Manifest { return b.manifest }

func (b *shelved) Run(ctx context.Context, host hostabi.Host) error {
	m, err := b.take(ctx)
	if err != nil {
		return err
	}
	defer b.give()
	return m.Run(ctx, host)
}

// take gives the module, which stays in memory until give.
func (b *shelved) take(ctx context.Context) (*engine.Module, error) {
	b.waking.Lock()
	defer b.waking.Unlock()
	s := b.shelf
	s.mu.Lock()
	m, gone := b.module, b.gone
	if m != nil && !gone {
		b.users++
	}
	s.mu.Unlock()
	if gone {
		return nil, engine.ErrClosed
	}
	if m != nil {
		return m, nil
	}
	m, err := s.wake(ctx, b)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	if gone = b.gone; !gone {
		b.module = m
		b.users++
		s.awake[b] = struct{}{}
	}
	s.mu.Unlock()
	if gone {
		return nil, errors.Join(engine.ErrClosed, m.Close(ctx))
	}
	return m, nil
}

func (b *shelved) give() {
	b.shelf.mu.Lock()
	b.users--
	b.used, b.ran = time.Now(), true
	b.shelf.mu.Unlock()
	b.shelf.trim()
}

// wake loads a module that is aside. It has to be the very same: turns that began with it may be replayed on it.
func (s *shelf) wake(ctx context.Context, b *shelved) (*engine.Module, error) {
	m, err := s.engine.Cached(ctx, b.digest, b.limits)
	if errors.Is(err, engine.ErrNotCached) {
		digest := hex.EncodeToString(b.digest[:])
		wasm, fetchErr := s.fetch(ctx, digest)
		if fetchErr != nil || wasm == nil {
			return nil, fmt.Errorf("worker: module %.12s is neither in the cache nor in the database: %w", digest, errors.Join(err, fetchErr))
		}
		m, err = s.engine.Load(ctx, wasm, b.limits)
	}
	if err != nil {
		return nil, err
	}
	if m.Digest() != b.digest || m.Snapshot() != b.snapshot {
		return nil, errors.Join(fmt.Errorf("worker: module %x became another one", b.digest[:6]), m.Close(ctx))
	}
	return m, nil
}

func (b *shelved) Close(ctx context.Context) error {
	b.shelf.mu.Lock()
	m := b.module
	b.gone = true
	delete(b.shelf.awake, b)
	b.shelf.mu.Unlock()
	if m == nil {
		return nil
	}
	return m.Close(ctx)
}
