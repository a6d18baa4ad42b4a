package turn

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	otel "go.opentelemetry.io/otel/trace"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/worker/egress"
	"github.com/towpath/towpath/worker/supervise"
)

// ahead is how many records of one stream may lie in the inbox: beyond it the stream waits for the guest, and the
// sender for the stream.
const ahead = 16

// After a small piece of an answer the next one is read no sooner than gather: what came meanwhile is one record, one wait
// of the guest and one entry of the journal. Streams that are slower than that are not held up, and readers see none of it,
// since events are stored every flushEvery.
const (
	gather = 20 * time.Millisecond
	small  = 2 << 10 // bytes; whoever sends more at a time is in a hurry
)

// stream is a handle that the guest has not closed.
type stream struct {
	handle  uint32
	method  string
	target  string  // host of the other side, or name of the command
	key     string  // Idempotency-Key
	emitted int     // events before it was opened
	first   *stream // the lost call that this one repeats
	lost    bool    // it belonged to an execution that died
	ended   bool    // the guest has observed its end

	proc    bool // it is a child
	command Command
	child   *supervise.Child // nil when it did not start
	closed  bool             // standard input, by the guest
	deaf    bool             // the child took no input
	hush    func()           // nothing is heard of it any more, see Command.Begin

	span   otel.Span     // of what it does outside; nil before that, and where nothing is traced
	room   chan struct{} // a token for each record that may still be put
	cancel context.CancelFunc
	done   chan struct{} // closed when nothing more will be put
}

func newStream(handle uint32) *stream {
	s := &stream{handle: handle, room: make(chan struct{}, ahead), done: make(chan struct{})}
	for range ahead {
		s.room <- struct{}{}
	}
	return s
}

// stop ends a stream; when it returns nothing more is put. One that was never started has nothing to end.
func (s *stream) stop() {
	if s.cancel != nil {
		s.cancel()
		<-s.done
	}
}

// put hands a record to the guest, unless the stream is closed first.
func (s *stream) put(ctx context.Context, to *inbox, r hostabi.Record) bool {
	select {
	case <-s.room:
	case <-ctx.Done():
		return false
	}
	r.Handle = s.handle
	if s.span != nil {
		s.note(r)
	}
	to.put(r)
	return true
}

// fail ends a stream for the guest.
func (s *stream) fail(ctx context.Context, to *inbox, err error) {
	refusal := &hostabi.Error{Code: hostabi.EIO, Message: "the exchange broke"}
	errors.As(err, &refusal)
	s.put(ctx, to, hostabi.Record{Kind: hostabi.KindFailed, Code: -int32(refusal.Code), Payload: []byte(refusal.Message)})
}

// exchange sends a request and puts its answer: HEAD, DATA as it comes, END; or FAILED at any point.
func (s *stream) exchange(ctx context.Context, to *inbox, out Outbound, head hostabi.HTTPHead, body []byte, own http.Header) {
	resp, err := out.Open(ctx, head, body, own)
	if err != nil {
		s.fail(ctx, to, err)
		return
	}
	defer resp.Body.Close()
	if !s.put(ctx, to, hostabi.Record{Kind: hostabi.KindHead, Code: int32(resp.StatusCode), Payload: egress.HeadPayload(resp.Header)}) {
		return
	}
	buf := make([]byte, hostabi.MaxData)
	var lull <-chan time.Time // nil: none
	for {
		if lull != nil {
			select {
			case <-lull:
			case <-ctx.Done():
				return
			}
		}
		n, err := resp.Body.Read(buf)
		if lull = nil; n < small {
			lull = time.After(gather)
		}
		if n > 0 && !s.put(ctx, to, hostabi.Record{Kind: hostabi.KindData, Payload: append([]byte(nil), buf[:n]...)}) {
			return
		}
		switch {
		case errors.Is(err, io.EOF):
			s.put(ctx, to, hostabi.Record{Kind: hostabi.KindEnd})
			return
		case err != nil:
			s.fail(ctx, to, err)
			return
		}
	}
}
