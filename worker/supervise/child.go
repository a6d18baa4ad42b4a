package supervise

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

const (
	startPatience = 10 * time.Second // for a guard to say that the command runs
	killPatience  = 5 * time.Second  // for a guard to report after Kill and the grace
	feedPatience  = 10 * time.Millisecond
)

var (
	// ErrGuard says that the guard of a child is dead or did not answer: how the command ended is unknown.
	ErrGuard = errors.New("supervise: the child's guard is gone")
	// ErrGone says that nobody reads the child's standard input any more.
	ErrGone = errors.New("supervise: the child takes no input")

	errUnheard = errors.New("its guard takes no order")
)

// Spec says what to start. There is no shell in between.
type Spec struct {
	Path  string        // absolute
	Args  []string      // without the program's name
	Dir   string        // working directory; empty: a private one that goes with the child
	Env   []string      // nil: PATH, HOME and TMPDIR (both Dir), LANG
	Feed  time.Duration // how long the child may live before it is fed
	Grace time.Duration // from SIGTERM to SIGKILL

	Stdout, Stderr *os.File // where the command writes; nil: to the Child's, which are empty otherwise
}

// Child is a command under its guard. Call Kill in the end, also after Wait: it frees what the child holds.
type Child struct {
	Stdout io.Reader // fails with os.ErrClosed once Kill is called, as does Stderr
	Stderr io.Reader

	stdin   *os.File
	letters *os.File
	reports *os.File
	guard   *exec.Cmd
	remove  string // a private directory
	grace   time.Duration
	kill    sync.Once
	killed  chan struct{} // closed by Kill
	pid     int           // the command's own
	done    chan struct{} // closed when exit and err are set
	exit    Exit
	err     error
}

// Start starts a command under a guard and returns when it runs. ctx is for starting only. The program must call
// GuardMain first in main.
func Start(ctx context.Context, s Spec) (*Child, error) {
	c, err := start(ctx, s, nil)
	if err != nil {
		return nil, fmt.Errorf("supervise: start %s: %w", s.Path, err)
	}
	return c, nil
}

// start starts a command under the guard of c, or under a new one when that is nil.
func start(ctx context.Context, s Spec, c *Child) (_ *Child, err error) {
	if c == nil {
		if c, err = raise(s.Stdout, s.Stderr); err != nil {
			return nil, err
		}
	}
	c.grace = s.Grace
	if s.Dir == "" {
		if s.Dir, err = os.MkdirTemp("", "towpath-child-"); err != nil {
			c.discard()
			return nil, err
		}
		c.remove = s.Dir
	}
	if s.Env == nil {
		s.Env = environment(s.Path, s.Dir)
	}
	said := json.NewDecoder(c.reports)
	err = c.instruct(ctx, said, order{Path: s.Path, Argv: append([]string{s.Path}, s.Args...), Dir: s.Dir, Env: s.Env,
		Until: clock() + s.Feed, Grace: s.Grace, Remove: c.remove != ""})
	if err != nil {
		c.discard()
		return nil, err
	}
	go c.attend(said)
	return c, nil
}

// discard ends a child that nobody is to have.
func (c *Child) discard() {
	go c.attend(json.NewDecoder(c.reports))
	c.Kill()
	<-c.done
}

// environment is all that a child is told of this machine.
func environment(path, dir string) []string {
	return []string{"PATH=" + filepath.Dir(path) + ":/usr/local/bin:/usr/bin:/bin", "HOME=" + dir, "TMPDIR=" + dir, "LANG=C.UTF-8"}
}

// raise starts a guard, which waits for its order. A nil file is a pipe to the Child.
func raise(stdout, stderr *os.File) (_ *Child, err error) {
	if err := supported(); err != nil {
		return nil, err
	}
	c := &Child{killed: make(chan struct{}), done: make(chan struct{})}
	var ours, theirs []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
		if err != nil {
			for _, f := range ours {
				f.Close()
			}
		}
	}()
	for fd := range reportFD + 1 {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		if fd == 0 || fd == lettersFD {
			ours, theirs = append(ours, w), append(theirs, r)
		} else {
			ours, theirs = append(ours, r), append(theirs, w)
		}
	}
	c.guard = &exec.Cmd{
		Path: guardPath, Args: []string{os.Args[0], guardWord}, Env: []string{}, Dir: "/", SysProcAttr: guardAttr(),
		Stdin: theirs[0], Stdout: theirs[1], Stderr: theirs[2], ExtraFiles: theirs[3:],
	}
	if stdout != nil {
		c.guard.Stdout = stdout
	}
	if stderr != nil {
		c.guard.Stderr = stderr
	}
	if err := c.guard.Start(); err != nil {
		return nil, err
	}
	guards.Store(c.guard.Process.Pid, true)
	out, errs := &output{file: ours[1], killed: c.killed}, &output{file: ours[2], killed: c.killed}
	go out.drop(c.done)
	go errs.drop(c.done)
	c.stdin, c.Stdout, c.Stderr, c.letters, c.reports = ours[0], out, errs, ours[lettersFD], ours[reportFD]
	return c, nil
}

