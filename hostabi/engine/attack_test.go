package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/towpath/towpath/hostabi"
)

// attack is a hostile module and how it must end: refused with a text, or stopped for a reason.
type attack struct {
	name   string
	wasm   func() []byte
	refuse string // in the text of the *LoadError
	reason Reason // of the turn's end; "" is a turn that ends well
	limits Limits
}

// attackTime is what a turn is given, attackMemory what an instance may have.
const (
	attackTime   = 300 * time.Millisecond
	attackMemory = 4 << 20
)

var attacks = []attack{
	{name: "loop", reason: ReasonDeadline, wasm: func() []byte {
		s := newSmall()
		return s.plugin(loop, br(0), end, unreachable)
	}},
	{name: "loop with calls", reason: ReasonDeadline, wasm: func() []byte {
		s := newSmall("now")
		return s.plugin(loop, s.call("now"), drop, br(0), end, unreachable)
	}},
	{name: "loop with large calls", reason: ReasonDeadline, limits: Limits{Memory: 64 << 20}, wasm: func() []byte {
		s := newSmall("random")
		s.memory(1000, 1024)
		return s.plugin(loop, i32Const(0), i32Const(60<<20), s.call("random"), drop, br(0), end, unreachable)
	}},
	{name: "loop with sleeps", reason: ReasonDeadline, wasm: func() []byte {
		s := newSmall("poll_oneoff")
		poll := s.fn(s.code, i32Const(256), i32Const(512), i32Const(1), i32Const(1024), s.call("poll_oneoff"))
		return s.plugin(loop, call(poll), drop, br(0), end, unreachable)
	}},
	{name: "loop with logs", reason: ReasonDeadline, wasm: func() []byte {
		s := newSmall("fd_write")
		s.data(512, strings.Repeat("a\n", 1000))
		s.data(256, strings.Repeat("\x00\x02\x00\x00\xd0\x07\x00\x00", 20))
		return s.plugin(loop, i32Const(1), i32Const(256), i32Const(20), i32Const(128), s.call("fd_write"), drop, br(0), end, unreachable)
	}},
	{name: "loop over fuel", reason: ReasonFuel, limits: Limits{Fuel: 1_000_000}, wasm: func() []byte {
		s := newSmall()
		return s.plugin(loop, br(0), end, unreachable)
	}},
	{name: "loop without calls for long", reason: ReasonCallGap, limits: Limits{CallGap: 50 * time.Millisecond}, wasm: func() []byte {
		s := newSmall()
		return s.plugin(loop, br(0), end, unreachable)
	}},
	{name: "start section", refuse: "start section", wasm: func() []byte {
		s := newSmall()
		s.start = uleb(s.fn(s.void, loop, br(0), end))
		return s.plugin(s.finish())
	}},
	{name: "loop in init", refuse: "_initialize failed", wasm: func() []byte {
		s := newSmall()
		s.export(hostabi.ExportInitialize, 0, s.fn(s.void, loop, br(0), end))
		return s.plugin(s.finish())
	}},
	{name: "loop in init with calls", refuse: "_initialize failed", wasm: func() []byte {
		s := newSmall("now")
		s.export(hostabi.ExportInitialize, 0, s.fn(s.void, loop, s.call("now"), drop, br(0), end))
		return s.plugin(s.finish())
	}},
	{name: "trap in init", refuse: "_initialize failed", wasm: func() []byte {
		s := newSmall()
		s.export(hostabi.ExportInitialize, 0, s.fn(s.void, unreachable))
		return s.plugin(s.finish())
	}},
	{name: "finish in init", refuse: "manifest_v1 failed", wasm: func() []byte {
		s := newSmall()
		s.export(hostabi.ExportInitialize, 0, s.fn(s.void, s.finish(), drop))
		s.export(hostabi.ExportManifest, 0, s.fn(s.code, i32Const(0)))
		return s.without(hostabi.ExportManifest, s.finish())
	}},
	{name: "exponential calls", reason: ReasonDeadline, wasm: func() []byte {
		s := newSmall()
		t := s.typ([]byte{tI32}, []byte{tI32})
		fib := len(s.imports)
		s.fn(t, localGet(0), i32Const(2), []byte{0x48}, ifThen(i32Const(1), ret),
			localGet(0), i32Const(1), i32Sub, call(fib), localGet(0), i32Const(2), i32Sub, call(fib), i32Add)
		return s.plugin(i32Const(60), call(fib))
	}},
	{name: "recursion", reason: ReasonDepth, wasm: func() []byte {
		s := newSmall()
		f := len(s.imports)
		s.fn(s.code, call(f), i32Const(1), i32Add)
		return s.plugin(call(f))
	}},
	{name: "recursion with locals", reason: ReasonDepth, wasm: func() []byte {
		s := newSmall()
		f := len(s.imports)
		t := s.typ(bytes.Repeat([]byte{tI64}, 100), []byte{tI32})
		s.fn(t, bytes.Join(repeat(100, func(i int) []byte { return localGet(i) }), nil), call(f))
		return s.plugin(bytes.Repeat(i64Const(7), 100), call(f))
	}},
	{name: "a turn within a turn", reason: "", wasm: func() []byte { // the second finish is refused
		s := newSmall()
		turn := len(s.imports) + 1 // behind the manifest
		return s.plugin(i32Const(64), i32Load(0), []byte{0x45}, ifThen(i32Const(64), i32Const(1), i32Store(0), call(turn), drop),
			s.finish(), i32Const(-11), []byte{0x46}, i32Const(64), i32Load(0), []byte{0x46, 0x45})
	}},
	{name: "tail call loop", refuse: "tail call", wasm: func() []byte {
		s := newSmall()
		f := len(s.imports)
		s.fn(s.code, []byte{0x12}, uleb(f))
		return s.plugin(call(f))
	}},
	{name: "memory above the limit", refuse: "memory at start", wasm: func() []byte {
		s := newSmall()
		s.memory(attackMemory/wasmPage+1, 65536)
		return s.plugin(s.finish())
	}},
	{name: "memory grown for ever", reason: ReasonDeadline, wasm: func() []byte {
		s := newSmall()
		s.memory(1, 65536)
		return s.plugin(loop, i32Const(1), memoryGrow, drop, br(0), end, unreachable)
	}},
	{name: "memory needed beyond the limit", reason: ReasonMemory, wasm: func() []byte {
		s := newSmall()
		s.memory(1, 65536)
		return s.plugin(i32Const(16000), memoryGrow, i32Const(-1), []byte{0x46}, ifThen(unreachable), s.finish())
	}},
	{name: "huge table", refuse: "table has", wasm: func() []byte {
		s := newSmall()
		s.tables = append(s.tables, cat([]byte{tFunc, 0}, uleb(134_000_000)))
		return s.plugin(s.finish())
	}},
	{name: "many tables", refuse: "tables", wasm: func() []byte {
		s := newSmall()
		s.tables = repeat(2000, func(int) []byte { return cat([]byte{tFunc, 0}, uleb(10_000_000)) })
		return s.plugin(s.finish())
	}},
	{name: "table grown", reason: "", wasm: func() []byte {
		s := newSmall()
		s.tables = append(s.tables, []byte{tFunc, 0, 1})
		return s.plugin([]byte{0xd0, tFunc}, i32Const(100_000_000), []byte{0xfc, 0x0f, 0}, i32Const(-1), []byte{0x47}, ifThen(unreachable), s.finish())
	}},
	{name: "table grown for ever", reason: ReasonDeadline, wasm: func() []byte {
		s := newSmall()
		s.tables = append(s.tables, []byte{tFunc, 0, 1})
		return s.plugin(loop, []byte{0xd0, tFunc}, i32Const(100), []byte{0xfc, 0x0f, 0}, drop, br(0), end, unreachable)
	}},
	{name: "memory filled for ever", reason: ReasonDeadline, limits: Limits{Memory: 256 << 20}, wasm: func() []byte {
		s := newSmall()
		s.memory(4096, 4096)
		return s.plugin(loop, i32Const(0), i32Const(1), i32Const(256<<20), memoryFill, br(0), end, unreachable)
	}},
	{name: "memory copied for ever", reason: ReasonDeadline, limits: Limits{Memory: 256 << 20}, wasm: func() []byte {
		s := newSmall()
		s.memory(4096, 4096)
		return s.plugin(loop, i32Const(0), i32Const(1), i32Const(255<<20), []byte{0xfc, 0x0a, 0, 0}, br(0), end, unreachable)
	}},
	{name: "no memory", refuse: "memory", wasm: func() []byte {
		s := newSmall()
		s.export(hostabi.ExportManifest, 0, s.fn(s.code, s.finish()))
		s.export(hostabi.ExportTurn, 0, s.fn(s.code, s.finish()))
		return s.bytes()
	}},
	{name: "wrong signature", refuse: "turn_v1.emit", wasm: func() []byte {
		s := newSmall()
		s.imports["emit"] = s.imported(hostabi.Module, "emit", s.typ([]byte{tI64}, nil))
		return s.plugin(s.finish())
	}},
	{name: "unknown import", refuse: "turn_v1.fork", wasm: func() []byte {
		s := newSmall()
		s.imports["fork"] = s.imported(hostabi.Module, "fork", s.void)
		return s.plugin(s.finish())
	}},
	{name: "the host's own import", refuse: "towpath.yield", wasm: func() []byte {
		s := newSmall()
		s.imports["yield"] = s.imported("towpath", "yield", s.void)
		return s.plugin(s.finish())
	}},
	{name: "export of another type", refuse: "turn_v1", wasm: func() []byte {
		s := newSmall()
		s.memory(1, 1)
		s.export(hostabi.ExportMemory, 2, 0)
		s.export(hostabi.ExportManifest, 0, s.fn(s.code, s.finish()))
		s.export(hostabi.ExportTurn, 0, s.fn(s.void))
		return s.bytes()
	}},
	{name: "no manifest", refuse: "manifest_v1 failed", wasm: func() []byte {
		s := newSmall()
		s.export(hostabi.ExportManifest, 0, s.fn(s.code, i32Const(0), i32Const(1), s.call("finish")))
		return s.without(hostabi.ExportManifest, s.finish())
	}},
	{name: "calls an import of a type that is not there", refuse: "type", wasm: func() []byte { // panics wazero's validator
		s := newSmall()
		s.funcs = append(s.funcs, uleb(77))
		s.codes = append(s.codes, cat(uleb(2), []byte{0, 0x0b}))
		return s.plugin(call(len(s.imports)), s.finish())
	}},
	{name: "a million additions", refuse: "the limit is", wasm: func() []byte {
		s := newSmall()
		return s.plugin(i32Const(1), bytes.Repeat(cat(i32Const(1), i32Add), 1_000_000))
	}},
	{name: "a third of a million additions", reason: ReasonNoFinish, wasm: func() []byte {
		s := newSmall()
		return s.plugin(i32Const(1), bytes.Repeat(cat(i32Const(1), i32Add), 300_000), drop, i32Const(0))
	}},
	{name: "50,000 nested blocks", refuse: "nest", wasm: func() []byte {
		s := newSmall()
		return s.plugin(bytes.Repeat(block, 50_000), bytes.Repeat(end, 50_000), s.finish())
	}},
	{name: "20,000 loops over 500 locals", refuse: "split the function", wasm: func() []byte { return loops(1, 20_000) }},
	{name: "40 functions of 4,000 loops over 500 locals", refuse: "loading the module takes", wasm: func() []byte { return loops(40, 4_000) }},
	{name: "50,000 locals", refuse: "local", wasm: func() []byte {
		s := newSmall()
		s.fnWith(s.void, cat([]byte{1}, uleb(50_000), []byte{tI32}))
		return s.plugin(s.finish())
	}},
	{name: "locals without end", refuse: "local", wasm: func() []byte {
		s := newSmall()
		s.fnWith(s.void, cat([]byte{2}, uleb(1<<32-1), []byte{tI32}, uleb(1<<32-1), []byte{tI32}))
		return s.plugin(s.finish())
	}},
	{name: "jump table of 200,000", refuse: "loading the module takes", wasm: func() []byte {
		s := newSmall()
		return s.plugin(block, i32Const(0), []byte{0x0e}, uleb(200_000), make([]byte, 200_001), end, s.finish())
	}},
	{name: "not WebAssembly", refuse: "not WebAssembly", wasm: func() []byte { return []byte("#!/bin/sh\n") }},
	{name: "empty", refuse: "not WebAssembly", wasm: func() []byte { return nil }},
	{name: "17 MiB", refuse: "the limit is", wasm: func() []byte { return make([]byte, hostabi.MaxModule+1) }},
}

