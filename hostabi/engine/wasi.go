package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/towpath/towpath/hostabi"
)

// wasiModule is what Go, C and Rust import for their runtime. There are no mounts, no sockets, no arguments and no
// environment: what is missing answers as a closed descriptor does.
const wasiModule = "wasi_snapshot_preview1"

// Values of WASI preview 1.
const (
	errnoSuccess = 0
	errnoBadf    = 8
	errnoInval   = 28
	errnoIO      = 29
	errnoNotsup  = 58

	fileCharacterDevice = 2
	rightsFdWrite       = 1 << 6
	rightsFdRead        = 1 << 1

	eventClock     = 0
	clockAbsolute  = 1
	subscriptionSz = 48
	eventSz        = 32

	maxVectors       = 1024
	maxSubscriptions = 1024
	maxWrite         = 64 << 10 // of one fd_write: a longer one is cut short, and the guest calls again
)

var wasiFunctions = append([]function{
	wasi("args_get", "ii", wasiSuccess),
	wasi("args_sizes_get", "ii", wasiNone),
	wasi("environ_get", "ii", wasiSuccess),
	wasi("environ_sizes_get", "ii", wasiNone),
	wasi("clock_res_get", "ii", wasiClockRes),
	wasi("clock_time_get", "iIi", wasiClockTime),
	wasi("fd_close", "i", wasiStandard),
	wasi("fd_fdstat_get", "ii", wasiFdstat),
	wasi("fd_fdstat_set_flags", "ii", wasiStandard),
	wasi("fd_read", "iiii", wasiRead),
	wasi("fd_write", "iiii", wasiWrite),
	wasi("poll_oneoff", "iiii", wasiPoll),
	wasi("random_get", "ii", wasiRandom),
	wasi("sched_yield", "", wasiSuccess),
	{"proc_exit", []api.ValueType{i32}, nil, true, wasiExit},
}, wasiAbsent()...)

// wasiAbsent are the functions for files and sockets, which a plugin's runtime may import and cannot use.
func wasiAbsent() []function {
	var absent []function
	for _, f := range []struct{ name, params string }{
		{"fd_advise", "iIIi"}, {"fd_allocate", "iII"}, {"fd_datasync", "i"}, {"fd_fdstat_set_rights", "iII"},
		{"fd_filestat_get", "ii"}, {"fd_filestat_set_size", "iI"}, {"fd_filestat_set_times", "iIIi"},
		{"fd_pread", "iiiIi"}, {"fd_prestat_get", "ii"}, {"fd_prestat_dir_name", "iii"}, {"fd_pwrite", "iiiIi"},
		{"fd_readdir", "iiiIi"}, {"fd_renumber", "ii"}, {"fd_seek", "iIii"}, {"fd_sync", "i"}, {"fd_tell", "ii"},
		{"path_create_directory", "iii"}, {"path_filestat_get", "iiiii"}, {"path_filestat_set_times", "iiiiIIi"},
		{"path_link", "iiiiiii"}, {"path_open", "iiiiiIIii"}, {"path_readlink", "iiiiii"},
		{"path_remove_directory", "iii"}, {"path_rename", "iiiiii"}, {"path_symlink", "iiiii"},
		{"path_unlink_file", "iii"}, {"sock_accept", "iii"}, {"sock_recv", "iiiiii"}, {"sock_send", "iiiii"},
		{"sock_shutdown", "ii"},
	} {
		absent = append(absent, wasi(f.name, f.params, func(*turn, api.Memory, []uint64) uint64 { return errnoBadf }))
	}
	return absent
}

// wasi makes a function of WASI: i stands for an i32 parameter, I for an i64; the result is an errno. None of
// them drops the parked value, as a language's runtime calls them behind the guest's back.
func wasi(name, params string, handle func(*turn, api.Memory, []uint64) uint64) function {
	f := function{name: name, result: []api.ValueType{i32}, keeps: true}
	for _, p := range params {
		if p == 'I' {
			f.params = append(f.params, i64)
		} else {
			f.params = append(f.params, i32)
		}
	}
	f.handle = func(t *turn, mem api.Memory, s []uint64) {
		errno := handle(t, mem, s)
		s[0] = errno
	}
	return f
}

func wasiSuccess(*turn, api.Memory, []uint64) uint64 { return errnoSuccess }

func (t *turn) putUint32(mem api.Memory, ptr uint64, v uint32) {
	binary.LittleEndian.PutUint32(t.bytesAt(mem, ptr, 4), v)
}

func (t *turn) putUint64(mem api.Memory, ptr, v uint64) {
	binary.LittleEndian.PutUint64(t.bytesAt(mem, ptr, 8), v)
}

// wasiNone answers args_sizes_get and environ_sizes_get: no strings, no bytes.
func wasiNone(t *turn, mem api.Memory, s []uint64) uint64 {
	t.putUint32(mem, s[0], 0)
	t.putUint32(mem, s[1], 0)
	return errnoSuccess
}

