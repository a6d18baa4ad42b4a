package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/towpath/towpath/hostabi/abitest"
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

// driver is a plugin whose turn makes the calls that its request lists, each a number of a function in all and nine
// arguments of 8 bytes. What it calls may write anywhere in its memory, the list included.
func driver(all []function) []byte {
	var names []string
	for _, f := range all {
		names = append(names, f.name)
	}
	s := newSmall(names...)
	s.memory(2, 2)
	const list, next, record = 1024, 512, 80 // next holds the address of the next call; the list ends by a number that is none
	at := cat(i32Const(next), i32Load(0))
	body := [][]byte{s.call("request"), drop, i32Const(list), i32Const(wasmPage), s.call("take"), drop, i32Const(next), i32Const(list), i32Store(0), loop}
	for i, f := range all {
		one := [][]byte{at}
		for n, p := range f.params {
			if n > 0 {
				one = append(one, at)
			}
			if p == i64 {
				one = append(one, []byte{0x29, 3}, uleb(8+8*n))
			} else {
				one = append(one, i32Load(8+8*n))
			}
		}
		if len(f.params) == 0 {
			one = nil
		}
		one = append(one, s.call(f.name))
		if len(f.result) > 0 {
			one = append(one, drop)
		}
		one = append(one, i32Const(next), at, i32Const(record), i32Add, i32Store(0), br(1))
		body = append(body, at, i32Load(0), i32Const(i+1), []byte{0x46}, ifThen(one...))
	}
	return s.plugin(append(body, end, s.finish(), drop, i32Const(0))...)
}

// FuzzCalls makes many calls in one turn, over all functions of the table: with pointers out of range, overlapping, negative
// and wrapping, with handles that were never opened or are closed, with what an earlier call left in memory.
func FuzzCalls(f *testing.F) {
	all := functions()
	values := []uint64{0, 1, 2, 3, 16, 64, 512, 1024, 4096, 2*wasmPage - 16, 2*wasmPage - 1, 2 * wasmPage, 1 << 20, 1<<31 - 1, 1 << 31, 1<<32 - 16, 1<<32 - 1, 1<<63 - 1, 1 << 63, 1<<64 - 1}
	f.Add([]byte{}, []byte(nil))
	text := []byte(`{"type":"x","method":"GET","url":"https://a/","name":"b"}`)
	number := func(name string) byte {
		return byte(slices.IndexFunc(all, func(f function) bool { return f.name == name }))
	}
	// An exchange that is waited for, closed, and used after that; text stands at the address that values[8] gives.
	f.Add([]byte{number("http_open"), 8, 5, 8, 4, number("wait"), 1, 0, number("take"), 6, 5, number("close"), 1, number("wait"), 1, 0, number("close"), 1}, text)
	f.Add([]byte{number("proc_open"), 8, 5, number("proc_write"), 1, 8, 4, number("proc_write"), 1, 8, 0, number("proc_fill"), 1, 8, 4, number("close"), 1, number("proc_fill"), 1, 8, 4}, text)
	f.Add([]byte{number("kv_set"), 8, 4, 8, 5, number("kv_get"), 8, 4, number("take"), 8, 16, number("finish"), 8, 5, number("emit"), 8, 5}, text)
	for i, fn := range all { // each with arguments that wrap around
		f.Add(append([]byte{byte(i)}, bytes.Repeat([]byte{15}, len(fn.params))...), text)
	}
	m := load(f, open(f, Config{LoadInProcess: true}), driver(all), Limits{Fuel: 1_000_000})
	f.Fuzz(func(t *testing.T, calls, text []byte) {
		var request []byte
		for n := 0; len(calls) > 0 && n < 100; n++ {
			i := int(calls[0]) % len(all)
			calls = calls[1:]
			request = binary.LittleEndian.AppendUint64(request, uint64(i+1))
			for a := range 9 {
				v := uint64(0)
				if a < len(all[i].params) && len(calls) > 0 {
					v, calls = values[int(calls[0])%len(values)]+uint64(calls[0])/uint64(len(values)), calls[1:]
				}
				request = binary.LittleEndian.AppendUint64(request, v)
			}
		}
		// The text stands behind the list and at 4096, where calls find it.
		for len(request) < 4096-1024 {
			request = append(request, 0)
		}
		request = append(request, text[:min(len(text), 1<<15)]...)
		w := &asked{World: abitest.NewWorld(0), request: request}
		err := m.Run(context.Background(), w)
		var trap *Trap
		if err != nil && (!errors.As(err, &trap) || trap.Reason == ReasonHost || trap.Reason == ReasonDeadline) {
			t.Fatalf("%v", err)
		}
	})
}

// asked is a world with a request of its own.
type asked struct {
	*abitest.World
	request []byte
}

func (a *asked) Request() []byte { return a.request }
