package guest

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/towpath/towpath/hostabi"
)

// stream reads the bytes of one handle: the body of a response, the standard output of a child.
type stream struct {
	turn   *Turn
	ctx    context.Context
	op     string // "http" or "proc"
	handle uint32
	queue  *queue
	unhook func() bool          // forgets the context
	stderr func([]byte)         // of a child
	heard  func(hostabi.Record) // of a child: HEAD

	rest []byte
	exit int32
	err  error // sticky

	closing sync.Once
}

// newStream follows the handle that open has the host open. The end of ctx closes it.
func (t *Turn) newStream(ctx context.Context, op string, open func() (uint32, error)) (*stream, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	handle, q, err := t.pump.open(open)
	if err != nil {
		return nil, called(op+"_open", 0, err)
	}
	s := &stream{turn: t, ctx: ctx, op: op, handle: handle, queue: q}
	s.unhook = context.AfterFunc(ctx, s.drop)
	return s, nil
}

// Read returns bytes as they come. io.EOF is the end that the other side gave.
func (s *stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(s.rest) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		r, err := s.turn.pump.next(s.ctx, s.queue)
		if err != nil {
			s.err = err
			continue
		}
		switch {
		case r.Kind == hostabi.KindData:
			s.rest = r.Payload
		case r.Kind == hostabi.KindStderr && s.stderr != nil:
			s.stderr(r.Payload)
		case r.Kind == hostabi.KindHead && s.heard != nil:
			s.heard(r)
		case r.Kind == hostabi.KindEnd:
			s.exit, s.err = r.Code, io.EOF
			s.release()
		case r.Kind == hostabi.KindFailed:
			s.err = s.failed(r)
		default:
			s.err = fmt.Errorf("%s: record of kind %d where bytes were expected", s.op, r.Kind)
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// failed ends the stream by a FAILED record.
func (s *stream) failed(r hostabi.Record) error {
	err := failed(s.op, r)
	if _, lost := Lost(err); lost {
		s.unhook() // the handle is acknowledged by the next request, not closed
		s.closing.Do(func() { s.turn.pump.forget(s.handle) })
	} else {
		s.release()
	}
	return err
}

// Close cancels the exchange, unless it has ended. Later reads say so. It is safe to call it twice.
func (s *stream) Close() error {
	s.release()
	if s.err == nil {
		s.rest, s.err = nil, fmt.Errorf("%s: read after close", s.op)
	}
	return nil
}

// release closes the handle on the host, where an ended one counts as open too.
func (s *stream) release() {
	s.unhook()
	s.drop()
}

func (s *stream) drop() {
	s.closing.Do(func() {
		s.turn.pump.forget(s.handle)
		// Nothing can be done about a refusal: the handle ends with the turn.
		_ = s.turn.host.Close(s.turn.root, s.handle)
	})
}
