package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
)

// caller is a plugin whose turn calls one function with the arguments that the request holds, each as 8 bytes, and
// emits nothing else. Its memory is two pages.
func caller(f function) []byte {
	s := newSmall(f.name, "request", "take")
	s.memory(2, 2)
	body := [][]byte{s.call("request"), drop, i32Const(1024), i32Const(256), s.call("take"), drop}
	for i, p := range f.params {
		body = append(body, i32Const(1024+8*i))
		if p == i64 {
			body = append(body, []byte{0x29, 3, 0})
		} else {
			body = append(body, i32Load(0))
		}
	}
	body = append(body, s.call(f.name))
	if len(f.result) > 0 {
		body = append(body, drop)
	}
	body = append(body, s.finish())
	return s.plugin(body...)
}

func functions() []function { return slices.Concat(turnFunctions, wasiFunctions) }

// callWith calls a function of the host with arguments from a guest. Nothing but a result, an exit or a broken contract
// may come of it.
func callWith(t testing.TB, m *Module, f function, args []uint64) {
	t.Helper()
	request := make([]byte, 0, 8*len(args))
	for _, a := range args {
		request = binary.LittleEndian.AppendUint64(request, a)
	}
	h := newTestHost(string(request))
	err := m.Run(context.Background(), h)
	var trap *Trap
	switch {
	case err == nil:
	case errors.As(err, &trap) && trap.Reason == ReasonContract:
	case errors.As(err, &trap) && trap.Reason == ReasonExit && (f.name == "proc_exit" || f.name == "finish"):
	default:
		t.Fatalf("%s%v: %v", f.name, args, err)
	}
}

func TestPointersOutsideOfMemoryEndTheTurn(t *testing.T) {
	e := open(t, Config{LoadInProcess: true})
	const top = 2 * wasmPage
	values := []uint64{0, 1, 64, 1 << 12, top - 8, top - 1, top, top + 1, 1 << 20, 1<<31 - 1, 1 << 31, 1<<32 - 1}
	for _, f := range functions() {
		m := load(t, e, caller(f), Limits{})
		var each func(args []uint64)
		each = func(args []uint64) {
			if len(args) == len(f.params) {
				callWith(t, m, f, args)
				return
			}
			some := values
			if len(args) > 1 { // pointers and lengths are the first; all combinations of nine would be too many
				some = values[len(args)%4 : len(args)%4+2]
			}
			for _, v := range some {
				each(append(slices.Clip(args), v))
			}
		}
		each(nil)
	}
}

// What is wrong for sure must be noticed: a length that leaves memory ends the turn for each function that reads it.
func TestABrokenContractNamesTheCall(t *testing.T) {
	e := open(t, Config{LoadInProcess: true})
	for name, args := range map[string][]uint64{
		"take": {1 << 31, 8}, "random": {0, 1 << 31}, "log": {0, 1 << 31, 1}, "emit": {2*wasmPage - 1, 2},
		"http_open": {0, 1, 1 << 31, 1}, "proc_open": {1 << 31, 0}, "proc_write": {1, 0, 1 << 30}, "proc_fill": {1, 0, 1 << 30}, "kv_get": {1<<32 - 1, 1},
		"kv_set": {0, 1, 1<<32 - 1, 1<<32 - 1}, "finish": {1<<32 - 1, 2},
		"fd_write": {1, 1<<32 - 1, 1, 0}, "random_get": {0, 1<<32 - 1}, "poll_oneoff": {2*wasmPage - 8, 0, 1, 0}, "clock_time_get": {0, 0, 2*wasmPage - 4},
	} {
		f := find(functions(), name)
		m := load(t, e, caller(*f), Limits{})
		request := []byte{}
		for _, a := range args {
			request = binary.LittleEndian.AppendUint64(request, a)
		}
		trap := turnError(t, context.Background(), m, newTestHost(string(request)))
		if trap.Reason != ReasonContract || trap.Message[:len(name)] != name {
			t.Errorf("%s: %v", name, trap)
		}
	}
}

func FuzzArguments(f *testing.F) {
	all := functions()
	for i := range all {
		f.Add(uint8(i), uint64(0), uint64(1)<<32-1, uint64(2*wasmPage-4), uint64(16))
	}
	e := open(f, Config{LoadInProcess: true})
	modules := make([]*Module, len(all))
	for i, fn := range all {
		modules[i] = load(f, e, caller(fn), Limits{})
	}
	f.Fuzz(func(t *testing.T, which uint8, a, b, c, d uint64) {
		i := int(which) % len(all)
		args := []uint64{a, b, c, d, a ^ c, b ^ d, a + 1, b + 1, c + 1}[:len(all[i].params)]
		callWith(t, modules[i], all[i], args)
	})
}
