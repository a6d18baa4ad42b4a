package supervise

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// guardPath is this very program, even if its file has been replaced since.
const guardPath = "/proc/self/exe"

// guardAttr gives the guard a session of its own: no terminal's signals, and a mark on all that descends from it.
func guardAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func supported() error { return nil }

// GuardMain must be the first thing that main (and a TestMain) does in a program that starts children. It returns at
// once unless the program was started to be a guard; then it is one until its child has ended, and exits.
func GuardMain() {
	if len(os.Args) == 2 && os.Args[1] == guardWord {
		os.Exit(guardMain())
	}
}

func guardMain() int {
	// The command is told when the thread that started it dies, and what it may not gain is set for that thread.
	runtime.LockOSThread()
	letters := json.NewDecoder(os.NewFile(lettersFD, "letters"))
	out := json.NewEncoder(os.NewFile(reportFD, "report"))
	// The worker's end is the only one that is ours: signals to all of a service are not. Unlike an ignored signal, one
	// that is caught is not passed on to the command.
	signal.Notify(make(chan os.Signal, 1), unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	orphans := make(chan os.Signal, 1)
	signal.Notify(orphans, unix.SIGCHLD)

	var o order
	if letters.Decode(&o) != nil {
		return 1
	}
	if o.Remove {
		// Locked as long as the guard lives: should it be killed, whoever gets the lock knows that the folder is nobody's.
		if f, err := os.Open(o.Dir); err == nil {
			unix.Flock(int(f.Fd()), unix.LOCK_SH)
			defer f.Close()
		}
		defer os.RemoveAll(o.Dir)
	}
	pid, err := o.run()
	if err != nil {
		out.Encode(started{Problem: err.Error()})
		return 1
	}
	out.Encode(started{PID: pid}) // to a worker that is dead: then the letters are closed as well
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		await(pid)
	}()
	exit := Exit{Cause: o.watch(letters, ended, orphans, pid)}
	if exit.Cause != Itself {
		unix.Kill(-pid, unix.SIGTERM)
		unix.Kill(-pid, unix.SIGCONT) // who is stopped hears nothing
		select {
		case <-ended:
		case <-time.After(o.Grace):
		}
	}
	status := end(pid)
	if status.Signaled() {
		exit.Signal = status.Signal()
	} else {
		exit.Code = status.ExitStatus()
	}
	out.Encode(report{&exit})
	return 0
}

// run starts the command and lets go of its pipes.
func (o order) run() (pid int, err error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	if err := keepFiles(); err != nil {
		return 0, fmt.Errorf("see files: mount /proc: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("adopt orphans: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("forbid new rights: %w", err)
	}
	blind()
	if _, err := children(); err != nil {
		return 0, fmt.Errorf("see children: mount /proc: %w", err)
	}
	pid, err = syscall.ForkExec(o.Path, o.Argv, &syscall.ProcAttr{
		Dir: o.Dir, Env: o.Env, Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	})
	for fd := range 3 {
		if err := unix.Dup3(int(null.Fd()), fd, 0); err != nil {
			return 0, err // the command dies with us
		}
	}
	return pid, err
}

// keepFiles lets the command have none of our files but the first three: neither the worker's pipes nor what the
// worker itself was left by whoever started it.
func keepFiles() error {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, f := range files {
		if fd, err := strconv.Atoi(f.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// watch returns why the command is to end, or that it has. What it left without a parent is reaped meanwhile.
func (o order) watch(letters *json.Decoder, ended <-chan struct{}, orphans <-chan os.Signal, pid int) Cause {
	feeds := make(chan time.Duration)
	go func() {
		defer close(feeds)
		for {
			var until time.Duration
			if letters.Decode(&until) != nil {
				return
			}
			feeds <- until
		}
	}()
	until := o.Until
	timer := time.NewTimer(until - clock())
	for {
		select {
		case <-ended:
			return Itself
		case <-orphans:
			bury(pid)
		case <-timer.C:
			return Starved
		case later, alive := <-feeds:
			switch {
			case !alive:
				return Killed
			case clock() > until:
				return Starved // we were stopped as well
			}
			until = later
			timer.Reset(until - clock())
		}
	}
}

// clock is the time since the machine started, its sleep included: the same for worker and guard.
func clock() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(err) // every Linux has it
	}
	return time.Duration(t.Nano())
}

// await returns when the command has ended. It stays a zombie, so that its number and its group's stay its own.
func await(pid int) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}

// bury reaps the orphans that have ended.
func bury(command int) {
	pids, err := children()
	if err != nil {
		return // the end reaps them
	}
	for _, pid := range pids {
		if pid != command {
			unix.Wait4(pid, nil, unix.WNOHANG, nil)
		}
	}
}

// end kills everything that is left and reaps it. A process that is killed leaves its children to us, and then they
// are next: when there is nobody to wait for there is nobody left.
func end(command int) (status unix.WaitStatus) {
	unix.Kill(-command, unix.SIGKILL)
	for {
		pids, err := children()
		if err != nil {
			pids = []int{command}
		}
		for _, pid := range pids {
			unix.Kill(pid, unix.SIGKILL)
		}
		var ws unix.WaitStatus
		switch pid, err := unix.Wait4(-1, &ws, 0, nil); {
		case err == unix.EINTR:
		case err != nil:
			return status
		case pid == command:
			status = ws
		}
	}
}

// children lists this process's children, dead or alive. They keep their numbers until we reap them.
func children() ([]int, error) {
	files, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(files) == 0 {
		return nil, errors.Join(errors.New("no /proc/self/task/*/children"), err)
	}
	var pids []int
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // the thread has ended
		}
		if err != nil {
			return nil, err
		}
		for _, word := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(word)
			if err != nil {
				return nil, err
			}
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
