package egress

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/towpath/towpath/hostabi"
)

var errClosed = errors.New("egress: exchange is closed")

// exchange is one request and its response's body. Whatever ends it early becomes the cause of its context, so
// that there is one place to ask why.
type exchange struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	total   *time.Timer
	idle    time.Duration
	limit   int64
	left    int64 // of limit
	secrets *Secrets
	scrub   *Scrubber

	body  io.ReadCloser
	chunk []byte // what body reads into
	ready []byte // scrubbed, not yet read
	err   error  // after ready
}

func newExchange(ctx context.Context, p Permit, timeout time.Duration, secrets *Secrets) *exchange {
	x := &exchange{idle: p.Idle, limit: p.MaxResponse, left: p.MaxResponse, secrets: secrets, scrub: secrets.Scrubber()}
	x.ctx, x.cancel = context.WithCancelCause(ctx)
	x.total = x.after(timeout, "the exchange took longer than %v")
	return x
}

// after ends the exchange as timed out unless the timer is stopped.
func (x *exchange) after(d time.Duration, format string) *time.Timer {
	return time.AfterFunc(d, func() { x.cancel(hostabi.Errorf(hostabi.ETIMEDOUT, format, d)) })
}

// silence is the timer to run while the exchange waits for the server.
func (x *exchange) silence() *time.Timer {
	return x.after(x.idle, "the server sent nothing for %v")
}

// send returns the response's head; its body is x's from then on.
func (x *exchange) send(t *http.Transport, req *http.Request) (*http.Response, error) {
	silence := x.silence()
	resp, err := t.RoundTrip(req.WithContext(x.ctx))
	silence.Stop()
	if err != nil {
		return nil, x.explain(err)
	}
	x.body = resp.Body
	switch encoding := resp.Header.Get("Content-Encoding"); {
	case resp.StatusCode == http.StatusSwitchingProtocols:
		return nil, hostabi.Errorf(hostabi.EIO, "the server switched to another protocol unasked")
	case encoding != "" && encoding != "identity":
		return nil, hostabi.Errorf(hostabi.EIO, "the server encoded its answer although identity was asked for")
	case resp.ContentLength > x.limit:
		return nil, x.tooLarge()
	}
	return resp, cleanHeader(resp.Header, x.redact)
}

// Read returns scrubbed bytes as they come.
func (x *exchange) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(x.ready) == 0 {
		if x.err != nil {
			return 0, x.err
		}
		x.fill()
	}
	n := copy(p, x.ready)
	x.ready = x.ready[n:]
	return n, nil
}

// fill reads once from the server. On a failure what was held back stays back: it may be most of a secret.
func (x *exchange) fill() {
	if x.chunk == nil {
		x.chunk = make([]byte, 16<<10)
	}
	silence := x.silence()
	n, err := x.body.Read(x.chunk)
	silence.Stop()
	if int64(n) > x.left {
		n, err = int(x.left), x.tooLarge()
		x.cancel(err)
	}
	x.left -= int64(n)
	x.ready = x.scrub.Scrub(x.chunk[:n], err == io.EOF)
	switch {
	case err == io.EOF:
		x.err = io.EOF
		x.total.Stop()
		x.cancel(errClosed)
	case err != nil:
		x.err = x.explain(err)
	}
}

// Close ends the exchange, also while a Read waits.
func (x *exchange) Close() error {
	x.total.Stop()
	x.cancel(errClosed)
	if x.body != nil {
		return x.body.Close()
	}
	return nil
}

func (x *exchange) tooLarge() error {
	return hostabi.Errorf(hostabi.E2BIG, "the response is over %d bytes", x.limit)
}

func (x *exchange) redact(s string) string { return string(x.secrets.Redact([]byte(s))) }

// explain makes an error of the network one for the guest. Some of them quote a malformed answer, so they are
// scrubbed.
func (x *exchange) explain(err error) error {
	if x.ctx.Err() != nil {
		return context.Cause(x.ctx)
	}
	var own *hostabi.Error
	if errors.As(err, &own) {
		return own
	}
	code := hostabi.EIO
	var t net.Error
	if errors.As(err, &t) && t.Timeout() {
		code = hostabi.ETIMEDOUT
	}
	return &hostabi.Error{Code: code, Message: x.redact(err.Error())}
}