func wasiClockRes(t *turn, mem api.Memory, s []uint64) uint64 {
	if uint32(s[0]) > 3 {
		return errnoInval
	}
	t.putUint64(mem, s[1], 1000)
	return errnoSuccess
}

// wasiClockTime gives every clock the turn's: a turn has one time.
func wasiClockTime(t *turn, mem api.Memory, s []uint64) uint64 {
	if uint32(s[0]) > 3 {
		return errnoInval
	}
	into := t.bytesAt(mem, s[2], 8)
	binary.LittleEndian.PutUint64(into, uint64(t.host.Now()))
	return errnoSuccess
}

// wasiStandard accepts the three standard descriptors and changes nothing.
func wasiStandard(_ *turn, _ api.Memory, s []uint64) uint64 {
	if uint32(s[0]) > 2 {
		return errnoBadf
	}
	return errnoSuccess
}

func wasiFdstat(t *turn, mem api.Memory, s []uint64) uint64 {
	fd := uint32(s[0])
	if fd > 2 {
		return errnoBadf
	}
	stat := t.bytesAt(mem, s[1], 24)
	clear(stat)
	stat[0] = fileCharacterDevice
	rights := uint64(rightsFdWrite)
	if fd == 0 {
		rights = rightsFdRead
	}
	binary.LittleEndian.PutUint64(stat[8:], rights)
	return errnoSuccess
}

// wasiRead is at the end of standard input from the start.
func wasiRead(t *turn, mem api.Memory, s []uint64) uint64 {
	if uint32(s[0]) != 0 {
		return errnoBadf
	}
	t.putUint32(mem, s[3], 0)
	return errnoSuccess
}

func wasiWrite(t *turn, mem api.Memory, s []uint64) uint64 {
	var out *lines
	switch uint32(s[0]) {
	case 1:
		out = &t.stdout
	case 2:
		out = &t.stderr
	default:
		return errnoBadf
	}
	n := uint32(s[2])
	if n > maxVectors {
		return errnoInval
	}
	vectors := t.bytesAt(mem, s[1], uint64(n)*8)
	written := 0
	for ; len(vectors) > 0; vectors = vectors[8:] {
		p := t.bytesAt(mem, uint64(binary.LittleEndian.Uint32(vectors)), uint64(binary.LittleEndian.Uint32(vectors[4:])))
		p = p[:min(len(p), maxWrite-written)]
		out.write(t.host, p)
		written += len(p)
	}
	t.putUint32(mem, s[3], uint32(written))
	return errnoSuccess
}

func wasiRandom(t *turn, mem api.Memory, s []uint64) uint64 {
	t.fill(t.bytesAt(mem, s[0], s[1]))
	return errnoSuccess
}

func wasiExit(t *turn, _ api.Memory, s []uint64) {
	code := int32(s[0])
	t.stop(&Trap{Reason: ReasonExit, Code: code, Message: fmt.Sprintf("the guest exited with code %d", code)})
}

// wasiPoll sleeps until the earliest of its clocks. Any other subscription is answered at once as not supported.
func wasiPoll(t *turn, mem api.Memory, s []uint64) uint64 {
	n := uint32(s[2])
	if n == 0 || n > maxSubscriptions {
		return errnoInval
	}
	in := t.bytesAt(mem, s[0], uint64(n)*subscriptionSz)
	out := t.bytesAt(mem, s[1], uint64(n)*eventSz)
	count := t.bytesAt(mem, s[3], 4)

	sleep, clocks := time.Duration(math.MaxInt64), true
	delays := make([]time.Duration, n)
	for i := range delays {
		sub := in[i*subscriptionSz:][:subscriptionSz]
		if sub[8] != eventClock {
			clocks = false
			continue
		}
		if binary.LittleEndian.Uint32(sub[16:]) > 3 {
			return errnoInval
		}
		delay := clamp(binary.LittleEndian.Uint64(sub[24:]))
		if binary.LittleEndian.Uint16(sub[40:])&clockAbsolute != 0 {
			delay -= time.Duration(t.host.Now())
		}
		delays[i] = max(delay, 0)
		sleep = min(sleep, delays[i])
	}
	if clocks {
		if err := t.host.Sleep(t, sleep); err != nil {
			if refused := (*hostabi.Error)(nil); errors.As(err, &refused) {
				return errnoIO
			}
			t.check(err)
		}
	}

	// Events are gathered first: the guest's two arrays may overlap.
	var events []byte
	for i, delay := range delays {
		sub := in[i*subscriptionSz:][:subscriptionSz]
		errno := uint16(errnoSuccess)
		if sub[8] != eventClock {
			errno = errnoNotsup
		} else if !clocks || delay > sleep {
			continue
		}
		var event [eventSz]byte
		copy(event[:8], sub)
		binary.LittleEndian.PutUint16(event[8:], errno)
		event[10] = sub[8]
		events = append(events, event[:]...)
	}
	copy(out, events)
	binary.LittleEndian.PutUint32(count, uint32(len(events)/eventSz))
	return errnoSuccess
}

func clamp(ns uint64) time.Duration { return time.Duration(min(ns, math.MaxInt64)) }
