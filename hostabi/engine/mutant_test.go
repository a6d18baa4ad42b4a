package engine

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

// Damaged modules are refused, or run and end. Whatever panics on the way is caught and becomes a refusal.
// TOWPATH_MUTANTS=90000 runs it at length.
func TestMutantsAreRefusedOrEnd(t *testing.T) {
	n := effort(t, "TOWPATH_MUTANTS", 1500)
	parents := [][]byte{keeper(), everything()}
	for _, f := range functions() {
		parents = append(parents, caller(f))
	}
	e := open(t, Config{LoadInProcess: true, CacheBytes: 1 << 20})
	random := rand.New(rand.NewPCG(uint64(n), 7))
	var refused, ended, failed int
	for range n {
		wasm := mutant(random, parents[random.IntN(len(parents))])
		m, err := e.Load(context.Background(), wasm, Limits{Memory: 4 << 20, Fuel: 10_000_000})
		if err != nil {
			var bad *LoadError
			if !errors.As(err, &bad) || bad.Problem == "" || bad.Fix == "" {
				t.Fatalf("load of %x: %v", wasm, err)
			}
			refused++
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		err = m.Run(ctx, newTestHost("0123456789abcdef"))
		cancel()
		var trap *Trap
		switch {
		case err == nil:
			ended++
		case !errors.As(err, &trap) || trap.Reason == ReasonHost || trap.Reason == ReasonDeadline:
			t.Fatalf("turn of %x: %v", wasm, err)
		default:
			failed++
		}
		if err := m.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d mutants: %d refused, %d ended well, %d failed", n, refused, ended, failed)
	if refused == 0 || ended == 0 || failed == 0 {
		t.Error("the mutants are too much alike to say anything")
	}
}

func mutant(random *rand.Rand, parent []byte) []byte {
	b := bytes.Clone(parent)
	for range 1 + random.IntN(2) {
		at := random.IntN(len(b))
		switch random.IntN(4) {
		case 0:
			b[at] = byte(random.Uint32())
		case 1:
			b[at] ^= 1 << random.IntN(8)
		case 2:
			b = append(b[:at], b[min(len(b), at+1+random.IntN(3)):]...)
		case 3:
			b = append(b[:at], append([]byte{byte(random.Uint32())}, b[at:]...)...)
		}
		if len(b) == 0 {
			return b
		}
	}
	return b
}

// everything is a plugin with a bit of every section and of control flow.
func everything() []byte {
	s := newSmall("emit", "wait", "kv_get", "fd_write")
	unary := s.typ([]byte{tI32}, []byte{tI32})
	s.tables = append(s.tables, []byte{tFunc, 1, 4, 8})
	s.globals = append(s.globals, cat([]byte{tI32, 1}, i32Const(7), end), cat([]byte{tI64, 0}, i64Const(-1), end))
	double := s.fn(unary, localGet(0), localGet(0), i32Add)
	count := s.fnWith(unary, cat([]byte{1}, uleb(1), []byte{tI32}), // sum of 0..n
		block, loop, localGet(0), []byte{0x45, 0x0d, 1}, localGet(1), localGet(0), i32Add, []byte{0x21, 1},
		localGet(0), i32Const(1), i32Sub, []byte{0x21, 0}, br(0), end, end, localGet(1))
	s.elems = append(s.elems, cat([]byte{0}, i32Const(0), end, vec([][]byte{uleb(double), uleb(count)})))
	s.data(4096, `{"type":"x"}`)
	indirect := func(i int) []byte { return cat(i32Const(i), []byte{0x11}, uleb(unary), []byte{0}) }
	return s.plugin(
		i32Const(20), indirect(0), indirect(1), globalSet(0),
		i32Const(4096), i32Const(12), s.call("emit"), drop,
		i32Const(0), i64Const(0), s.call("wait"), drop,
		i32Const(4097), i32Const(4), s.call("kv_get"), drop,
		block, block, block, globalGet(0), []byte{0x0e, 2, 0, 1, 2}, end, i32Const(1), drop, end, i32Const(2), drop, end,
		i32Const(8192), i32Const(9), i32Const(1000), memoryFill, s.finish())
}