// instruct hands the guard its order and waits until the command runs.
func (c *Child) instruct(ctx context.Context, said *json.Decoder, o order) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startPatience, fmt.Errorf("its guard did not start within %v", startPatience))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		c.letters.SetWriteDeadline(past)
		c.reports.SetReadDeadline(past)
	})
	var s started
	err := json.NewEncoder(c.letters).Encode(o)
	if err != nil {
		err = fmt.Errorf("%w: %w", errUnheard, err)
	} else {
		err = said.Decode(&s)
	}
	switch {
	case !stop():
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("its guard did not come up (the program must call supervise.GuardMain first in main): %w", err)
	case s.Problem != "":
		return errors.New(s.Problem)
	}
	c.pid = s.PID
	return nil
}

// past is a deadline that ends what waits.
var past = time.Unix(1, 0)

// attend waits for the guard's report and for the guard's end.
func (c *Child) attend(said *json.Decoder) {
	defer close(c.done)
	defer c.reports.Close()
	ended := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-c.killed:
		case <-ended:
			return
		}
		t := time.NewTimer(c.grace + killPatience)
		defer t.Stop()
		select {
		case <-t.C:
			c.guard.Process.Kill() // ours, and not waited for
		case <-ended:
		}
	}()
	c.reports.SetReadDeadline(time.Time{})
	var r report
	err := said.Decode(&r)
	whole := err == nil && r.Exit != nil
	if whole {
		c.exit = *r.Exit
		io.Copy(io.Discard, c.reports) // until the guard has ended
	} else {
		// It is dead, or as good as dead: what is left in its session is ours. Its number is taken until Wait.
		c.guard.Process.Kill()
		sweep(c.guard.Process.Pid)
		c.err = ErrGuard
	}
	guards.Delete(c.guard.Process.Pid)
	c.guard.Wait()
	close(ended)
	<-watched
	if !whole {
		c.clean()
	}
}

// guards are those of this program, by number, for as long as nobody else can have that number.
var guards sync.Map

func guarding(pid int) bool {
	_, ok := guards.Load(pid)
	return ok
}

// Write writes to the child's standard input, until ctx ends. It fails with ErrGone when nobody reads there.
func (c *Child) Write(ctx context.Context, p []byte) error {
	stop := context.AfterFunc(ctx, func() { c.stdin.SetWriteDeadline(past) })
	_, err := c.stdin.Write(p)
	switch {
	case !stop():
		return context.Cause(ctx)
	case err != nil:
		return ErrGone
	}
	return nil
}

// CloseStdin ends the child's standard input.
func (c *Child) CloseStdin() { c.stdin.Close() }

// Feed lets the child live for d from now. It never blocks for long, and does nothing once the child has ended.
func (c *Child) Feed(d time.Duration) {
	c.letters.SetWriteDeadline(time.Now().Add(feedPatience))
	json.NewEncoder(c.letters).Encode(clock() + d) // a guard that does not take it is dead or stopped: attend and Kill see to that
}

// Kill ends the child, as the package comment says, and its standard input; what it still says is dropped. Kill does
// not wait. It may be called more than once, from any goroutine.
func (c *Child) Kill() {
	c.kill.Do(func() {
		close(c.killed)
		c.letters.Close()
		c.stdin.Close()
	})
}

// Done is closed when nothing of the child runs any more.
func (c *Child) Done() <-chan struct{} { return c.done }

// Wait returns when nothing of the child runs any more, and says how the command ended. The error is ErrGuard or nil.
func (c *Child) Wait() (Exit, error) {
	<-c.done
	return c.exit, c.err
}

// clean removes a private directory that no guard will.
func (c *Child) clean() {
	if c.remove != "" {
		os.RemoveAll(c.remove)
	}
}
