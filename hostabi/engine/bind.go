package engine

import (
	"bytes"
	"context"
	"math"
	"time"
	"unicode/utf8"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/engine/rewrite"
)

const (
	i32 = api.ValueTypeI32
	i64 = api.ValueTypeI64
)

// function is one import that the engine offers. Its handler finds its arguments in s and leaves its result in s[0].
type function struct {
	name   string
	params []api.ValueType
	result []api.ValueType
	keeps  bool // leaves the parked value alone
	handle func(t *turn, mem api.Memory, s []uint64)
}

// turnFunctions is module turn_v1. After finish only what has no effect is left.
var turnFunctions = []function{
	{"take", []api.ValueType{i32, i32}, []api.ValueType{i32}, true, take},
	{"request", nil, []api.ValueType{i32}, false, func(t *turn, _ api.Memory, s []uint64) { s[0] = t.park(t.host.Request()) }},
	{"now", nil, []api.ValueType{i64}, false, func(t *turn, _ api.Memory, s []uint64) { s[0] = uint64(t.host.Now()) }},
	{"random", []api.ValueType{i32, i32}, []api.ValueType{i32}, false, random},
	{"log", []api.ValueType{i32, i32, i32}, []api.ValueType{i32}, false, log},
	{"emit", []api.ValueType{i32, i32}, []api.ValueType{i32}, false, beforeFinish(emit)},
	{"http_open", []api.ValueType{i32, i32, i32, i32}, []api.ValueType{i32}, false, beforeFinish(httpOpen)},
	{"proc_open", []api.ValueType{i32, i32}, []api.ValueType{i32}, false, beforeFinish(procOpen)},
	{"proc_write", []api.ValueType{i32, i32, i32}, []api.ValueType{i32}, false, beforeFinish(procWrite)},
	{"proc_fill", []api.ValueType{i32, i32, i32}, []api.ValueType{i32}, false, beforeFinish(procFill)},
	{"wait", []api.ValueType{i32, i64}, []api.ValueType{i32}, false, beforeFinish(wait)},
	{"close", []api.ValueType{i32}, []api.ValueType{i32}, false, beforeFinish(closeHandle)},
	{"kv_get", []api.ValueType{i32, i32}, []api.ValueType{i32}, false, beforeFinish(kvGet)},
	{"kv_set", []api.ValueType{i32, i32, i32, i32}, []api.ValueType{i32}, false, beforeFinish(kvSet)},
	{"finish", []api.ValueType{i32, i32}, []api.ValueType{i32}, false, beforeFinish(finish)},
}

// bind makes a host module of functions.
func bind(ctx context.Context, r wazero.Runtime, module string, functions []function) error {
	b := r.NewHostModuleBuilder(module)
	for _, f := range functions {
		b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, m api.Module, s []uint64) {
			t := ctx.(*turn)
			placed := t.placed
			if placed {
				t.leave()
			}
			t.call = f.name
			t.stopIfDone()
			if !f.keeps {
				t.parked = nil
			}
			f.handle(t, m.Memory(), s)
			t.call = ""
			t.called = true
			if placed {
				t.enter()
			}
		}), f.params, f.result).Export(f.name)
	}
	_, err := b.Instantiate(ctx)
	return err
}

// bindYield makes the function that metered code calls.
func bindYield(ctx context.Context, r wazero.Runtime) error {
	_, err := r.NewHostModuleBuilder(rewrite.YieldModule).NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, _ api.Module, _ []uint64) { ctx.(*turn).yield() }), nil, nil).
		Export(rewrite.YieldName).Instantiate(ctx)
	return err
}

// bytesAt returns the guest's memory at ptr, or ends the guest. The slice is valid during the call only.
func (t *turn) bytesAt(mem api.Memory, ptr, length uint64) []byte {
	p, ok := mem.Read(uint32(ptr), uint32(length))
	if !ok {
		t.contract("pointer %#x with length %d is outside of the memory of %d bytes", uint32(ptr), uint32(length), mem.Size())
	}
	return p
}

// within reports whether an argument is within its limit. When it is not, the result is set to E2BIG. All pointers of a call
// are read before: one that leaves memory ends the turn whatever else is wrong.
func (t *turn) within(p []byte, limit int, what string, s []uint64) bool {
	if len(p) > limit {
		s[0] = t.refuse(hostabi.E2BIG, "%s has %d bytes, the limit is %d", what, len(p), limit)
		return false
	}
	return true
}

func beforeFinish(handle func(*turn, api.Memory, []uint64)) func(*turn, api.Memory, []uint64) {
	return func(t *turn, mem api.Memory, s []uint64) {
		if t.finished {
			s[0] = t.refuse(hostabi.ESTATE, "%s after finish", t.call)
			return
		}
		handle(t, mem, s)
	}
}

