package supervise

import (
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// free is the child of a daemon that outlives its worker: one that we started, or that we adopted.
type free struct {
	process string
	pid     int
	start   uint64
	ours    bool // we are its parent, and reap it
	fd      *os.File
	left    chan struct{}
	leave   sync.Once
	ended   atomic.Bool
	kill    sync.Once
	mu      sync.Mutex // held to reap, and to signal by number
	reaped  bool
	done    chan struct{}
	code    *int
	signal  *string
}

// launch starts a command in a session of its own, which writes to the given files and reads nothing.
func launch(process, path string, args []string, dir string, env []string, out, errs *os.File) (*free, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	fd := -1
	pid, err := syscall.ForkExec(path, append([]string{path}, args...), &syscall.ProcAttr{
		Dir: dir, Env: env, Files: []uintptr{null.Fd(), out.Fd(), errs.Fd()},
		Sys: &syscall.SysProcAttr{Setsid: true, PidFD: &fd},
	})
	if err != nil {
		return nil, &os.PathError{Op: "start", Path: path, Err: err}
	}
	if fd < 0 {
		// An old kernel: the number is ours until we reap it.
		if fd, err = unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK); err != nil {
			unix.Kill(-pid, unix.SIGKILL)
			unix.Wait4(pid, nil, 0, nil)
			return nil, err
		}
	}
	start, _ := startOf(pid) // a child that has ended already has none, and needs none
	return watchFree(process, pid, max(start, 1), fd, true), nil
}

// adoptChild takes over a process by number and start time; false when that process is dead.
func adoptChild(process string, pid int, start uint64) (*free, bool) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, false
	}
	if now, alive := startOf(pid); !alive || now != start {
		unix.Close(fd)
		return nil, false
	}
	return watchFree(process, pid, start, fd, false), true
}

func watchFree(process string, pid int, start uint64, fd int, ours bool) *free {
	unix.SetNonblock(fd, true)
	c := &free{process: process, pid: pid, start: start, ours: ours, fd: os.NewFile(uintptr(fd), "pidfd"), left: make(chan struct{}), done: make(chan struct{})}
	watched.Store(pid, c)
	go c.attend()
	return c
}

// watched are the free children of this worker, by number: its own for as long as nobody else can have that number.
var watched sync.Map

// exists reports whether the number is still this child's, be it dead, so that nobody else can have it.
func (c *free) exists() bool {
	err := os.ErrClosed
	if conn, connErr := c.fd.SyscallConn(); connErr == nil {
		conn.Control(func(fd uintptr) { err = unix.PidfdSendSignal(int(fd), 0, nil, 0) })
	}
	return err == nil
}

// attend waits for the end without holding a thread, and leaves nothing of the child behind.
func (c *free) attend() {
	defer c.fd.Close()
	defer watched.CompareAndDelete(c.pid, c)
	ended := false
	if conn, err := c.fd.SyscallConn(); err == nil {
		conn.Read(func(fd uintptr) bool {
			n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			ended = n > 0
			return ended
		})
	}
	select {
	case <-c.left:
		return // another worker's from now
	default:
	}
	if !ended {
		gone(int(c.fd.Fd()), -time.Millisecond) // without the runtime's poller
	}
	if c.ours {
		unix.Kill(-c.pid, unix.SIGKILL) // the dead leader keeps the number of its group
	}
	c.ended.Store(true)
	killTagged(c.process)
	if c.ours {
		var status unix.WaitStatus
		watched.Delete(c.pid) // before the number can be another's
		c.mu.Lock()
		for {
			if _, err := unix.Wait4(c.pid, &status, 0, nil); err != unix.EINTR {
				break
			}
		}
		c.reaped = true
		c.mu.Unlock()
		if status.Signaled() {
			name := unix.SignalName(status.Signal())
			c.signal = &name
		} else {
			code := status.ExitStatus()
			c.code = &code
		}
	}
	close(c.done)
}

func (c *free) PID() int              { return c.pid }
func (c *free) Start() uint64         { return c.start }
func (c *free) Done() <-chan struct{} { return c.done }
func (c *free) Exit() (*int, *string) { return c.code, c.signal }
func (c *free) Feed(time.Duration)    {}

// Kill asks all of the daemon to end, and ends it after the grace. It does not wait.
func (c *free) Kill(grace time.Duration) {
	c.kill.Do(func() {
		go func() {
			c.send(unix.SIGTERM)
			c.send(unix.SIGCONT)
			t := time.NewTimer(grace)
			defer t.Stop()
			select {
			case <-c.done:
			case <-t.C:
				c.send(unix.SIGKILL)
			}
		}()
	})
}

// send signals the group of a leader that nobody else can have reaped, or else each by what it holds.
func (c *free) send(sig unix.Signal) {
	if c.ours {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.reaped {
			unix.Kill(-c.pid, sig)
		}
		return
	}
	if conn, err := c.fd.SyscallConn(); err == nil {
		conn.Control(func(fd uintptr) { unix.PidfdSendSignal(int(fd), sig, nil, 0) })
	}
	if sig != unix.SIGKILL { // attend does
		signalTagged(c.process, sig)
	}
}

// Leave lets go of a child that lives on.
func (c *free) Leave() {
	c.leave.Do(func() {
		close(c.left)
		c.fd.SetReadDeadline(past)
	})
}
