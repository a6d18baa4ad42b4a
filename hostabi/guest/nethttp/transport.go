// Package nethttp lets a plugin use net/http: a Transport sends requests through the host. It is a package of its own
// because net/http makes a module several megabytes bigger; plugins that do without use guest.Turn.Do.
package nethttp

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/guest"
)

// Transport is an http.RoundTripper over a turn's host. Bodies of responses stream; bodies of requests are read whole
// before they are sent. The end of a request's context, or of Client.Timeout, closes the exchange. Fields of a request's
// header that have several values are sent joined by commas. Cookies, proxies, TLS and pooling are the host's business.
type Transport struct {
	Turn *guest.Turn
}

// Client makes a client over the turn's host. Like any http.Client it follows redirects, each of which the host
// checks as a request of its own.
func Client(t *guest.Turn) *http.Client { return &http.Client{Transport: &Transport{Turn: t}} }

type retryOf struct{}

// WithRetryOf makes requests under the context name the lost handle that they repeat, see guest.Lost.
func WithRetryOf(ctx context.Context, handle uint32) context.Context {
	return context.WithValue(ctx, retryOf{}, handle)
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	request := &guest.Request{Method: r.Method, URL: r.URL.String(), Header: map[string]string{}}
	if request.Method == "" {
		request.Method = http.MethodGet
	}
	request.RetryOf, _ = r.Context().Value(retryOf{}).(uint32)
	for name, values := range r.Header {
		request.Header[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	if r.Body != nil {
		defer r.Body.Close()
		body, err := io.ReadAll(io.LimitReader(r.Body, hostabi.MaxRequest+1))
		switch {
		case err != nil:
			return nil, fmt.Errorf("read request body: %w", err)
		case len(body) > hostabi.MaxRequest:
			return nil, fmt.Errorf("request body above %d bytes", hostabi.MaxRequest)
		}
		request.Body = body
	}
	answer, err := t.Turn.Do(r.Context(), request)
	if err != nil {
		return nil, err
	}
	response := &http.Response{
		Status: fmt.Sprintf("%d %s", answer.Status, http.StatusText(answer.Status)), StatusCode: answer.Status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: answer.Body, ContentLength: -1, Request: r,
	}
	for name, values := range answer.Header {
		response.Header[http.CanonicalHeaderKey(name)] = values
	}
	if n, err := strconv.ParseInt(answer.Header.Get("content-length"), 10, 64); err == nil && n >= 0 {
		response.ContentLength = n
	}
	return response, nil
}
