package abitest

import "fmt"

// Suite is the tests of one import module.
type Suite struct {
	Module string
	Tests  []Test

	functions []Function
}

// Test is one turn. Its name begins with that of the function that it is about.
type Test struct {
	Name  string
	Calls []Call
	Ends  bool // the host ends the turn in the last call, for the call breaks the contract or is the end
}

// Call is one host call: its arguments, and what stands in the window of memory before it.
type Call struct {
	Function string
	Module   string // of the function, "" for that of the suite

	args []int64
	put  []piece
}

// piece is what the guest puts into its window before a call.
type piece struct {
	at   int // within the window
	text string
}

// The guest's memory. All of it is zero but for what is said here.
const (
	manifestAt  = 0x100
	requestAt   = 0x400   // the turn request; maxRequest bytes
	window      = 0x1000  // what is compared before and after each call
	windowBytes = 0x100   //
	large       = 0x20000 // zero bytes up to the end, for arguments over a limit
	notes       = 0x10000 // a note for each call: result, window before, window after
	noteBytes   = 8 + 2*windowBytes
	maxRequest  = 0x200
	maxCalls    = (large - notes) / noteBytes
	memoryPages = 290
	memoryBytes = memoryPages << 16
)

// call makes a Call. A string argument is put into the window and stands for its pointer and its length; an at stands for
// an address within the window, any other number for itself.
func call(function string, args ...any) Call {
	c := Call{Function: function}
	next := 0
	for _, arg := range args {
		switch arg := arg.(type) {
		case string:
			c.put = append(c.put, piece{next, arg})
			c.args = append(c.args, window+int64(next), int64(len(arg)))
			next = (next + len(arg) + 15) &^ 15
		case at:
			c.args = append(c.args, window+int64(arg))
		case int:
			c.args = append(c.args, int64(arg))
		default:
			panic(fmt.Sprintf("abitest: an argument of type %T", arg))
		}
	}
	return c
}

// at is an address within the window.
type at int

// with puts more into the window.
func (c Call) with(offset int, text string) Call {
	c.put = append(c.put, piece{offset, text})
	return c
}

// of names the module of a function that is not the suite's.
func (c Call) of(module string) Call {
	c.Module = module
	return c
}