// loops is a plugin of functions that are cheap to write and dear to compile.
func loops(functions, each int) []byte {
	s := newSmall()
	body := cat(repeat(each, func(i int) []byte {
		return cat(loop, localGet(i%500), i32Const(1), i32Add, []byte{0x22}, uleb(i%500), []byte{0x0d, 0}, end)
	})...)
	for range functions {
		s.fnWith(s.code, cat([]byte{1}, uleb(500), []byte{tI32}), body, i32Const(0))
	}
	return s.plugin(s.finish())
}

func repeat(n int, f func(i int) []byte) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = f(i)
	}
	return out
}

// without is plugin for a module that brings one of the exports itself.
func (s *small) without(export string, turn ...[]byte) []byte {
	s.memory(1, 1)
	s.data(0, smallManifest)
	s.export(hostabi.ExportMemory, 2, 0)
	if export != hostabi.ExportManifest {
		s.export(hostabi.ExportManifest, 0, s.fn(s.code, s.finish()))
	}
	s.export(hostabi.ExportTurn, 0, s.fn(s.code, turn...))
	return s.bytes()
}

// Each attack is made on a process of its own, as it might kill or freeze it. While it goes on, other turns run and
// the garbage collector works there.
func TestAttacksEndAsTheyShould(t *testing.T) {
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0])
			cmd.Env = append(os.Environ(), attackVariable+"="+a.name)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("the attacked process: %v\n%s", err, out)
			}
			t.Logf("%s", out)
		})
	}
}

