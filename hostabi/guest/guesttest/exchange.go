package guesttest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/towpath/towpath/hostabi"
)

// Exchange is one request of the plugin and the answer that a Server gives to it.
type Exchange struct {
	Head           hostabi.HTTPHead
	Body           []byte
	IdempotencyKey string          // the same for a request and its repetitions
	Context        context.Context // ends when the plugin closes the exchange, and with the turn

	host   *Host
	handle uint32
}

// HTTPOpen implements hostabi.Host.
func (h *Host) HTTPOpen(_ context.Context, head, body []byte) (uint32, error) {
	x := &Exchange{Body: append([]byte(nil), body...), host: h}
	switch {
	case len(head) > hostabi.MaxHead || len(body) > hostabi.MaxRequest:
		return 0, hostabi.Errorf(hostabi.E2BIG, "head of %d bytes, body of %d", len(head), len(body))
	case json.Unmarshal(head, &x.Head) != nil:
		return 0, hostabi.Errorf(hostabi.EINVAL, "malformed head")
	case h.Server == nil:
		return 0, errNoServer
	}
	handle, ctx, open, err := h.begin(x.Head.RetryOf, false)
	if err != nil {
		return 0, err
	}
	x.handle, x.Context, x.IdempotencyKey = handle, ctx, open.key
	go h.Server(x)
	return handle, nil
}

// Respond begins the answer. Names of header fields are made lower-case.
func (x *Exchange) Respond(status int, header http.Header) {
	fields := map[string][]string{}
	for name, values := range header {
		fields[strings.ToLower(name)] = values
	}
	payload, err := json.Marshal(fields)
	if err != nil {
		x.host.tb.Errorf("header: %v", err)
	}
	x.push(hostabi.KindHead, int32(status), payload)
}

// Write sends bytes of the body, in as many records as the limit asks for.
func (x *Exchange) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), hostabi.MaxData)
		x.push(hostabi.KindData, 0, bytes.Clone(rest[:n]))
		rest = rest[n:]
	}
	return len(p), x.Context.Err()
}

// End ends the body as the provider does.
func (x *Exchange) End() { x.push(hostabi.KindEnd, 0, nil) }

// Fail ends the exchange as the host reports a fault; hostabi.ELOST says that the execution died.
func (x *Exchange) Fail(code hostabi.Code, message string) {
	x.push(hostabi.KindFailed, -int32(code), []byte(message))
}

func (x *Exchange) push(kind hostabi.Kind, code int32, payload []byte) {
	x.host.push(hostabi.Record{Kind: kind, Handle: x.handle, Code: code, Payload: payload})
}

// Forward makes a Server that sends the plugin's requests to real servers, as the worker does: placeholders are filled
// from secrets, redirects are not followed, the Idempotency-Key is set.
func Forward(client *http.Client, secrets map[string]string) func(*Exchange) {
	plain := *client
	plain.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return func(x *Exchange) {
		ctx := x.Context
		if x.Head.TimeoutNS > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, time.Duration(x.Head.TimeoutNS))
			defer cancel()
		}
		request, err := http.NewRequestWithContext(ctx, x.Head.Method, x.Head.URL, bytes.NewReader(x.Body))
		if err != nil {
			x.Fail(hostabi.EINVAL, err.Error())
			return
		}
		for name, value := range x.Head.Headers {
			for secret, content := range secrets {
				value = strings.ReplaceAll(value, "{{secret:"+secret+"}}", content)
			}
			request.Header.Set(name, value)
		}
		request.Header.Set("Idempotency-Key", x.IdempotencyKey)
		request.GetBody = nil // or net/http takes the key as leave to send the request again by itself
		response, err := plain.Do(request)
		if err != nil {
			x.fault(ctx, err)
			return
		}
		defer response.Body.Close()
		x.Respond(response.StatusCode, response.Header)
		if _, err := io.CopyBuffer(struct{ io.Writer }{x}, response.Body, make([]byte, hostabi.MaxData)); err != nil {
			x.fault(ctx, err)
			return
		}
		x.End()
	}
}

func (x *Exchange) fault(ctx context.Context, err error) {
	if ctx.Err() == context.DeadlineExceeded {
		x.Fail(hostabi.ETIMEDOUT, err.Error())
		return
	}
	x.Fail(hostabi.EIO, err.Error())
}
