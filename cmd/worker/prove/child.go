package prove

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/towpath/towpath/worker/turn"
)

// child is a node in a process of its own.
type child struct {
	id   string
	cmd  *exec.Cmd
	log  *tail
	done chan struct{} // it has ended and been waited for

	ready chan struct{}
	acks  chan struct{}
	tell  func(*child, report) // of points, from one goroutine

	mu  sync.Mutex // orders, one at a time
	out *json.Encoder
}

var errDead = errors.New("the node has ended")

// start runs a node. It is usable once ready is closed.
func start(program string, env []string, id string, tell func(*child, report)) (*child, error) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "node"), os.NewFile(uintptr(pair[1]), "harness")
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	_ = ours.Close() // conn has its own
	if err != nil {
		return nil, err
	}
	c := &child{
		id: id, cmd: exec.Command(program, NodeCommand), log: &tail{}, done: make(chan struct{}),
		ready: make(chan struct{}), acks: make(chan struct{}, 1), tell: tell, out: json.NewEncoder(conn),
	}
	c.cmd.Env = append(env, "TOWPATH_NODE_ID="+id)
	// A group of its own: the kernel wakes the stopped members of a group whose last parent in the terminal goes.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.cmd.ExtraFiles = []*os.File{theirs}
	c.cmd.Stderr = c.log
	if err := c.cmd.Start(); err != nil {
		_ = conn.Close()
		return nil, err
	}
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		c.hear(json.NewDecoder(conn))
	}()
	go func() {
		_ = c.cmd.Wait() // how it ended, its state says
		_ = conn.Close()
		<-heard
		close(c.done)
	}()
	return c, nil
}

func (c *child) hear(in *json.Decoder) {
	for {
		var r report
		if in.Decode(&r) != nil {
			return
		}
		switch {
		case r.Ready:
			close(c.ready)
		case r.Done:
			c.acks <- struct{}{}
		case r.Point != nil:
			c.tell(c, r)
		}
	}
}

// order tells the node something and waits until it has obeyed.
func (c *child) order(o order) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out.Encode(o) != nil {
		return errDead
	}
	select {
	case <-c.acks:
		return nil
	case <-c.done:
		return errDead
	}
}

func (c *child) awaitReady(ctx context.Context) error {
	select {
	case <-c.ready:
		return nil
	case <-c.done:
		return fmt.Errorf("node %s ended before it was ready: %s", c.id, c.log)
	case <-ctx.Done():
		return fmt.Errorf("node %s is not ready: %w: %s", c.id, context.Cause(ctx), c.log)
	}
}

func (c *child) signal(s syscall.Signal) error { return c.cmd.Process.Signal(s) }

// kill ends the node at once and waits for that.
func (c *child) kill() {
	_ = c.signal(syscall.SIGKILL) // it may have ended by itself
	<-c.done
}

// tail keeps the end of a log.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailBytes = 16 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - tailBytes; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.text))
}

// passing is one report of a point.
type passing struct {
	node  *child
	point turn.Point
	hit   bool
	at    time.Time
}
