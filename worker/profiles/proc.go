package profiles

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/towpath/towpath/worker/egress"
)

// Proc permits one command under a name of the operator's choice.
type Proc struct {
	Name    string
	Command string   // absolute once the profile is loaded
	Args    []string // patterns, see Allows
	Secrets []string // may be filled into standard input
	Broker  *egress.Brokered
}

// Allows reports whether the arguments fit the patterns, one by one. A * in a pattern stands for any characters; a
// last pattern that is * alone stands for any further arguments, or none. No patterns permit no arguments.
func (p Proc) Allows(args []string) bool {
	patterns := p.Args
	if n := len(patterns); n > 0 && patterns[n-1] == "*" {
		patterns = patterns[:n-1]
		args = args[:min(len(args), n-1)]
	}
	if len(args) != len(patterns) {
		return false
	}
	for i, pattern := range patterns {
		if !fits(pattern, args[i]) {
			return false
		}
	}
	return true
}

// fits matches one argument. The pieces between stars are found from left to right, the last at the end.
func fits(pattern, arg string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == arg
	}
	arg, ok := strings.CutPrefix(arg, first)
	for ok {
		piece, after, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(arg, piece)
		}
		_, arg, ok = strings.Cut(arg, piece)
		rest = after
	}
	return false
}

// locate finds the command on this machine.
func (p *Proc) locate() error {
	path, err := exec.LookPath(p.Command)
	if err != nil {
		return fmt.Errorf("proc %s: command %s cannot be run here: install it, or correct the path", p.Name, p.Command)
	}
	if path, err = filepath.Abs(path); err != nil {
		return fmt.Errorf("proc %s: %w", p.Name, err)
	}
	p.Command = path
	return nil
}
