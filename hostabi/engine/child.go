package engine

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/tetratelabs/wazero/experimental"
)

// ChildWord is the argument by which this binary, started again, knows that it is to load a module. A program that
// does not know it takes it for an unknown flag and ends.
const ChildWord = "-towpath-load-module"

// ChildMain must be the first thing that main (and a TestMain) does in a program that loads modules. It returns at
// once unless the program was started to load one; then it does that and exits.
func ChildMain() {
	if len(os.Args) == 2 && os.Args[1] == ChildWord {
		os.Exit(childMain(os.Stdin, os.Stdout))
	}
}

// What goes over the child's pipes, each as gob: a letter in, then hello and a reply out.
type (
	letter struct {
		Order     order
		Load      LoadLimits
		Compilers int
		Wasm      []byte
	}
	hello struct{ Version string }
	reply struct {
		Problem, Fix string // of a *LoadError
		Failure      string // of any other error
	}
)

const (
	maxCompilers = 4                // threads of a child
	lately       = 10 * time.Second // for which a turn is taken as a sign of others to come
)

// compilers is how many threads of a child compile: somebody waits for the module, but turns that are about leave a
// processor to each other, which the child's low priority alone does not.
func (e *Engine) compilers() int {
	n := runtime.GOMAXPROCS(0)
	if time.Since(time.Unix(0, e.ran.Load())) < lately {
		n = max(1, n-1)
	}
	return min(n, maxCompilers)
}

func childMain(in io.Reader, out io.Writer) int {
	enc := gob.NewEncoder(out)
	var l letter
	if enc.Encode(hello{version()}) != nil || gob.NewDecoder(in).Decode(&l) != nil {
		return 1
	}
	if err := limitSelf(l.Load); err != nil {
		enc.Encode(reply{Failure: "limit the child: " + err.Error()})
		return 1
	}
	go func() { // the parent holds the pipe for as long as it lives and wants the result
		io.Copy(io.Discard, in)
		os.Exit(1)
	}()
	var r reply
	ctx := experimental.WithCompilationWorkers(context.Background(), l.Compilers)
	p, err := l.Order.make(ctx, l.Wasm, l.Load.patience())
	if err == nil {
		err = p.write(l.Order.Dir)
	}
	if bad := (*LoadError)(nil); errors.As(err, &bad) {
		r = reply{Problem: bad.Problem, Fix: bad.Fix}
	} else if err != nil {
		r.Failure = err.Error()
	}
	if enc.Encode(r) != nil {
		return 1
	}
	return 0
}

// makeInChild has a child make the program in o.Dir, and reads it from there.
func (e *Engine) makeInChild(ctx context.Context, o order, wasm []byte) (*program, error) {
	limited, cancel := context.WithTimeout(ctx, e.config.Load.Deadline)
	defer cancel()
	cmd := exec.CommandContext(limited, e.self, ChildWord)
	cmd.Env = []string{} // nothing of ours is the child's business
	cmd.Dir = o.Dir
	cmd.WaitDelay = time.Second
	var stderr head
	cmd.Stderr = &stderr
	cmd.SysProcAttr = childAttr()
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("engine: load in a child: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("engine: load in a child: %w", err)
	}
	heard := ask(cmd, in, out, letter{o, e.config.Load, e.compilers(), wasm})
	switch {
	case heard.err != nil && ctx.Err() != nil:
		return nil, fmt.Errorf("engine: load: %w", context.Cause(ctx))
	case heard.err != nil && limited.Err() != nil:
		return nil, tooDear(fmt.Sprintf("takes longer than %v", e.config.Load.Deadline))
	case cmd.Process == nil:
		return nil, fmt.Errorf("engine: load in a child: %w", heard.err)
	case heard.Version == "":
		return nil, fmt.Errorf("engine: load in a child: the program does not call engine.ChildMain first in main: %w: %s", heard.err, stderr.b)
	case heard.err != nil:
		return nil, e.obituary(cmd.ProcessState, heard.died, string(stderr.b))
	case heard.Problem != "":
		return nil, &LoadError{Problem: heard.Problem, Fix: heard.Fix}
	case heard.Failure != "":
		return nil, fmt.Errorf("engine: load in a child: %s", heard.Failure)
	}
	p, err := readProgram(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("engine: what the loading child left: %w", err)
	}
	return p, nil
}

// heard is what a child said.
type heard struct {
	hello
	reply
	err  error // why there is no reply
	died error // how the child ended
}

func ask(cmd *exec.Cmd, in io.WriteCloser, out io.Reader, l letter) (said heard) {
	if said.err = cmd.Start(); said.err != nil {
		return said
	}
	lowerPriority(cmd.Process.Pid)
	go gob.NewEncoder(in).Encode(l) // a child that does not take it ends without a reply
	dec := gob.NewDecoder(out)
	if said.err = dec.Decode(&said.hello); said.err == nil {
		said.err = dec.Decode(&said.reply)
	}
	in.Close()
	said.died = cmd.Wait()
	return said
}

// obituary says why a child that was busy with the file did not answer.
func (e *Engine) obituary(state *os.ProcessState, died error, stderr string) error {
	cpu := state.UserTime() + state.SystemTime()
	switch status, _ := state.Sys().(syscall.WaitStatus); {
	case strings.Contains(stderr, "out of memory") || strings.Contains(stderr, "cannot allocate memory"):
		return tooDear(fmt.Sprintf("takes more than %d MiB of memory", e.config.Load.Memory>>20))
	case status.Signaled() && cpu >= e.config.Load.CPU*3/4: // the limit counts by ticks of a clock, this time does not
		return tooDear(fmt.Sprintf("takes more than %v of processor time", e.config.Load.CPU))
	case status.Signaled():
		return fmt.Errorf("engine: the loading child was killed by %v", status.Signal())
	}
	first, _, _ := strings.Cut(stderr, "\n")
	return &LoadError{Problem: fmt.Sprintf("loading the module crashed: %v: %s", died, first), Fix: "build it again; if that does not help, its toolchain is not supported", cause: died}
}

// tooDear refuses a file whose loading cost too much.
func tooDear(what string) *LoadError {
	return &LoadError{Problem: "loading the module " + what, Fix: "split its largest functions, or leave out generated code that it does not use"}
}

// head keeps the beginning of a child's standard error: what a crash says first is the reason.
type head struct{ b []byte }

func (h *head) Write(p []byte) (int, error) {
	h.b = append(h.b, p[:min(len(p), 16<<10-len(h.b))]...)
	return len(p), nil
}
