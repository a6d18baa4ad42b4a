package turn

import (
	"bytes"
	"io"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/worker/egress"
)

// framer cuts a stream of bytes into payloads of records. What it is given it does not keep.
type framer interface {
	write(p []byte) error
	end() error // no more comes
}

// frame scrubs and cuts what it reads, to the end. A pipe that breaks has ended; the errors are the framer's.
func frame(from io.Reader, scrub *egress.Scrubber, to framer) error {
	buf := make([]byte, hostabi.MaxData)
	for {
		n, err := from.Read(buf)
		last := err != nil
		if err := to.write(scrub.Scrub(buf[:n], last)); err != nil {
			return err
		}
		if last {
			return to.end()
		}
	}
}

// raw passes bytes on as they come, at most hostabi.MaxData at once.
type raw func([]byte) error

func (put raw) write(p []byte) error {
	for len(p) > 0 {
		n := min(len(p), hostabi.MaxData)
		if err := put(p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

func (raw) end() error { return nil }

// lines passes each line on without its newline. One that no record can hold is an error: half a line is none.
type lines struct {
	put  func([]byte) error
	held []byte // the line so far
}

func (l *lines) write(p []byte) error {
	for {
		head, rest, whole := bytes.Cut(p, []byte("\n"))
		if len(l.held)+len(head) > hostabi.MaxData {
			return hostabi.Errorf(hostabi.E2BIG, "the child wrote a line of over %d bytes: open it with framing %q", hostabi.MaxData, hostabi.FramingRaw)
		}
		l.held = append(l.held, head...)
		if !whole {
			return nil
		}
		if err := l.put(l.held); err != nil {
			return err
		}
		l.held, p = l.held[:0], rest
	}
}

func (l *lines) end() error {
	if len(l.held) == 0 {
		return nil
	}
	return l.put(l.held)
}
