package guest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/towpath/towpath/hostabi"
)

// Request is one outgoing HTTP request. Header values may hold {{secret:NAME}}, filled by the host on the way out and
// only towards hosts to which the operator bound that secret.
type Request struct {
	Method  string // GET when empty, POST when empty and there is a body
	URL     string
	Header  map[string]string
	Body    []byte        // at most hostabi.MaxRequest bytes
	Timeout time.Duration // of the whole exchange, kept by the host; 0 leaves it to the profile's limit
	RetryOf uint32        // the lost handle that this request repeats, see Lost
}

// Response is the answer to a Request. Body must be closed.
type Response struct {
	Status int
	Header Header
	Body   io.ReadCloser // bytes as they come
}

// Header holds a response's header fields under lower-case names.
type Header map[string][]string

// Get returns the first value of a field, or "".
func (h Header) Get(name string) string {
	if v := h[strings.ToLower(name)]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Do sends a request and returns when the response's head has come. ctx spans the body too: its end closes the
// exchange. Errors: *Error for what the host refused or reports, else the cause of ctx.
func (t *Turn) Do(ctx context.Context, r *Request) (*Response, error) {
	method := r.Method
	if method == "" {
		method = "GET"
		if r.Body != nil {
			method = "POST"
		}
	}
	head, err := json.Marshal(hostabi.HTTPHead{
		Method: method, URL: r.URL, Headers: r.Header, TimeoutNS: int64(r.Timeout), RetryOf: r.RetryOf,
	})
	if err != nil {
		return nil, fmt.Errorf("http_open: encode head: %w", err)
	}
	s, err := t.newStream(ctx, "http", func() (uint32, error) { return t.host.HTTPOpen(t.root, head, r.Body) })
	if err != nil {
		return nil, err
	}
	response, err := s.head()
	if err != nil {
		s.Close()
		return nil, err
	}
	return response, nil
}

func (s *stream) head() (*Response, error) {
	r, err := s.turn.pump.next(s.ctx, s.queue)
	if err != nil {
		return nil, err
	}
	switch r.Kind {
	case hostabi.KindHead:
		response := &Response{Status: int(r.Code), Body: s}
		if err := json.Unmarshal(r.Payload, &response.Header); err != nil {
			return nil, fmt.Errorf("http: decode head: %w", err)
		}
		return response, nil
	case hostabi.KindFailed:
		return nil, s.failed(r)
	}
	return nil, fmt.Errorf("http: record of kind %d where a head was expected", r.Kind)
}
