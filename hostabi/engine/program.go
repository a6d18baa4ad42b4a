package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/engine/direct"
	"github.com/towpath/towpath/hostabi/engine/rewrite"
)

// program is what loading makes of a file: all that an instance needs, beside the compiled code in the cache.
type program struct {
	Wasm     []byte // rewritten
	Image    image  // memory of a new instance
	Globals  []global
	Counter  string // name of the global that counts fuel
	Warm     bool   // _initialize runs in every instance, as its effect cannot be frozen
	Manifest hostabi.Manifest
}

// global is a mutable global and its value in a new instance.
type global struct {
	Name  string
	Value uint64
}

// order is what a load is asked for: all that a program depends on.
type order struct {
	Digest      [32]byte // of the file
	Seed        []byte
	Memory      int64 // bytes, as Limits has it
	Interpreter bool
	KeepTable   bool   // do not call functions of the table directly: for the test that compares
	Dir         string // of the compiled code
}

// make is loading itself: it rewrites, compiles, freezes and asks for the manifest. Its error is a *LoadError when
// the file is to blame. What the module does meanwhile may take as long as patience.
func (o order) make(ctx context.Context, wasm []byte, patience time.Duration) (*program, error) {
	rewritten, err := rewrite.Module(wasm, rewrite.Limits{MemoryPages: maxPages, Imports: signatures})
	if err != nil {
		if refusal := (*rewrite.Refusal)(nil); errors.As(err, &refusal) {
			return nil, &LoadError{Problem: refusal.Problem, Fix: refusal.Fix}
		}
		return nil, err
	}
	if need := int64(rewritten.Memory.Min) * wasmPage; need > o.Memory {
		return nil, &LoadError{
			Problem: fmt.Sprintf("module needs %d bytes of memory at start, the limit is %d", need, o.Memory),
			Fix:     "lower its initial memory or raise the profile's memory limit",
		}
	}
	p := &program{
		Wasm: rewritten.Wasm, Counter: rewritten.Counter, Warm: rewritten.Initialize && rewritten.Unfrozen != "",
	}
	if !o.KeepTable {
		p.Wasm, _ = direct.Module(p.Wasm)
	}
	memory := make([]byte, int64(rewritten.Memory.Min)*wasmPage)
	for _, e := range rewritten.Image {
		copy(memory[e.Offset:], e.Bytes)
	}
	p.Image = newImage(memory)
	machine, err := newMachine(ctx, p.Wasm, o.Dir, o.Interpreter)
	if err != nil {
		return nil, &LoadError{Problem: "module does not compile: " + err.Error(), Fix: "build it again with another version of its toolchain", cause: err}
	}
	limits := Limits{Memory: o.Memory, Fuel: initFuel, CallGap: DefaultCallGap}
	t := o.template(p, machine, copies{p.Image}, limits, &budget{limit: o.Memory}, newPlaces(), newStacks())
	defer t.close(ctx)
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("it took longer than %v", patience))
	defer cancel()
	if rewritten.Initialize && !p.Warm {
		if err := p.freeze(ctx, t, rewritten.Globals, newInitHost(o.Seed, o.Digest, false)); err != nil {
			return nil, &LoadError{Problem: "_initialize failed: " + err.Error(), Fix: "it must end by itself, without any capability", cause: err}
		}
		t.source, t.globals, t.size = copies{p.Image}, p.Globals, p.Image.Size
	}
	if p.Manifest, err = manifest(ctx, t, newInitHost(o.Seed, o.Digest, true)); err != nil {
		return nil, &LoadError{Problem: "manifest_v1 failed: " + err.Error(), Fix: "it must call finish with a manifest and return 0, without any capability", cause: err}
	}
	return p, nil
}

// template makes a template of a program.
func (o order) template(p *program, m *machine, s source, l Limits, b *budget, places places, stacks stacks) *template {
	t := &template{machine: m, source: s, globals: p.Globals, size: p.Image.Size, counter: p.Counter, limits: l, budget: b, places: places, stacks: stacks}
	if p.Warm {
		t.warm = func() *initHost { return newInitHost(o.Seed, o.Digest, false) }
	}
	return t
}

// freeze runs _initialize in one instance and keeps the state that it leaves.
func (p *program) freeze(ctx context.Context, t *template, globals []rewrite.Global, host hostabi.Host) error {
	i, err := t.instance()
	if err != nil {
		return err
	}
	defer i.close()
	if err := i.call(ctx, hostabi.ExportInitialize, host); err != nil {
		return err
	}
	mem := i.module.Memory()
	all, _ := mem.Read(0, mem.Size())
	p.Image = newImage(slices.Clone(all))
	for _, g := range globals {
		p.Globals = append(p.Globals, global{g.Name, i.module.ExportedGlobal(g.Name).Get()})
	}
	return nil
}

func manifest(ctx context.Context, t *template, host *initHost) (hostabi.Manifest, error) {
	var m hostabi.Manifest
	if err := t.call(ctx, hostabi.ExportManifest, host); err != nil {
		return m, err
	}
	if err := json.Unmarshal(host.result, &m); err != nil {
		return m, fmt.Errorf("its manifest is not one: %w", err)
	}
	return m, nil
}

// initFuel is what _initialize and manifest_v1 may use: seconds of computation.
const initFuel = 5e9

// maxPages lets a memory be as large as WebAssembly has it: the limit is kept where the memory grows, which is where
// a refusal can be noticed.
const maxPages = 1 << 16

// signatures are the types of imports, as rewrite wants them.
var signatures = func() map[string]rewrite.Signature {
	all := map[string]rewrite.Signature{}
	for module, functions := range imports {
		for _, f := range functions {
			all[module+"."+f.name] = rewrite.Signature{Params: valueTypes(f.params), Results: valueTypes(f.result)}
		}
	}
	return all
}()

// valueTypes relies on wazero's types being those of the binary format.
func valueTypes(types []api.ValueType) []byte { return []byte(types) }
