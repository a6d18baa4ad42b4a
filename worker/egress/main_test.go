package egress

import (
	"context"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/towpath/towpath/hostabi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// names is a Resolver with one answer for every name, and a count of the questions.
type names struct {
	answer  func(host string) ([]netip.Addr, error)
	lookups atomic.Int32
}

func (n *names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	n.lookups.Add(1)
	return n.answer(host)
}

// always answers every name with these addresses.
func always(addrs ...string) *names {
	var all []netip.Addr
	for _, a := range addrs {
		all = append(all, netip.MustParseAddr(a))
	}
	return &names{answer: func(string) ([]netip.Addr, error) { return all, nil }}
}

// serve starts a plain server on loopback and gives the port that it listens on.
func serve(t *testing.T, h http.HandlerFunc) (port string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return portOf(t, s.URL)
}

// serveTLS starts an HTTPS server (for the name example.com) and gives its port and its root in PEM.
func serveTLS(t *testing.T, h http.HandlerFunc, change func(*httptest.Server)) (port string, roots []byte) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.Config.ErrorLog = quiet
	if change != nil {
		change(s)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return portOf(t, s.URL), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func portOf(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(u.Host)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// newClient makes a Client that is closed with the test.
func newClient(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// private permits everything a test needs towards one plain server on loopback.
func private(port string, change func(*Permit)) Permit {
	p := Permit{Host: "http://service.test:" + port, Methods: methods, Private: true}
	if change != nil {
		change(&p)
	}
	return p
}

// wantCode fails unless err is a refusal with that code; it returns the message.
func wantCode(t *testing.T, err error, code hostabi.Code) string {
	t.Helper()
	var e *hostabi.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %v (%T), want %v", err, err, code)
	}
	if e.Code != code {
		t.Fatalf("code is %v (%s), want %v", e.Code, e.Message, code)
	}
	return e.Message
}

func withCause(t *testing.T) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(t.Context())
	t.Cleanup(func() { cancel(nil) })
	return ctx, cancel
}
