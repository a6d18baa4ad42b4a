package rewrite

import "fmt"

// Refusal says why a module is not taken, and what its author or operator can do.
type Refusal struct {
	Problem string // what is wrong, with the name or place in the module
	Fix     string // what to change
}

func (r *Refusal) Error() string { return r.Problem + ": " + r.Fix }

func refuse(fix, format string, args ...any) *Refusal {
	return &Refusal{Problem: fmt.Sprintf(format, args...), Fix: fix}
}

// malformed is the refusal of bytes that are no valid module, whatever the limits.
func malformed(format string, args ...any) *Refusal {
	return refuse("the file is damaged or its toolchain is faulty; build it again", "malformed module: "+format, args...)
}

// proposal is the refusal of a WebAssembly extension that the engine does not run.
func proposal(name, format string, args ...any) *Refusal {
	return refuse("build without "+name, "%s, from %s, which the host does not support", fmt.Sprintf(format, args...), name)
}
