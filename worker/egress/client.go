package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/towpath/towpath/hostabi"
)

// Config is what a Client is made of.
type Config struct {
	Permits  []Permit
	Secrets  *Secrets // nil: none
	Resolver Resolver // nil: the system's
}

// Client sends the requests of one profile's guests. It is safe for concurrent use, and reuses connections.
type Client struct {
	routes  map[origin]*route
	secrets *Secrets
}

// route is an open way to one origin.
type route struct {
	to        origin
	permit    Permit
	transport *http.Transport
}

// New makes a Client, or says which permit is wrong and why.
func New(cfg Config) (*Client, error) {
	if cfg.Secrets == nil {
		cfg.Secrets = new(Secrets)
	}
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	c := &Client{routes: make(map[origin]*route), secrets: cfg.Secrets}
	for _, p := range cfg.Permits {
		if err := c.add(p, cfg.Resolver); err != nil {
			return nil, fmt.Errorf("permit for host %q: %w", p.Host, err)
		}
	}
	return c, nil
}

func (c *Client) add(p Permit, resolver Resolver) error {
	if err := p.check(c.secrets); err != nil {
		return err
	}
	all, err := p.origins()
	if err != nil {
		return err
	}
	roots, err := p.pool()
	if err != nil {
		return err
	}
	for _, o := range all {
		if c.routes[o] != nil {
			return fmt.Errorf("%s is permitted twice: merge the two", o)
		}
		d := dialer{to: o, resolver: resolver, reach: reach{private: p.Private, plain: o.scheme == "http"}}
		c.routes[o] = &route{to: o, permit: p, transport: &http.Transport{
			DialContext:            d.dial,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			TLSHandshakeTimeout:    10 * time.Second,
			DisableCompression:     true,
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    8,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: hostabi.MaxHead,
			// A connection whose other end is gone is found by a ping, not by the idle limit of a turn.
			HTTP2: &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
		}}
	}
	return nil
}

// Format gives the origins only, so that no verb walks into the secrets.
func (c *Client) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "egress%v", slices.Collect(maps.Keys(c.routes)))
}

// Permitted gives the permit for a host, written as in Permit.Host: by https, or else by plain http.
func (c *Client) Permitted(host string) (Permit, bool) {
	all, err := Permit{Host: host, Private: true}.origins()
	if err != nil {
		return Permit{}, false
	}
	for _, o := range all {
		if r := c.routes[o]; r != nil {
			return r.permit, true
		}
	}
	return Permit{}, false
}

// Close closes idle connections. Open exchanges go on.
func (c *Client) Close() {
	for _, r := range c.routes {
		r.transport.CloseIdleConnections()
	}
}

// Open sends a request and returns when the response's head is there. extra are the host's own headers; they are
// not filled and stand above the guest's. The response's header is scrubbed and bounded, its body is scrubbed,
// bounded and timed; its Read fails with the errors of the package's list. Close it, from any goroutine, to end
// the exchange. ctx covers the body too.
func (c *Client) Open(ctx context.Context, head hostabi.HTTPHead, body []byte, extra http.Header) (*http.Response, error) {
	if len(body) > hostabi.MaxRequest {
		return nil, hostabi.Errorf(hostabi.E2BIG, "the request's body is %d bytes, at most %d", len(body), hostabi.MaxRequest)
	}
	if head.TimeoutNS < 0 {
		return nil, hostabi.Errorf(hostabi.EINVAL, "timeout_ns is negative")
	}
	u, to, err := parseURL(head.URL)
	if err != nil {
		return nil, hostabi.Errorf(hostabi.EINVAL, "url: %v", err)
	}
	r, err := c.route(to, head.Method)
	if err != nil {
		return nil, err
	}
	h, err := c.requestHeader(ctx, r, head.Headers)
	if err != nil {
		return nil, err
	}
	for name, values := range extra {
		h[http.CanonicalHeaderKey(name)] = values
	}
	req := &http.Request{
		Method: head.Method, URL: u, Host: u.Host, Header: h,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		// net/http repeats a request by itself only when it can rewind the body or when there is none. A body
		// that is always there and never rewinds turns that off, also where an Idempotency-Key invites it.
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
	timeout := r.permit.Timeout
	if t := time.Duration(head.TimeoutNS); t > 0 {
		timeout = min(timeout, t)
	}
	x := newExchange(ctx, r.permit, timeout, c.secrets)
	resp, err := x.send(r.transport, req)
	if err != nil {
		x.Close()
		return nil, err
	}
	// What else a response holds came past the checks above, or holds the filled request.
	return &http.Response{
		StatusCode: resp.StatusCode,
		Proto:      resp.Proto, ProtoMajor: resp.ProtoMajor, ProtoMinor: resp.ProtoMinor,
		Header: resp.Header, Body: x, ContentLength: -1,
	}, nil
}

// route finds the open way for a request, or names the permit that is missing.
func (c *Client) route(to origin, method string) (*route, error) {
	if !slices.Contains(methods, method) {
		return nil, hostabi.Errorf(hostabi.EINVAL, "method %.20q: known are %s", method, strings.Join(methods, ", "))
	}
	r := c.routes[to]
	switch {
	case r == nil && to.scheme == "http":
		return nil, hostabi.Errorf(hostabi.EDENIED, "plain http to %s is not permitted: use https, or, for a private address, "+
			`add to the permit file: [[http]] host = "%s" methods = ["%s"] private = true`, to, to, method)
	case r == nil:
		return nil, hostabi.Errorf(hostabi.EDENIED,
			`%s is not permitted: add to the permit file: [[http]] host = "%s" methods = ["%s"]`, to, to.authority(), method)
	case !slices.Contains(r.permit.Methods, method):
		return nil, hostabi.Errorf(hostabi.EDENIED,
			`%s to %s is not permitted: add it to that host's permit, as in methods = ["%s"]`, method, to, method)
	}
	return r, nil
}
