package guest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/towpath/towpath/hostabi"
)

// MaxLine is the longest line that Proc.ReadLine accepts, in bytes.
const MaxLine = 8 << 20

// Proc is a running child. It belongs to one goroutine, but Write may be called from another than ReadLine.
type Proc struct {
	stream *stream
	lines  *bufio.Reader
}

// Command is a child to start.
type Command struct {
	Name    string // a key of the operator's table
	Args    []string
	RetryOf uint32 // the lost child that this one replaces, see Lost: what was emitted since it was started is retracted
	// Heard, if set, is told of each answer of 400 and above that the command's broker got, before the child has it.
	Heard func(status int, header Header)
}

// Exec starts the command that the operator's table has under name. The end of ctx ends the child. What the child
// writes to its standard error goes to the turn's log.
func (t *Turn) Exec(ctx context.Context, name string, args ...string) (*Proc, error) {
	return t.Start(ctx, Command{Name: name, Args: args})
}

// Start is Exec with more to say.
func (t *Turn) Start(ctx context.Context, c Command) (*Proc, error) {
	// Raw, because a frame holds at most hostabi.MaxData bytes and a line may be longer.
	spec, err := json.Marshal(hostabi.ProcSpec{Name: c.Name, Args: c.Args, Framing: hostabi.FramingRaw, RetryOf: c.RetryOf})
	if err != nil {
		return nil, fmt.Errorf("proc_open: encode spec: %w", err)
	}
	s, err := t.newStream(ctx, "proc", func() (uint32, error) { return t.host.ProcOpen(t.root, spec) })
	if err != nil {
		return nil, err
	}
	s.stderr = func(p []byte) { t.Log.Info(string(p), "stderr", c.Name) }
	s.heard = func(r hostabi.Record) {
		var header Header
		if json.Unmarshal(r.Payload, &header) == nil && c.Heard != nil {
			c.Heard(int(r.Code), header)
		}
	}
	return &Proc{stream: s, lines: bufio.NewReader(s)}, nil
}

// Write writes to the child's standard input, as it is: a placeholder in it stays what it is.
func (p *Proc) Write(b []byte) (int, error) {
	for n := 0; n < len(b); {
		part := b[n:min(len(b), n+hostabi.MaxRequest)]
		if err := p.stream.turn.host.ProcWrite(p.stream.turn.root, p.stream.handle, part); err != nil {
			return n, called("proc_write", p.stream.handle, err)
		}
		n += len(part)
	}
	return len(b), nil
}

// Fill writes to the child's standard input a text, at most hostabi.MaxRequest bytes, whose placeholders the host fills:
// {{secret:NAME}} where the operator bound that secret to the command, {{broker:url}} and {{broker:token}} where the
// command has a broker. Only texts of the plugin itself belong here: what a user or a model wrote may hold placeholders
// that it must not have filled.
func (p *Proc) Fill(text []byte) error {
	return called("proc_fill", p.stream.handle, p.stream.turn.host.ProcFill(p.stream.turn.root, p.stream.handle, text))
}

// CloseStdin closes the child's standard input.
func (p *Proc) CloseStdin() error {
	return called("proc_write", p.stream.handle, p.stream.turn.host.ProcWrite(p.stream.turn.root, p.stream.handle, nil))
}

// Read reads from the child's standard output as it comes. io.EOF says that the child has ended.
func (p *Proc) Read(b []byte) (int, error) { return p.lines.Read(b) }

// ReadLine returns the next line of standard output without its newline, valid for good. The last line needs no
// newline. io.EOF says that the child has ended; a line above MaxLine is an error.
func (p *Proc) ReadLine() ([]byte, error) {
	var line []byte
	for {
		part, err := p.lines.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > MaxLine:
			return nil, fmt.Errorf("proc: line above %d bytes", MaxLine)
		case err == nil:
			line = line[:len(line)-1]
			if n := len(line); n > 0 && line[n-1] == '\r' {
				line = line[:n-1]
			}
			return line, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(line) > 0:
			return line, nil
		default:
			return nil, err
		}
	}
}

// Wait drains standard output until the child has ended and returns its exit status.
func (p *Proc) Wait() (exit int, err error) {
	if _, err := io.Copy(io.Discard, p.lines); err != nil {
		return -1, err
	}
	return int(p.stream.exit), nil
}

// Close ends the child, if it still runs.
func (p *Proc) Close() error { return p.stream.Close() }
