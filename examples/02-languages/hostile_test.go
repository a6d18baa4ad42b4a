package languages

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/engine"
	"github.com/towpath/towpath/hostabi/guest/guesttest"
	"github.com/towpath/towpath/worker/egress"
)

// names is a resolver in the hands of an attacker: every name leads where its first answer says, then to loopback.
type names map[string]string

func (n names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	a, ok := n[host]
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return []netip.Addr{netip.MustParseAddr(a)}, nil
}

// A guest that tries to reach what it must not gets a refusal for each way of writing it, in any language, and nobody hears
// of it.
func TestAHostileGuestReachesNothing(t *testing.T) {
	var heard atomic.Int32
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		heard.Add(1)
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusFound)
	}))
	defer inside.Close()
	_, port, err := net.SplitHostPort(inside.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	post := []string{"POST"}
	secrets, err := egress.NewSecrets(map[string]egress.Source{"KEY": {Env: "HOSTILE_KEY"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOSTILE_KEY", "a-secret-of-ours")
	t.Setenv("HTTPS_PROXY", inside.URL)
	t.Setenv("HTTP_PROXY", inside.URL)
	resolver := names{"metadata.test": "169.254.169.254", "loop.test": "127.0.0.1", "mapped.test": "::ffff:127.0.0.1", "nat64.test": "64:ff9b::7f00:1",
		"sixtofour.test": "2002:7f00:1::1", "cgnat.test": "100.64.0.1", "private.test": "10.0.0.1", "link.test": "fe80::1", "local.test": "fd00::1"}
	permits := []egress.Permit{{Host: "127.0.0.1:" + port, Methods: post, Secrets: []string{"KEY"}, Private: true}}
	for name := range resolver {
		permits = append(permits, egress.Permit{Host: name + ":" + port, Methods: post, Secrets: []string{"KEY"}})
	}
	client, err := egress.New(egress.Config{Permits: permits, Secrets: secrets, Resolver: resolver})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	serve := func(x *guesttest.Exchange) {
		resp, err := client.Open(x.Context, x.Head, x.Body, nil)
		var refused *hostabi.Error
		if errors.As(err, &refused) {
			x.Fail(refused.Code, refused.Message)
			return
		} else if err != nil {
			t.Errorf("%s: %v", x.Head.URL, err)
			return
		}
		defer resp.Body.Close()
		x.Respond(resp.StatusCode, resp.Header)
		io.Copy(x, resp.Body)
		x.End()
	}
	each(t, "stream", func(t *testing.T, m *engine.Module) {
		ask := func(url string) guesttest.Result {
			config, err := json.Marshal(map[string]string{"url": url})
			if err != nil {
				t.Fatal(err)
			}
			h := guesttest.New(t, hostabi.TurnRequest{Input: json.RawMessage(`{}`), Config: config})
			h.Server = serve
			return h.Serve(m.Run)
		}
		before := heard.Load()
		for _, url := range []string{
			"https://metadata.test:PORT/", "https://loop.test:PORT/", "https://mapped.test:PORT/", "https://nat64.test:PORT/",
			"https://sixtofour.test:PORT/", "https://cgnat.test:PORT/", "https://private.test:PORT/", "https://link.test:PORT/", "https://local.test:PORT/",
			"http://loop.test:PORT/", "http://169.254.169.254/", "http://127.0.0.1:1/", "http://localhost:PORT/", "http://2130706433:PORT/", "http://0x7f000001:PORT/",
			"http://0177.0.0.1:PORT/", "http://127.1:PORT/", "http://[::1]:PORT/", "http://[::ffff:127.0.0.2]:PORT/", "http://[fe80::1%25eth0]:PORT/",
			"http://127.0.0.1.:PORT/", "http://127.0.0.1:PORT@evil.test/", "http://evil.test#@127.0.0.1:PORT/", "http://①②⑦.0.0.2:PORT/",
			"http://l\u00f6calhost:PORT/", "file:///etc/passwd", "gopher://127.0.0.1:PORT/", "https://127.0.0.1:PORT\\@evil.test/", "unix:///run/x",
		} {
			r := ask(strings.ReplaceAll(url, "PORT", port))
			if r.Status != "failed" || r.Kind == "provider" || strings.Contains(string(r.JSON), "a-secret-of-ours") {
				t.Errorf("%s: %s", url, r.JSON)
			}
		}
		if n := heard.Load(); n != before {
			t.Errorf("somebody was reached %d times", n-before)
		}
		// What is permitted answers with a redirect, which is an answer like any other.
		if r := ask("http://127.0.0.1:" + port + "/"); r.Kind != "provider" || r.Message != "status 302" || heard.Load() != before+1 {
			t.Errorf("a redirect: %s, heard %d", r.JSON, heard.Load()-before)
		}
	})
}
