package guesttest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/towpath/towpath/hostabi"
)

// Child is one child of the plugin, played by Host.Child.
type Child struct {
	Spec    hostabi.ProcSpec
	Stdin   io.Reader
	Context context.Context // ends when the plugin closes the child, and with the turn

	host   *Host
	handle uint32
}

// ProcOpen implements hostabi.Host.
func (h *Host) ProcOpen(_ context.Context, spec []byte) (uint32, error) {
	c := &Child{host: h}
	switch {
	case json.Unmarshal(spec, &c.Spec) != nil:
		return 0, hostabi.Errorf(hostabi.EINVAL, "malformed spec")
	case h.Child == nil:
		return 0, errNoServer
	}
	handle, ctx, open, err := h.begin(c.Spec.RetryOf, true)
	if err != nil {
		return 0, err
	}
	open.stdin = &stdin{ctx: ctx, host: h, more: make(chan struct{}, 1)}
	c.handle, c.Context, c.Stdin = handle, ctx, open.stdin
	go h.Child(c)
	return handle, nil
}

// ProcWrite implements hostabi.Host.
func (h *Host) ProcWrite(_ context.Context, handle uint32, p []byte) (err error) {
	h.update(func() {
		x := h.open[handle]
		if h.gone[handle] {
			err = hostabi.Errorf(hostabi.ELOST, "child %d was lost", handle)
			return
		}
		if x == nil || x.stdin == nil || x.stdin.closed {
			err = hostabi.Errorf(hostabi.EBADF, "no child %d with an open standard input", handle)
			return
		}
		switch {
		case x.stdin.deaf:
			err = hostabi.Errorf(hostabi.EIO, "the child takes no input")
			return
		case x.stdin.shut:
			x.stdin.deaf = true // the first write into a closed pipe is how the host knows
			return
		}
		x.stdin.closed = len(p) == 0
		x.stdin.buffer.Write(p)
		select {
		case x.stdin.more <- struct{}{}:
		default:
		}
	})
	return err
}

// ProcFill implements hostabi.Host.
func (h *Host) ProcFill(ctx context.Context, handle uint32, p []byte) error {
	for placeholder, value := range h.Fill {
		p = bytes.ReplaceAll(p, []byte("{{"+placeholder+"}}"), []byte(value))
	}
	return h.ProcWrite(ctx, handle, p)
}

// Stdout writes to standard output.
func (c *Child) Stdout(p []byte) {
	for ; len(p) > 0; p = p[min(len(p), hostabi.MaxData):] {
		c.push(hostabi.KindData, 0, bytes.Clone(p[:min(len(p), hostabi.MaxData)]))
	}
}

// Stderr writes to standard error.
func (c *Child) Stderr(p []byte) { c.push(hostabi.KindStderr, 0, bytes.Clone(p)) }

// Heard tells the plugin that the child's broker got an answer.
func (c *Child) Heard(status int, header http.Header) {
	fields := map[string][]string{}
	for name, values := range header {
		fields[strings.ToLower(name)] = values
	}
	payload, err := json.Marshal(fields)
	if err != nil {
		c.host.tb.Errorf("header: %v", err)
	}
	c.push(hostabi.KindHead, int32(status), payload)
}

// Fail ends the child as the host reports a fault; hostabi.ELOST says that the execution died.
func (c *Child) Fail(code hostabi.Code, message string) {
	c.push(hostabi.KindFailed, -int32(code), []byte(message))
}

// CloseStdin has the child close its standard input. It lives on, and what is written to it is lost.
func (c *Child) CloseStdin() {
	c.host.update(func() {
		if x := c.host.open[c.handle]; x != nil {
			x.stdin.shut = true
		}
	})
}

// Exit ends the child.
func (c *Child) Exit(status int) { c.push(hostabi.KindEnd, int32(status), nil) }

func (c *Child) push(kind hostabi.Kind, code int32, payload []byte) {
	c.host.push(hostabi.Record{Kind: kind, Handle: c.handle, Code: code, Payload: payload})
}

// stdin is what the plugin wrote and the child has not yet read. Its fields are guarded by the host's lock.
type stdin struct {
	ctx    context.Context
	host   *Host
	buffer bytes.Buffer
	closed bool // by the plugin
	shut   bool // by the child
	deaf   bool // and the host has seen it
	more   chan struct{}
}

func (s *stdin) Read(p []byte) (int, error) {
	for {
		select {
		case <-s.more:
		case <-s.ctx.Done():
			return 0, io.EOF
		}
		s.host.mu.Lock()
		n, _ := s.buffer.Read(p)
		again, closed := s.buffer.Len() > 0 || s.closed, s.closed
		s.host.mu.Unlock()
		if again {
			select {
			case s.more <- struct{}{}:
			default:
			}
		}
		if n > 0 {
			return n, nil
		}
		if closed {
			return 0, io.EOF
		}
	}
}
