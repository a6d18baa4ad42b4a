package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Config is an engine's settings. The zero value works.
type Config struct {
	// CacheDir keeps compiled code, absolute, mode 0700, owned by this user: whoever can write there owns this
	// process. Empty: a private temporary directory that Close removes.
	CacheDir string
	// CacheBytes bounds CacheDir; the longest unused modules go first. 0: 1 GiB.
	CacheBytes int64
	// MemoryBudget bounds the linear memories of all instances together, counted at their full size although a
	// clone shares what it does not write. Growth beyond it is refused, a turn that does not fit fails with
	// ErrMemoryBudget. 0: the machine's memory.
	MemoryBudget int64
	// Seed makes the random stream that a module sees while it is frozen: map seeds and math/rand of all its
	// turns follow from it. A secret of the deployment, the same on all its nodes.
	Seed []byte
	// Logger gets what is worth knowing about loads and the cache. nil: slog.Default.
	Logger *slog.Logger
	// Interpreter runs guests without native code, 30 to 60 times slower, for diagnosis.
	Interpreter bool
	// LoadInProcess compiles in this process instead of a child, without its limits: for files one trusts.
	LoadInProcess bool
	// CopyMemory copies the frozen memory for each instance, as systems other than Linux always do, instead
	// of mapping it.
	CopyMemory bool
	// Load bounds the child process that loads a module.
	Load LoadLimits
}

// LoadLimits bounds the loading of one module. Zero values are the defaults.
type LoadLimits struct {
	Memory   int64         // bytes of address space on top of an idle child's; 0: 2 GiB
	CPU      time.Duration // whole seconds; 0: 30 s
	Deadline time.Duration // wall clock, many times CPU on a busy machine; 0: 5 min
}

func (l LoadLimits) withDefaults() LoadLimits {
	if l.Memory <= 0 {
		l.Memory = 2 << 30
	}
	if l.CPU <= 0 {
		l.CPU = 30 * time.Second
	}
	if l.Deadline <= 0 {
		l.Deadline = 5 * time.Minute
	}
	return l
}

// patience is how long the module itself may run while it is loaded.
func (l LoadLimits) patience() time.Duration { return min(l.CPU, l.Deadline) / 4 }

// Limits bounds the turns of one module. Zero values are the defaults.
type Limits struct {
	Memory  int64         // bytes of linear memory of one instance, rounded down to 64 KiB; 0: 64 MiB
	Fuel    int64         // units of computation of one turn; 0: DefaultFuel
	CallGap time.Duration // computation between two host calls, by the wall clock; 0: 30 s
}

// Defaults of Limits.
const (
	DefaultMemory  = 64 << 20
	DefaultFuel    = 1 << 40
	DefaultCallGap = 30 * time.Second
)

const wasmPage = 64 << 10

func (l Limits) withDefaults() Limits {
	if l.Memory <= 0 {
		l.Memory = DefaultMemory
	}
	l.Memory = max(wasmPage, min(l.Memory, 1<<32)&^(wasmPage-1))
	if l.Fuel <= 0 {
		l.Fuel = DefaultFuel
	}
	if l.CallGap <= 0 {
		l.CallGap = DefaultCallGap
	}
	return l
}

// Engine loads modules. It is safe for concurrent use.
type Engine struct {
	config  Config
	budget  budget
	places  places
	stacks  stacks
	cache   *cache
	self    string        // this program, to be started again as a child
	temp    string        // directory to remove at Close
	held    *os.File      // its lock
	loading chan struct{} // holds a token while a module is loaded
	ran     atomic.Int64  // when the newest turn began, in nanoseconds of Unix time

	mu      sync.Mutex
	closed  bool
	modules map[*Module]struct{}
}

// New makes an engine. It fails where guests would be interpreted without having been asked for, and when the cache
// directory is not private.
func New(ctx context.Context, config Config) (*Engine, error) {
	if !config.Interpreter && !compilerWorks() {
		return nil, errors.New("engine: this machine cannot run compiled WebAssembly (it needs amd64 with SSE4.1 or arm64, and executable memory); set the interpreter explicitly, it is 30 to 60 times slower")
	}
	e := &Engine{config: config, modules: map[*Module]struct{}{}, loading: make(chan struct{}, 1), places: newPlaces(), stacks: newStacks()}
	if e.config.Logger == nil {
		e.config.Logger = slog.Default()
	}
	if e.budget.limit = config.MemoryBudget; e.budget.limit <= 0 {
		e.budget.limit = machineMemory()
	}
	if e.config.CacheBytes <= 0 {
		e.config.CacheBytes = 1 << 30
	}
	e.config.Load = config.Load.withDefaults()
	var err error
	if e.self, err = os.Executable(); err != nil {
		return nil, fmt.Errorf("engine: find this program, to load modules in a child: %w", err)
	}
	if config.CacheDir == "" {
		dir, err := os.MkdirTemp("", "towpath-engine-")
		if err != nil {
			return nil, fmt.Errorf("engine: temporary cache directory: %w", err)
		}
		e.temp, e.config.CacheDir = dir, dir
		if e.held, err = hold(dir); err != nil {
			return nil, errors.Join(fmt.Errorf("engine: temporary cache directory: %w", err), e.removeTemp())
		}
	}
	if e.cache, err = openCache(e.config.CacheDir, e.config.CacheBytes, e.config.Logger); err != nil {
		e.removeTemp()
		return nil, err
	}
	return e, nil
}

// Clean removes the compiled modules that were not used for longest, as far as the cache is above its limit, and what
// interrupted loads left. It returns how many of both.
func (e *Engine) Clean() int { return e.cache.clean() }

func (e *Engine) removeTemp() error {
	if e.temp == "" {
		return nil
	}
	defer e.held.Close()
	return os.RemoveAll(e.temp)
}

// remember keeps m to be closed with the engine; false when that is closed already.
func (e *Engine) remember(m *Module) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	e.modules[m] = struct{}{}
	return true
}

func (e *Engine) isClosed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closed
}

func (e *Engine) forget(m *Module) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.modules, m)
}

// Close closes all modules, waiting for their turns, and then the engine.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	e.closed = true
	var open []*Module
	for m := range e.modules {
		open = append(open, m)
	}
	e.mu.Unlock()
	var errs []error
	for _, m := range open {
		errs = append(errs, m.Close(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := e.removeTemp(); err != nil {
		return fmt.Errorf("engine: remove temporary cache: %w", err)
	}
	return nil
}
