package engine

import (
	"context"
	"crypto/rand"
	"fmt"
	"runtime/debug"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/towpath/towpath/hostabi"
)

// machine is one compiled module with the host functions that it may import, in a wazero runtime of its own: closing
// it frees all that it holds.
type machine struct {
	runtime  wazero.Runtime
	cache    wazero.CompilationCache
	compiled wazero.CompiledModule
}

// instanceConfig names nothing, as a name is taken once in a runtime, and calls nothing. The source of randomness is
// never read: without one wazero seeds another for each instance.
var instanceConfig = wazero.NewModuleConfig().WithName("").WithStartFunctions().WithRandSource(rand.Reader)

// newMachine compiles wasm, or finds its code in dir.
func newMachine(ctx context.Context, wasm []byte, dir string, interpreter bool) (m *machine, err error) {
	m = &machine{}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the compiler panicked: %v\n%s", p, debug.Stack())
		}
		if err != nil {
			m.close(ctx)
			m = nil
		}
	}()
	config := wazero.NewRuntimeConfigInterpreter()
	if !interpreter {
		config = wazero.NewRuntimeConfigCompiler()
		if m.cache, err = wazero.NewCompilationCacheWithDir(dir); err != nil {
			return nil, err
		}
		config = config.WithCompilationCache(m.cache)
	}
	m.runtime = wazero.NewRuntimeWithConfig(ctx, config.WithDebugInfoEnabled(false))
	for module, functions := range imports {
		if err := bind(ctx, m.runtime, module, functions); err != nil {
			return nil, err
		}
	}
	if err := bindYield(ctx, m.runtime); err != nil {
		return nil, err
	}
	m.compiled, err = m.runtime.CompileModule(ctx, wasm)
	return m, err
}

// compilerWorks reports whether wazero has a compiler for this machine, which it says by not panicking.
func compilerWorks() (works bool) {
	defer func() { works = recover() == nil }()
	wazero.NewRuntimeConfigCompiler()
	ctx := context.Background()
	wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler()).Close(ctx)
	return true
}

func (m *machine) close(ctx context.Context) error {
	var err error
	if m.runtime != nil {
		err = m.runtime.Close(ctx)
	}
	if m.cache != nil {
		if e := m.cache.Close(ctx); err == nil {
			err = e
		}
	}
	return err
}

// instantiate makes an instance whose memory is mem. Closing the instance frees mem; so does a failure here.
func (m *machine) instantiate(mem *memory) (api.Module, error) {
	ctx := experimental.WithMemoryAllocator(context.Background(), mem)
	instance, err := m.runtime.InstantiateModule(ctx, m.compiled, instanceConfig)
	if err != nil {
		mem.Free()
		return nil, err
	}
	return instance, nil
}

// imports are all functions that a module may import.
var imports = map[string][]function{
	hostabi.Module: turnFunctions,
	wasiModule:     wasiFunctions,
}
