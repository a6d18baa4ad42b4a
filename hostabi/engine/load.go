package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/gob"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/towpath/towpath/hostabi"
)

// Load makes a module of a plugin's file: it is checked, rewritten, compiled, frozen after its _initialize, and its
// manifest is taken. That happens in a child process unless the cache has the result. A file that cannot be a plugin
// is a *LoadError. One file is compiled at a time; others wait.
func (e *Engine) Load(ctx context.Context, wasm []byte, limits Limits) (*Module, error) {
	if len(wasm) > hostabi.MaxModule {
		return nil, &LoadError{
			Problem: fmt.Sprintf("module is %d bytes, the limit is %d", len(wasm), hostabi.MaxModule),
			Fix:     "strip it (-ldflags='-s -w' for Go) or split it",
		}
	}
	return e.load(ctx, sha256.Sum256(wasm), limits, func(o order) (*program, string, error) {
		select {
		case e.loading <- struct{}{}:
			defer func() { <-e.loading }()
		case <-ctx.Done():
			return nil, "", fmt.Errorf("engine: load: %w", context.Cause(ctx))
		}
		return e.program(ctx, o, wasm)
	})
}

// Cached is Load of a file that was loaded before, by its digest. When the cache has it no more, the error is ErrNotCached.
func (e *Engine) Cached(ctx context.Context, digest [32]byte, limits Limits) (*Module, error) {
	return e.load(ctx, digest, limits, func(order) (*program, string, error) { return nil, "", ErrNotCached })
}

// ErrNotCached is returned by Cached for what has to be loaded from its file.
var ErrNotCached = errors.New("engine: the module is not in the cache")

// load makes a module of what the cache has, or else of what otherwise gives.
func (e *Engine) load(ctx context.Context, digest [32]byte, limits Limits, otherwise func(order) (*program, string, error)) (*Module, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("engine: load: %w", context.Cause(ctx))
	}
	if e.isClosed() {
		return nil, ErrClosed
	}
	limits = limits.withDefaults()
	o := order{Digest: digest, Seed: e.config.Seed, Memory: limits.Memory, Interpreter: e.config.Interpreter}
	p, entry, ok := e.cache.get(o.key())
	if !ok {
		var err error
		if p, entry, err = otherwise(o); err != nil {
			return nil, err
		}
	}
	o.Dir = entry
	m, err := e.module(ctx, o, p, limits)
	if err != nil {
		return nil, fmt.Errorf("engine: load %x: %w", o.Digest[:6], err)
	}
	return m, nil
}

// program finds the program in the cache or makes it. entry is the directory of its compiled code.
func (e *Engine) program(ctx context.Context, o order, wasm []byte) (p *program, entry string, err error) {
	key := o.key()
	if p, entry, ok := e.cache.get(key); ok {
		return p, entry, nil
	}
	if o.Dir, err = e.cache.begin(); err != nil {
		return nil, "", err
	}
	defer os.RemoveAll(o.Dir)
	if e.config.LoadInProcess {
		if p, err = o.make(ctx, wasm, e.config.Load.patience()); err == nil {
			err = p.write(o.Dir)
		}
	} else {
		p, err = e.makeInChild(ctx, o, wasm)
	}
	if err != nil {
		return nil, "", err
	}
	if entry, err = e.cache.commit(o.Dir, key); err != nil {
		return nil, "", err
	}
	return p, entry, nil
}

// module makes instances of p possible.
func (e *Engine) module(ctx context.Context, o order, p *program, limits Limits) (*Module, error) {
	machine, err := newMachine(ctx, p.Wasm, o.Dir, o.Interpreter)
	if err != nil {
		return nil, err
	}
	source := source(copies{p.Image})
	if !e.config.CopyMemory {
		if source, err = newSource(p.Image); err != nil {
			machine.close(ctx)
			return nil, err
		}
	}
	m := &Module{
		engine: e, digest: o.Digest, size: size(o.Dir), snapshot: p.digest(), manifest: p.Manifest,
		template: o.template(p, machine, source, limits, &e.budget, e.places, e.stacks),
	}
	if !e.remember(m) {
		return nil, errors.Join(ErrClosed, m.template.close(ctx))
	}
	return m, nil
}

// digest identifies the rewritten module and its state.
func (p *program) digest() [32]byte {
	h := sha256.New()
	fmt.Fprintf(h, "%x %d %v %t", sha256.Sum256(p.Wasm), p.Image.Size, p.Globals, p.Warm)
	for _, r := range p.Image.Runs {
		fmt.Fprintf(h, " %d %x", r.Offset, sha256.Sum256(r.Bytes))
	}
	return [32]byte(h.Sum(nil))
}

// The file of a program begins with the digest of the rest, so that a torn or foreign file is none.
const programFile = "program"

func (p *program) write(dir string) error {
	var b bytes.Buffer
	b.Write(make([]byte, sha256.Size))
	if err := gob.NewEncoder(&b).Encode(p); err != nil {
		return fmt.Errorf("encode program: %w", err)
	}
	digest := sha256.Sum256(b.Bytes()[sha256.Size:])
	copy(b.Bytes(), digest[:])
	return os.WriteFile(filepath.Join(dir, programFile), b.Bytes(), 0o600)
}

func readProgram(dir string) (*program, error) {
	b, err := os.ReadFile(filepath.Join(dir, programFile))
	if err != nil {
		return nil, err
	}
	if len(b) < sha256.Size || sha256.Sum256(b[sha256.Size:]) != [32]byte(b[:sha256.Size]) {
		return nil, errors.New("program file is damaged")
	}
	p := &program{}
	if err := gob.NewDecoder(bytes.NewReader(b[sha256.Size:])).Decode(p); err != nil {
		return nil, fmt.Errorf("decode program: %w", err)
	}
	return p, p.Image.check()
}
