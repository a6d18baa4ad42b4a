package supervise

import "time"

// guardWord is the argument by which this binary, started again, knows that it is to be a guard. A program that does
// not know it takes it for an unknown flag and ends.
const guardWord = "-towpath-guard"

// File descriptors of a guard, beside the command's three.
const (
	lettersFD = 3 // JSON in: an order, then for each feed until when it lasts, by the machine's clock
	reportFD  = 4 // JSON out: a started, then a report
)

// order is what a guard is told first.
type order struct {
	Path   string
	Argv   []string
	Dir    string
	Env    []string
	Until  time.Duration // by the machine's clock: what a slow start takes is not given
	Grace  time.Duration
	Remove bool // Dir goes with the child
}

// started is what a guard says first: that the command runs, or why it does not.
type started struct {
	Problem string
	PID     int
}

// report is what a guard says last.
type report struct{ Exit *Exit }
