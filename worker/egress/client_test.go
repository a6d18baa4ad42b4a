package egress

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/towpath/towpath/hostabi"
)

var quiet = log.New(io.Discard, "", 0)

func get(url string) hostabi.HTTPHead { return hostabi.HTTPHead{Method: "GET", URL: url} }

func readAll(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("reading the body: %v", err)
	}
	return string(b)
}

func TestAGuestTalksToAPermittedHost(t *testing.T) {
	port, roots := serveTLS(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Proto", r.Proto)
		fmt.Fprintf(w, "%s %s %s %s %d %s", r.Method, r.Host, r.URL, r.Header.Get("Idempotency-Key"), r.ContentLength, body)
	}, nil)
	c := newClient(t, Config{
		Permits:  []Permit{{Host: "example.com:" + port, Methods: []string{"POST"}, Private: true, Roots: roots}},
		Resolver: always("127.0.0.1"),
	})
	resp, err := c.Open(t.Context(), hostabi.HTTPHead{Method: "POST", URL: "https://EXAMPLE.com:" + port + "/v1?q=1#f"},
		[]byte("hello"), http.Header{"Idempotency-Key": {"k1"}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := readAll(t, resp), "POST example.com:"+port+" /v1?q=1 k1 5 hello"; got != want {
		t.Errorf("the server saw %q, want %q", got, want)
	}
	if got := resp.Header.Get("X-Proto"); got != "HTTP/2.0" {
		t.Errorf("spoken was %s, want HTTP/2.0", got)
	}
}

func TestWhatIsNotPermittedIsDenied(t *testing.T) {
	resolver := always("1.1.1.1")
	c := newClient(t, Config{
		Permits: []Permit{
			{Host: "api.example.com", Methods: []string{"POST"}},
			{Host: "api.example.com:8443", Methods: []string{"POST"}},
			{Host: "service.test:8080", Methods: []string{"GET"}, Private: true},
		},
		Resolver: resolver,
	})
	for _, c2 := range []struct {
		method, url string
		code        hostabi.Code
		says        string
	}{
		{"POST", "https://other.example.com", hostabi.EDENIED, `[[http]] host = "other.example.com" methods = ["POST"]`},
		{"POST", "https://api.example.com:444/", hostabi.EDENIED, `host = "api.example.com:444"`},
		{"GET", "https://api.example.com/", hostabi.EDENIED, `methods = ["GET"]`},
		{"POST", "http://api.example.com/", hostabi.EDENIED, "use https"},
		{"POST", "http://api.example.com:443/", hostabi.EDENIED, "use https"},
		{"GET", "http://service.test/", hostabi.EDENIED, "use https"},
		{"GET", "http://service.test:8080/", hostabi.EDENIED, "public"},
		{"POST", "https://api.example.com.evil.example/", hostabi.EDENIED, "not permitted"},
		{"POST", "https://1.1.1.1/", hostabi.EDENIED, "not permitted"},
		{"post", "https://api.example.com/", hostabi.EINVAL, "POST"},
		{"CONNECT", "https://api.example.com/", hostabi.EINVAL, "POST"},
		{"", "https://api.example.com/", hostabi.EINVAL, "POST"},
		{"POST", "https://user@api.example.com/", hostabi.EINVAL, "authorization"},
	} {
		resp, err := c.Open(t.Context(), hostabi.HTTPHead{Method: c2.method, URL: c2.url}, nil, nil)
		if err == nil {
			resp.Body.Close()
		}
		if msg := wantCode(t, err, c2.code); !strings.Contains(msg, c2.says) {
			t.Errorf("%s %s: %q does not say %q", c2.method, c2.url, msg, c2.says)
		}
	}
	if n := resolver.lookups.Load(); n != 1 {
		t.Errorf("%d names were looked up, want 1: only a permitted one", n)
	}
}

// A service on the same machine is permitted by its address, for both schemes; its neighbours are not.
func TestAPermittedAddress(t *testing.T) {
	port := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "served") })
	c := newClient(t, Config{Permits: []Permit{{Host: "127.0.0.1:" + port, Methods: []string{"GET"}, Private: true}}})
	for _, url := range []string{"http://127.0.0.1:" + port, "http://[::ffff:7f00:1]:" + port} {
		resp, err := c.Open(t.Context(), get(url), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, resp); got != "served" {
			t.Errorf("%s: body is %q", url, got)
		}
	}
	_, err := c.Open(t.Context(), get("https://127.0.0.1:"+port), nil, nil)
	wantCode(t, err, hostabi.EIO) // permitted, but the server speaks no TLS
	for _, host := range []string{"127.0.0.2:" + port, "localhost:" + port, "127.0.0.1"} {
		_, err := c.Open(t.Context(), get("http://"+host), nil, nil)
		wantCode(t, err, hostabi.EDENIED)
	}
}