const attackVariable = "ENGINE_TEST_ATTACK"

// attacked is the process that suffers one attack. It exits with 0 when the attack ended as it should.
func attacked(name string) int {
	for _, a := range attacks {
		if a.name == name {
			if err := a.suffer(); err != nil {
				fmt.Println(err)
				return 1
			}
			return 0
		}
	}
	fmt.Println("no such attack")
	return 1
}

func (a attack) suffer() error {
	ctx := context.Background()
	e, err := New(ctx, Config{Load: LoadLimits{Memory: 768 << 20, CPU: 3 * time.Second}})
	if err != nil {
		return err
	}
	defer e.Close(ctx)
	s := newSmall("emit")
	innocent, err := e.Load(ctx, s.plugin(s.finish()), Limits{})
	if err != nil {
		return err
	}
	if a.limits.Memory == 0 {
		a.limits.Memory = attackMemory
	}
	m, err := e.Load(ctx, a.wasm(), a.limits)
	if a.refuse != "" {
		var refused *LoadError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), a.refuse) {
			return fmt.Errorf("load ended with %v, want a refusal that says %q", err, a.refuse)
		}
		fmt.Println("refused:", err)
		return nil
	}
	if err != nil {
		return err
	}

	stop := make(chan struct{})
	var others sync.WaitGroup
	var turns, collections atomic.Int64
	var failed atomic.Value
	for range 4 {
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := innocent.Run(ctx, newTestHost("")); err != nil {
					failed.Store(err)
					return
				}
				turns.Add(1)
			}
		})
	}
	others.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
				collections.Add(1)
			}
		}
	})

	limited, cancel := ctx, context.CancelFunc(func() {})
	if a.reason == ReasonDeadline { // what something else must stop has all the time that a loaded machine needs
		limited, cancel = context.WithTimeout(ctx, attackTime)
	}
	defer cancel()
	began := time.Now()
	err = m.Run(limited, newTestHost(""))
	took := time.Since(began)
	close(stop)
	others.Wait()
	reason := Reason("")
	var trap *Trap
	if errors.As(err, &trap) {
		reason = trap.Reason
	}
	if reason != a.reason {
		return fmt.Errorf("turn ended with %v, want reason %q", err, a.reason)
	}
	if err := failed.Load(); err != nil {
		return fmt.Errorf("an innocent turn: %v", err)
	}
	if a.reason == ReasonDeadline && (turns.Load() == 0 || collections.Load() == 0) {
		return fmt.Errorf("during the attack %d innocent turns and %d collections ended", turns.Load(), collections.Load())
	}
	fmt.Printf("stopped after %v (%.80v); beside it %d turns and %d collections\n", took.Round(time.Millisecond), err, turns.Load(), collections.Load())
	return nil
}
