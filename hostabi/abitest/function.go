package abitest

import (
	"slices"

	"github.com/towpath/towpath/hostabi"
)

// Function is a host function by its signature.
type Function struct {
	Name   string
	Params string // p a pointer and l its length, n a number (i32), t a time (i64)
	Result string // as Params; "" for none
}

// functions of the two modules that a guest may import. WASI's are those that do something; all others answer EBADF.
var (
	turnFunctions = []Function{
		{"take", "pl", "n"}, {"request", "", "n"}, {"now", "", "t"}, {"random", "pl", "n"}, {"log", "npl", "n"}, {"emit", "pl", "n"},
		{"http_open", "plpl", "n"}, {"proc_open", "pl", "n"}, {"proc_write", "npl", "n"}, {"proc_fill", "npl", "n"},
		{"wait", "nt", "n"}, {"close", "n", "n"}, {"kv_get", "pl", "n"}, {"kv_set", "plpl", "n"}, {"finish", "pl", "n"},
	}
	wasiFunctions = []Function{
		{"args_get", "nn", "n"}, {"args_sizes_get", "nn", "n"}, {"environ_get", "nn", "n"}, {"environ_sizes_get", "nn", "n"},
		{"clock_res_get", "nn", "n"}, {"clock_time_get", "ntn", "n"}, {"fd_close", "n", "n"}, {"fd_fdstat_get", "nn", "n"},
		{"fd_fdstat_set_flags", "nn", "n"}, {"fd_read", "nnnn", "n"}, {"fd_write", "nnnn", "n"}, {"poll_oneoff", "nnnn", "n"},
		{"random_get", "pl", "n"}, {"sched_yield", "", "n"}, {"proc_exit", "n", ""},
		{"fd_prestat_get", "nn", "n"}, {"fd_prestat_dir_name", "nnn", "n"},
	}
)

const wasiModule = "wasi_snapshot_preview1"

func find(functions []Function, name string) Function {
	i := slices.IndexFunc(functions, func(f Function) bool { return f.Name == name })
	if i < 0 {
		panic("abitest: no function " + name) // a test of this package names it
	}
	return functions[i]
}

// beyond are the tests of pointers that leave memory, for each pointer of a function: such a call ends the turn. take is
// not among them, as what it copies is bounded by what is parked.
func beyond(functions []Function) []Test {
	var all []Test
	for _, f := range functions {
		for i, p := range f.Params {
			if p != 'p' || f.Name == "take" {
				continue
			}
			for _, bad := range []struct {
				how      string
				ptr, len int64
			}{
				{"begins outside", memoryBytes + 16, 1},
				{"ends outside", memoryBytes - 8, 9},
				{"has a negative length", window, -1},
				{"wraps around", -16, 32},
			} {
				args := make([]int64, len(f.Params))
				for at, p := range f.Params { // the others are good: an empty string
					if p == 'p' {
						args[at] = window
					}
				}
				args[i], args[i+1] = bad.ptr, bad.len
				name := f.Name + ": argument " + string(rune('1'+i)) + " " + bad.how
				all = append(all, Test{Name: name, Calls: []Call{{Function: f.Name, args: args}}, Ends: true})
			}
		}
	}
	return all
}

// Functions lists the functions that a suite covers.
func (s Suite) Functions() []Function { return s.functions }

var (
	// Turn is the suite of module turn_v1.
	Turn = Suite{Module: hostabi.Module, functions: turnFunctions, Tests: append(turnTests, beyond(turnFunctions)...)}
	// WASI is the suite of what turn_v1 takes from WASI, with the turn's clock and no files.
	WASI = Suite{Module: wasiModule, functions: wasiFunctions, Tests: append(wasiTests, beyond(wasiFunctions)...)}
)