func take(t *turn, mem api.Memory, s []uint64) {
	into := t.bytesAt(mem, s[0], min(uint64(uint32(s[1])), uint64(len(t.parked))))
	s[0] = uint64(copy(into, t.parked))
	t.parked = nil
}

func random(t *turn, mem api.Memory, s []uint64) {
	t.fill(t.bytesAt(mem, s[0], s[1]))
	s[0] = 0
}

// fill writes the turn's random stream in pieces, so that a large request can be stopped.
func (t *turn) fill(p []byte) {
	for len(p) > 0 {
		t.stopIfDone()
		n := min(len(p), 64<<10)
		t.host.Random(p[:n])
		p = p[n:]
	}
}

func log(t *turn, mem api.Memory, s []uint64) {
	level, line := int32(s[0]), t.bytesAt(mem, s[1], s[2])
	if level < -1 || level > 2 {
		s[0] = t.refuse(hostabi.EINVAL, "level %d is not between -1 and 2", level)
		return
	}
	t.host.Log(level, line[:min(len(line), hostabi.MaxLog)])
	s[0] = 0
}

func emit(t *turn, mem api.Memory, s []uint64) {
	if event := t.bytesAt(mem, s[0], s[1]); t.within(event, hostabi.MaxEvent, "the event", s) {
		s[0] = t.result(t.host.Emit(t, event))
	}
}

func httpOpen(t *turn, mem api.Memory, s []uint64) {
	head, body := t.bytesAt(mem, s[0], s[1]), t.bytesAt(mem, s[2], s[3])
	if t.within(head, hostabi.MaxHead, "the head", s) && t.within(body, hostabi.MaxRequest, "the body", s) {
		s[0] = t.handle(t.host.HTTPOpen(t, head, body))
	}
}

func procOpen(t *turn, mem api.Memory, s []uint64) {
	if spec := t.bytesAt(mem, s[0], s[1]); t.within(spec, hostabi.MaxHead, "the spec", s) {
		s[0] = t.handle(t.host.ProcOpen(t, spec))
	}
}

// handle is result for a call that opens one: 0 is no handle.
func (t *turn) handle(handle uint32, err error) uint64 {
	if err == nil && handle == 0 {
		handle = math.MaxUint32
	}
	return t.result(handle, err)
}

func procWrite(t *turn, mem api.Memory, s []uint64) {
	if p := t.bytesAt(mem, s[1], s[2]); t.within(p, hostabi.MaxRequest, "the input", s) {
		s[0] = t.result(0, t.host.ProcWrite(t, uint32(s[0]), p))
	}
}

func procFill(t *turn, mem api.Memory, s []uint64) {
	if p := t.bytesAt(mem, s[1], s[2]); t.within(p, hostabi.MaxRequest, "the input", s) {
		s[0] = t.result(0, t.host.ProcFill(t, uint32(s[0]), p))
	}
}

func wait(t *turn, _ api.Memory, s []uint64) {
	record, err := t.host.Wait(t, uint32(s[0]), time.Duration(s[1]))
	switch {
	case err != nil:
		s[0] = t.result(0, err)
	case record == nil:
		s[0] = 0
	default:
		s[0] = t.park(record.AppendTo(make([]byte, 0, hostabi.RecordHeader+len(record.Payload))))
	}
}

func closeHandle(t *turn, _ api.Memory, s []uint64) {
	s[0] = t.result(0, t.host.Close(t, uint32(s[0])))
}

// key reads a kv key. When it is none, the result is set to EINVAL or E2BIG.
func (t *turn) key(p []byte, s []uint64) (string, bool) {
	if !t.within(p, hostabi.MaxKey, "the key", s) {
		return "", false
	}
	if len(p) == 0 || !utf8.Valid(p) || bytes.IndexByte(p, 0) >= 0 {
		s[0] = t.refuse(hostabi.EINVAL, "a key is UTF-8 text of 1 to %d bytes without NUL", hostabi.MaxKey)
		return "", false
	}
	return string(p), true
}

func kvGet(t *turn, mem api.Memory, s []uint64) {
	key, ok := t.key(t.bytesAt(mem, s[0], s[1]), s)
	if !ok {
		return
	}
	value, err := t.host.KVGet(t, key)
	if err != nil {
		s[0] = t.result(0, err)
		return
	}
	s[0] = t.park(value)
}

func kvSet(t *turn, mem api.Memory, s []uint64) {
	p, value := t.bytesAt(mem, s[0], s[1]), t.bytesAt(mem, s[2], s[3])
	if key, ok := t.key(p, s); ok && t.within(value, hostabi.MaxValue, "the value", s) {
		s[0] = t.result(0, t.host.KVSet(t, key, value))
	}
}

func finish(t *turn, mem api.Memory, s []uint64) {
	result := t.bytesAt(mem, s[0], s[1])
	if !t.within(result, hostabi.MaxResult, "the result", s) {
		return
	}
	err := t.host.Finish(t, result)
	s[0] = t.result(0, err)
	t.finished = err == nil
}
