package abitest

import (
	"strings"

	"github.com/towpath/towpath/hostabi"
)

const (
	event   = `{"type":"one"}`
	head    = `{"method":"GET","url":"https://a/"}`
	spec    = `{"name":"tool"}`
	result  = `{"status":"completed"}`
	second  = 1_000_000_000
	forever = -1
)

var turnTests = []Test{
	{Name: "take", Calls: []Call{
		call("kv_set", "color", "blue"),
		call("kv_get", "color"), call("take", at(0x40), 16), call("take", at(0x40), 16), // once
		call("kv_get", "color"), call("take", at(0x40), 2), call("take", at(0x40), 16), // the rest is dropped
		call("kv_get", "color"), call("take", at(0x40), 0), call("take", at(0x40), 16),
		call("kv_get", "color"), call("take", at(0x40), -1), // a capacity is unsigned
		call("kv_get", "color"), call("now"), call("take", at(0x40), 16), // another call drops it
		call("kv_get", "colour"), call("take", at(0x40), 64), // a refusal parks its message
	}},
	// WebAssembly has no memory that is read-only: a guest may have its own constants written over, in its turn alone.
	{Name: "take: over the module's data", Calls: []Call{call("request"), call("take", manifestAt, 16), call("kv_set", "data", manifestAt, 16)}},
	{Name: "kv_set: the module's data in the next turn", Calls: []Call{call("kv_set", "data", manifestAt, 16)}},
	{Name: "take: outside", Ends: true, Calls: []Call{call("request"), call("take", memoryBytes-1, 16)}},
	{Name: "take: wraps around", Ends: true, Calls: []Call{call("request"), call("take", -8, 16)}},
	{Name: "request", Calls: []Call{call("request"), call("take", at(0), windowBytes), call("request"), call("take", at(0), 10)}},
	{Name: "now", Calls: []Call{call("now"), call("now")}},
	{Name: "random", Calls: []Call{call("random", at(0x20), 8), call("random", at(0x20), 16), call("random", at(0x20), 0)}},
	{Name: "random: outside", Ends: true, Calls: []Call{call("random", memoryBytes-1, 2)}},
	{Name: "random: wraps around", Ends: true, Calls: []Call{call("random", at(0), -1)}},
	{Name: "log", Calls: []Call{
		call("log", -1, "debug"), call("log", 0, "info"), call("log", 1, "warn"), call("log", 2, "error"),
		call("log", 3, "no level"), call("log", -2, "no level"), call("log", 0, ""), call("log", 0, "\xff is not UTF-8"),
		call("log", 0, large, hostabi.MaxLog+1), // cut
	}},
	{Name: "emit", Calls: []Call{
		call("emit", event), call("emit", event), call("emit", `{"text":"no type"}`), call("emit", "{"), call("emit", "\xff\x00"), call("emit", ""),
		call("emit", large, hostabi.MaxEvent+1), call("emit", event), // a refused one has no number
	}},
	{Name: "http_open", Calls: []Call{
		call("http_open", head, "body"), call("http_open", head, ""),
		call("wait", 1, forever), call("take", at(0x40), 64), call("wait", 1, forever), call("take", at(0x40), 64),
		call("wait", 1, forever), call("take", at(0x40), 64), call("wait", 1, 0),
		call("http_open", "{", ""), call("http_open", "", ""),
		call("http_open", large, hostabi.MaxHead+1, "body"), call("http_open", head, large, hostabi.MaxRequest+1),
		call("http_open", at(0), len(head), at(0), len(head)).with(0, head), // two arguments may overlap
		call("http_open", at(0), len(head), at(8), len(head)-8).with(0, head),
	}},
	{Name: "proc_open", Calls: []Call{
		call("proc_open", spec), call("wait", 1, forever), call("take", at(0x40), 64), call("proc_open", "{"), call("proc_open", ""),
		call("proc_open", large, hostabi.MaxHead+1),
	}},
	{Name: "proc_write", Calls: []Call{
		call("proc_open", spec), call("proc_write", 1, "line\n"), call("proc_write", 1, "{{secret:KEY}}"),
		call("proc_write", 1, ""), call("proc_write", 1, "after its end"), // an empty one closes
		call("http_open", head, ""), call("proc_write", 2, "to a request"), call("proc_write", 3, "to nobody"), call("proc_write", -1, "to nobody"),
		call("proc_write", 1, large, hostabi.MaxRequest+1),
	}},
	{Name: "proc_fill", Calls: []Call{
		call("proc_open", spec), call("proc_fill", 1, "{{secret:KEY}}\n"), call("proc_fill", 1, "{{secret:OTHER}}"),
		call("proc_fill", 1, ""), call("proc_fill", 1, "after its end"), call("proc_fill", 7, "to nobody"),
		call("proc_fill", 1, large, hostabi.MaxRequest+1),
	}},
	{Name: "wait", Calls: []Call{
		call("wait", 0, 0), call("wait", 0, second), call("proc_open", spec), call("http_open", head, ""),
		call("wait", 2, forever), call("take", at(0x40), 64), // of one handle, though another has something
		call("wait", 0, forever), call("take", at(0x40), 64), call("wait", 0, 0), call("take", at(0x40), 64),
		call("wait", 9, 0), call("wait", -1, forever),
	}},
	{Name: "close", Calls: []Call{
		call("http_open", head, ""), call("close", 1), call("close", 1), call("wait", 1, forever), // nothing comes any more
		call("proc_open", spec), call("close", 2), call("proc_write", 2, "late"), call("proc_fill", 2, "late"),
		call("close", 0), call("close", 9), call("close", -1), call("wait", 0, 0),
	}},
	{Name: "kv_get", Calls: []Call{
		call("kv_get", "color"), call("kv_set", "color", "blue"), call("kv_get", "color"), call("kv_get", ""),
		call("kv_get", "a\x00b"), call("kv_get", "\xff"), call("kv_get", large, hostabi.MaxKey+1),
	}},
	{Name: "kv_set", Calls: []Call{
		call("kv_set", "color", "blue"), call("kv_set", "color", "green"), call("kv_get", "color"), call("take", at(0x40), 16),
		call("kv_set", "color", ""), call("kv_get", "color"), // an empty value deletes
		call("kv_set", "", "v"), call("kv_set", "a\x00b", "v"), call("kv_set", "\xff", "v"), call("kv_set", large, hostabi.MaxKey+1, "v"),
		call("kv_set", "big", large, hostabi.MaxValue+1), call("kv_set", "bytes", "\x00\xff"),
		call("kv_set", at(0), 5, at(2), 5).with(0, "overlap"),
	}},
	{Name: "finish", Calls: []Call{
		call("finish", large, hostabi.MaxResult+1), call("finish", "[]"), call("finish", "{"), call("finish", result), call("finish", result),
		call("emit", event), call("http_open", head, ""), call("proc_open", spec), call("proc_write", 1, "x"), call("proc_fill", 1, "x"),
		call("wait", 0, 0), call("close", 1), call("kv_get", "color"), call("kv_set", "color", "blue"), // what has an effect is refused
		call("now"), call("random", at(0), 4), call("request"), call("take", at(0x40), 8), call("log", 0, "the end"),
	}},
}