// A resolver that answers with a good address first and a bad one later gains nothing, in either order.
func TestRebinding(t *testing.T) {
	port := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "served") })
	resolver := &names{}
	resolver.answer = func(string) ([]netip.Addr, error) {
		if resolver.lookups.Load() == 1 {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}
		return []netip.Addr{netip.MustParseAddr("169.254.169.254")}, nil
	}
	c := newClient(t, Config{Permits: []Permit{private(port, nil)}, Resolver: resolver})
	resp, err := c.Open(t.Context(), get("http://service.test:"+port), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, resp); got != "served" {
		t.Errorf("body is %q", got)
	}
	if n := resolver.lookups.Load(); n != 1 {
		t.Errorf("one connection took %d lookups, want 1: what was checked is what is dialled", n)
	}
	c.Close()
	_, err = c.Open(t.Context(), get("http://service.test:"+port), nil, nil)
	wantCode(t, err, hostabi.EDENIED)
}

func TestDialTriesTheNextAddress(t *testing.T) {
	port := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "served") })
	// Nothing listens on 127.9.9.9 at that port.
	c := newClient(t, Config{Permits: []Permit{private(port, nil)}, Resolver: always("127.9.9.9", "127.0.0.1")})
	resp, err := c.Open(t.Context(), get("http://service.test:"+port), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, resp); got != "served" {
		t.Errorf("body is %q", got)
	}
}

func TestRedirectsAreAnswers(t *testing.T) {
	hits := make(chan string, 4)
	port := serve(t, func(w http.ResponseWriter, r *http.Request) {
		hits <- r.URL.Path
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusTemporaryRedirect)
	})
	c := newClient(t, Config{Permits: []Permit{private(port, nil)}, Resolver: always("127.0.0.1")})
	resp, err := c.Open(t.Context(), get("http://service.test:"+port+"/a"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 307 || resp.Header.Get("Location") != "http://169.254.169.254/latest/meta-data" {
		t.Errorf("answer is %d to %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	if len(hits) != 1 {
		t.Errorf("%d requests were made, want 1", len(hits))
	}
	_, err = c.Open(t.Context(), get(resp.Header.Get("Location")), nil, nil)
	wantCode(t, err, hostabi.EDENIED)
}

func TestProxyEnvironmentIsIgnored(t *testing.T) {
	proxied := make(chan string, 4)
	proxy := serve(t, func(w http.ResponseWriter, r *http.Request) { proxied <- r.URL.String() })
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"} {
		t.Setenv(name, "http://127.0.0.1:"+proxy)
	}
	port := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "direct") })
	c := newClient(t, Config{Permits: []Permit{private(port, nil)}, Resolver: always("127.0.0.1")})
	for _, r := range c.routes {
		if r.transport.Proxy != nil {
			t.Errorf("%s has a proxy", r.to)
		}
	}
	resp, err := c.Open(t.Context(), get("http://service.test:"+port), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, resp); got != "direct" || len(proxied) != 0 {
		t.Errorf("body is %q, %d requests reached the proxy", got, len(proxied))
	}
}

// net/http repeats a request with an Idempotency-Key when a reused connection breaks. The guest must decide that.
func TestNothingIsSentTwice(t *testing.T) {
	for _, method := range []string{"GET", "POST", "DELETE"} {
		for _, body := range []string{"", "payload"} {
			hits := make(chan string, 8)
			port := serve(t, func(w http.ResponseWriter, r *http.Request) {
				hits <- r.URL.Path
				if r.URL.Path == "/break" {
					conn, _, err := w.(http.Hijacker).Hijack()
					if err != nil {
						panic(err)
					}
					conn.Close()
				}
			})
			c := newClient(t, Config{Permits: []Permit{private(port, nil)}, Resolver: always("127.0.0.1")})
			key := http.Header{"Idempotency-Key": {"k"}}
			resp, err := c.Open(t.Context(), get("http://service.test:"+port+"/warm"), nil, key)
			if err != nil {
				t.Fatal(err)
			}
			readAll(t, resp)
			_, err = c.Open(t.Context(), hostabi.HTTPHead{Method: method, URL: "http://service.test:" + port + "/break"}, []byte(body), key)
			wantCode(t, err, hostabi.EIO)
			if len(hits) != 2 {
				t.Errorf("%s with body %q: the server saw %d requests, want 2", method, body, len(hits))
			}
		}
	}
}

