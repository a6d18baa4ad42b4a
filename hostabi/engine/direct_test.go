package engine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/towpath/towpath/hostabi/engine/direct"
	"github.com/towpath/towpath/hostabi/engine/rewrite"
)

// withTable loads wasm as Load does, but keeps its function table.
func withTable(t testing.TB, e *Engine, wasm []byte) *Module {
	t.Helper()
	o := order{Digest: sha256.Sum256(wasm), Seed: e.config.Seed, Memory: DefaultMemory, KeepTable: true}
	p, entry, err := e.program(context.Background(), o, wasm)
	if err != nil {
		t.Fatal(err)
	}
	o.Dir = entry
	m, err := e.module(context.Background(), o, p, Limits{}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// outcome is what a turn came to, in words.
func outcome(m *Module, h *testHost) string {
	err := m.Run(context.Background(), h)
	var trap *Trap
	if errors.As(err, &trap) {
		return fmt.Sprint(trap.Reason, trap.Code)
	}
	return fmt.Sprint(err, h.result)
}

func TestAGoGuestBehavesTheSameWithoutItsTable(t *testing.T) {
	e := open(t, Config{})
	for name, request := range map[string]string{"hostile": "", "plain": "all"} {
		wasm := guest(t, name)
		rewritten, err := rewrite.Module(wasm, rewrite.Limits{MemoryPages: maxPages, Imports: signatures})
		if err != nil {
			t.Fatal(err)
		}
		if _, done := direct.Module(rewritten.Wasm); !done {
			t.Fatalf("%s keeps its table", name)
		}
		if got, want := traceOf(t, load(t, e, wasm, Limits{}), request), traceOf(t, withTable(t, e, wasm), request); got != want {
			t.Errorf("%s: trace %s, with a table %s", name, got, want)
		}
	}
}

// Tables of any content, called at any index as any type.
func TestIndirectCallsBehaveTheSameWithoutATable(t *testing.T) {
	e := open(t, Config{LoadInProcess: true})
	random := rand.New(rand.NewPCG(3, 4))
	tables, outcomes := 0, map[string]int{}
	for range 60 {
		wasm := tabled(random)
		rewritten, err := rewrite.Module(wasm, rewrite.Limits{MemoryPages: maxPages, Imports: signatures})
		if err != nil {
			t.Fatal(err)
		}
		if _, done := direct.Module(rewritten.Wasm); done {
			tables++
		}
		with, without := withTable(t, e, wasm), load(t, e, wasm, Limits{})
		for index := range 24 {
			request := fmt.Sprintf("%c", index)
			got, want := outcome(without, newTestHost(request)), outcome(with, newTestHost(request))
			if got != want {
				t.Fatalf("index %d: %s, with a table %s\n%x", index, got, want, wasm)
			}
			outcomes[got]++
		}
		with.Close(context.Background())
		without.Close(context.Background())
	}
	if tables < 30 || len(outcomes) < 10 {
		t.Errorf("%d tables were taken out, %d different outcomes", tables, len(outcomes))
	}
}

// tabled is a plugin with a random table. Its turn calls the entry that the request's byte names and returns what that
// returns, plus 1000 so that it is a code.
func tabled(random *rand.Rand) []byte {
	s := newSmall("request", "take")
	size := 1 + random.IntN(20)
	s.tables = append(s.tables, cat([]byte{tFunc, 0}, uleb(size)))
	types := []int{s.typ([]byte{tI32}, []byte{tI32}), s.typ([]byte{tI32, tI64}, []byte{tI32}), s.typ(nil, []byte{tI32})}
	types = append(types, s.typ([]byte{tI32}, []byte{tI32})) // the first once more: types are equal by structure
	var functions []int
	for i := range 1 + random.IntN(12) {
		switch typ := types[random.IntN(len(types))]; typ {
		case types[2]:
			functions = append(functions, s.fn(typ, i32Const(1000+i)))
		default:
			functions = append(functions, s.fn(typ, localGet(0), i32Const(2000+100*i), i32Add))
		}
	}
	for range random.IntN(4) {
		offset := random.IntN(size)
		var items [][]byte
		for range random.IntN(size - offset + 1) {
			items = append(items, uleb(functions[random.IntN(len(functions))]))
		}
		s.elems = append(s.elems, cat([]byte{0}, i32Const(offset), end, vec(items)))
	}
	if random.IntN(4) == 0 { // somebody looks at the table, or at a function: it stays
		s.elems = append(s.elems, cat([]byte{0}, i32Const(0), end, vec([][]byte{uleb(functions[0])})))
		s.fn(s.void, [][]byte{cat([]byte{0xd2}, uleb(functions[0]), drop), {0xfc, 0x10, 0, 0x1a}}[random.IntN(2)])
	}
	if random.IntN(2) == 0 {
		s.export("table", 1, 0)
	}
	typ := random.IntN(len(types))
	args := map[int][]byte{0: i32Const(7), 1: cat(i32Const(8), i64Const(9)), 2: nil, 3: i32Const(10)}[typ]
	return s.plugin(s.call("request"), drop, i32Const(1024), i32Const(1), s.call("take"), drop,
		args, i32Const(1024), i32Load(0), []byte{0x11}, uleb(types[typ]), []byte{0})
}

func FuzzDirect(f *testing.F) {
	f.Add(everything())
	f.Add(keeper())
	f.Add(tabled(rand.New(rand.NewPCG(1, 1))))
	f.Fuzz(func(t *testing.T, wasm []byte) {
		if out, done := direct.Module(wasm); !done && string(out) != string(wasm) {
			t.Error("left as it is, and changed")
		}
		// What rewrite made of a module that compiles must compile without its table.
		rewritten, err := rewrite.Module(wasm, rewrite.Limits{MemoryPages: maxPages, Imports: signatures})
		if err != nil {
			return
		}
		out, done := direct.Module(rewritten.Wasm)
		if !done {
			return
		}
		compiles := func(wasm []byte) bool {
			m, err := newMachine(context.Background(), wasm, "", true)
			if err == nil {
				m.close(context.Background())
			}
			return err == nil
		}
		if compiles(rewritten.Wasm) && !compiles(out) {
			t.Error("it compiles with its table only")
		}
	})
}