// clock is a subscription of poll_oneoff: user data, kind 0, clock 1, a time from now.
func clock(ns byte) string {
	return "userdata" + strings.Repeat("\x00", 8) + "\x01\x00\x00\x00\x00\x00\x00\x00" + string(rune(ns)) + strings.Repeat("\x00", 23)
}

const vectors = "\x20\x10\x00\x00\x03\x00\x00\x00\x30\x10\x00\x00\x04\x00\x00\x00" // 3 bytes at 0x1020, 4 at 0x1030

var wasiTests = []Test{
	{Name: "args_get", Calls: []Call{call("args_get", at(0), at(0x40)).with(0, "kept")}},
	{Name: "args_sizes_get", Calls: []Call{call("args_sizes_get", at(0), at(0x40)).with(0, "over").with(0x40, "over")}},
	{Name: "args_sizes_get: outside", Ends: true, Calls: []Call{call("args_sizes_get", at(0), memoryBytes-2)}},
	{Name: "environ_get", Calls: []Call{call("environ_get", at(0), at(0x40)).with(0, "kept")}},
	{Name: "environ_sizes_get", Calls: []Call{call("environ_sizes_get", at(0), at(0x40)).with(0, "over").with(0x40, "over")}},
	{Name: "clock_res_get", Calls: []Call{call("clock_res_get", 0, at(0)), call("clock_res_get", 1, at(0)), call("clock_res_get", 9, at(0))}},
	{Name: "clock_time_get", Calls: []Call{ // every clock is the turn's
		call("clock_time_get", 0, 0, at(0)), call("clock_time_get", 1, 1000, at(0x10)), call("clock_time_get", 9, 0, at(0)),
		call("now").of(hostabi.Module),
	}},
	{Name: "clock_time_get: outside", Ends: true, Calls: []Call{call("clock_time_get", 0, 0, memoryBytes-4)}},
	{Name: "fd_close", Calls: []Call{call("fd_close", 0), call("fd_close", 2), call("fd_close", 3), call("fd_close", -1)}},
	{Name: "fd_fdstat_get", Calls: []Call{call("fd_fdstat_get", 0, at(0)), call("fd_fdstat_get", 1, at(0)).with(0, strings.Repeat("x", 32)), call("fd_fdstat_get", 3, at(0))}},
	{Name: "fd_fdstat_set_flags", Calls: []Call{call("fd_fdstat_set_flags", 1, 4), call("fd_fdstat_set_flags", 5, 4)}},
	{Name: "fd_read", Calls: []Call{call("fd_read", 0, at(0), 2, at(0x40)).with(0, vectors).with(0x40, "over"), call("fd_read", 1, at(0), 2, at(0x40)), call("fd_read", 3, at(0), 2, at(0x40))}},
	{Name: "fd_write", Calls: []Call{
		call("fd_write", 1, at(0), 2, at(0x40)).with(0, vectors).with(0x20, "one\x00").with(0x30, "two\n"),
		call("fd_write", 2, at(0), 1, at(0x40)).with(0, vectors).with(0x20, "err"), call("fd_write", 2, at(0), 1, at(0x40)).with(0, vectors).with(0x20, "or\n"),
		call("fd_write", 1, at(0), 0, at(0x40)).with(0x40, "over"), call("fd_write", 0, at(0), 1, at(0x40)), call("fd_write", 3, at(0), 1, at(0x40)),
		call("fd_write", 1, at(0), 5000, at(0x40)),
	}},
	{Name: "fd_write: a vector outside", Ends: true, Calls: []Call{call("fd_write", 1, at(0), 1, at(0x40)).with(0, "\xff\xff\xff\xff\x08\x00\x00\x00")}},
	{Name: "poll_oneoff", Calls: []Call{
		call("poll_oneoff", at(0), at(0x60), 1, at(0xf0)).with(0, clock(50)),
		call("poll_oneoff", at(0), at(0), 2, at(0xf0)).with(0, clock(20)+clock(40)), // its arrays may overlap
		call("poll_oneoff", at(0), at(0x60), 0, at(0xf0)), call("poll_oneoff", at(0), at(0x60), 1, at(0xf0)).with(0, "userdata\x01"),
	}},
	{Name: "poll_oneoff: outside", Ends: true, Calls: []Call{call("poll_oneoff", memoryBytes-8, at(0), 1, at(0xf0))}},
	{Name: "random_get", Calls: []Call{call("random_get", at(0), 8), call("random", at(0), 8).of(hostabi.Module)}}, // one stream
	{Name: "random_get: outside", Ends: true, Calls: []Call{call("random_get", memoryBytes-4, 8)}},
	{Name: "sched_yield", Calls: []Call{ // none of WASI's functions drops what is parked
		call("request").of(hostabi.Module), call("sched_yield"), call("take", at(0), 9).of(hostabi.Module),
	}},
	{Name: "proc_exit", Ends: true, Calls: []Call{call("proc_exit", 7)}},
	{Name: "fd_prestat_get", Calls: []Call{call("fd_prestat_get", 3, at(0))}}, // there are no mounts
	{Name: "fd_prestat_dir_name", Calls: []Call{call("fd_prestat_dir_name", 3, at(0), 8)}},
}