func TestTLSIsVerified(t *testing.T) {
	answer := func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }
	port, roots := serveTLS(t, answer, nil)
	oldPort, oldRoots := serveTLS(t, answer, func(s *httptest.Server) {
		s.EnableHTTP2 = false // it has a minimum of its own
		s.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	})
	for _, c := range []struct {
		what, host string
		roots      []byte
		ok         bool
	}{
		{"root by permit", "example.com:" + port, roots, true},
		{"unknown root", "example.com:" + port, nil, false},
		{"another name", "service.test:" + port, roots, false},
		{"TLS 1.1", "example.com:" + oldPort, oldRoots, false},
	} {
		client := newClient(t, Config{
			Permits:  []Permit{{Host: c.host, Methods: []string{"GET"}, Private: true, Roots: c.roots}},
			Resolver: always("127.0.0.1"),
		})
		resp, err := client.Open(t.Context(), get("https://"+c.host), nil, nil)
		if c.ok {
			if err != nil {
				t.Errorf("%s: %v", c.what, err)
				continue
			}
			readAll(t, resp)
			continue
		}
		if err == nil {
			resp.Body.Close()
		}
		wantCode(t, err, hostabi.EIO)
	}
}

func TestHeadPayload(t *testing.T) {
	port := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Date"] = nil
		w.Header()["Set-Cookie"] = []string{"a=1", "b=2"}
		w.Header().Set("X-Request-Id", "r1")
		w.Header().Set("Keep-Alive", "timeout=5")
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Content-Length", "0")
	})
	c := newClient(t, Config{Permits: []Permit{private(port, nil)}, Resolver: always("127.0.0.1")})
	resp, err := c.Open(t.Context(), get("http://service.test:"+port), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	got := string(HeadPayload(resp.Header))
	want := `{"content-length":["0"],"content-type":["text/event-stream"],"set-cookie":["a=1","b=2"],"x-request-id":["r1"]}`
	if got != want {
		t.Errorf("payload is %s\nwant %s", got, want)
	}
	if !json.Valid([]byte(got)) {
		t.Error("payload is not JSON")
	}
}

func TestPermitsThatCannotBeMeant(t *testing.T) {
	for _, c := range []struct {
		permit Permit
		says   string
	}{
		{Permit{Host: "", Methods: []string{"GET"}}, "no host"},
		{Permit{Host: "*", Methods: []string{"GET"}}, "not a valid part"},
		{Permit{Host: "*.example.com", Methods: []string{"GET"}}, "not a valid part"},
		{Permit{Host: "example.com/v1", Methods: []string{"GET"}}, "without a path"},
		{Permit{Host: "example.com?", Methods: []string{"GET"}}, "without a path"},
		{Permit{Host: "http://example.com", Methods: []string{"GET"}}, "private = true"},
		{Permit{Host: "ftp://example.com", Methods: []string{"GET"}}, "scheme"},
		{Permit{Host: "example.com"}, `methods = ["POST"]`},
		{Permit{Host: "example.com", Methods: []string{"get"}}, "known are"},
		{Permit{Host: "example.com", Methods: []string{"CONNECT"}}, "known are"},
		{Permit{Host: "example.com", Methods: []string{"GET"}, Secrets: []string{"KEY"}}, "[secrets.KEY]"},
		{Permit{Host: "example.com", Methods: []string{"GET"}, Roots: []byte("x")}, "PEM"},
		{Permit{Host: "example.com", Methods: []string{"GET"}, MaxResponse: -1}, "negative"},
	} {
		_, err := New(Config{Permits: []Permit{c.permit}})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v does not say %q", c.permit, err, c.says)
		}
	}
	_, err := New(Config{Permits: []Permit{
		{Host: "example.com", Methods: []string{"GET"}}, {Host: "EXAMPLE.com:443", Methods: []string{"POST"}},
	}})
	if err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("one host in two permits: %v", err)
	}
}
