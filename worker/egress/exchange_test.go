package egress

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/hostabi"
)

func TestSizesAreBounded(t *testing.T) {
	port := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/announced":
			io.WriteString(w, strings.Repeat("a", 11))
		case "/streamed":
			for range 11 {
				io.WriteString(w, "a")
				w.(http.Flusher).Flush()
			}
		case "/exact":
			io.WriteString(w, strings.Repeat("a", 10))
		case "/head":
			for i := range 40 {
				w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("a", 2<<10))
			}
		case "/quotes":
			// Fits on the wire; as JSON each byte is six.
			w.Header().Set("X-Quotes", strings.Repeat("<", 20<<10))
		}
	})
	c := newClient(t, Config{
		Permits:  []Permit{private(port, func(p *Permit) { p.MaxResponse = 10 })},
		Resolver: always("127.0.0.1"),
	})
	base := "http://service.test:" + port
	_, err := c.Open(t.Context(), get(base+"/announced"), nil, nil)
	wantCode(t, err, hostabi.E2BIG)
	_, err = c.Open(t.Context(), get(base+"/quotes"), nil, nil)
	wantCode(t, err, hostabi.E2BIG)
	_, err = c.Open(t.Context(), get(base+"/head"), nil, nil)
	wantCode(t, err, hostabi.EIO)
	_, err = c.Open(t.Context(), hostabi.HTTPHead{Method: "POST", URL: base}, make([]byte, hostabi.MaxRequest+1), nil)
	wantCode(t, err, hostabi.E2BIG)

	resp, err := c.Open(t.Context(), get(base+"/streamed"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	wantCode(t, err, hostabi.E2BIG)
	if len(b) != 10 {
		t.Errorf("%d bytes came before the limit of 10", len(b))
	}
	resp, err = c.Open(t.Context(), get(base+"/exact"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, resp); len(got) != 10 {
		t.Errorf("%d bytes came, want 10", len(got))
	}
}

func TestTimesAreBounded(t *testing.T) {
	port := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/body":
			io.WriteString(w, "a")
			w.(http.Flusher).Flush()
		case "/drip":
			// Never silent for long, and never done.
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for r.Context().Err() == nil {
				<-tick.C
				io.WriteString(w, "a")
				w.(http.Flusher).Flush()
			}
		}
		<-r.Context().Done()
	})
	short := 50 * time.Millisecond
	for _, c := range []struct {
		what, path string
		permit     func(*Permit)
		timeout    time.Duration
		beforeHead bool
		says       string
	}{
		{"idle before the head", "/head", func(p *Permit) { p.Idle = short }, 0, true, "nothing"},
		{"idle in the body", "/body", func(p *Permit) { p.Idle = short }, 0, false, "nothing"},
		{"permit's limit before the head", "/head", func(p *Permit) { p.Timeout = short }, 0, true, "exchange"},
		{"permit's limit in the body", "/drip", func(p *Permit) { p.Timeout = short }, time.Hour, false, "exchange"},
		{"guest's limit before the head", "/head", nil, short, true, "exchange"},
		{"guest's limit in the body", "/drip", nil, short, false, "exchange"},
	} {
		t.Run(c.what, func(t *testing.T) {
			client := newClient(t, Config{Permits: []Permit{private(port, c.permit)}, Resolver: always("127.0.0.1")})
			head := get("http://service.test:" + port + c.path)
			head.TimeoutNS = int64(c.timeout)
			resp, err := client.Open(t.Context(), head, nil, nil)
			if !c.beforeHead && err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			if msg := wantCode(t, err, hostabi.ETIMEDOUT); !strings.Contains(msg, c.says) {
				t.Errorf("%q does not say %q", msg, c.says)
			}
		})
	}
	client := newClient(t, Config{Permits: []Permit{private(port, nil)}, Resolver: always("127.0.0.1")})
	head := get("http://service.test:" + port)
	head.TimeoutNS = -1
	_, err := client.Open(t.Context(), head, nil, nil)
	wantCode(t, err, hostabi.EINVAL)
}

// The turn's own end is the host's business: it is not turned into a refusal.
func TestTheCallersCauseComesBack(t *testing.T) {
	port := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
	})
	c := newClient(t, Config{Permits: []Permit{private(port, nil)}, Resolver: always("127.0.0.1")})
	lost := errors.New("lease lost")

	ctx, cancel := withCause(t)
	resp, err := c.Open(ctx, get("http://service.test:"+port+"/body"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	cancel(lost)
	if _, err := resp.Body.Read(make([]byte, 1)); err != lost {
		t.Errorf("reading ended with %v, want the cause", err)
	}
	resp.Body.Close()

	ctx, cancel = withCause(t)
	cancel(lost)
	if _, err := c.Open(ctx, get("http://service.test:"+port), nil, nil); err != lost {
		t.Errorf("opening ended with %v, want the cause", err)
	}
}

func TestCloseEndsAWaitingRead(t *testing.T) {
	gone := make(chan struct{})
	port := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(gone)
	})
	c := newClient(t, Config{Permits: []Permit{private(port, nil)}, Resolver: always("127.0.0.1")})
	resp, err := c.Open(t.Context(), get("http://service.test:"+port), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan error)
	go func() {
		_, err := resp.Body.Read(make([]byte, 1))
		read <- err
	}()
	resp.Body.Close()
	if err := <-read; err != errClosed {
		t.Errorf("the read ended with %v", err)
	}
	<-gone
}

func TestServersThatMisbehave(t *testing.T) {
	for what, answer := range map[string]string{
		"cut in the body":      "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
		"not HTTP":             "SSH-2.0-server\r\n",
		"nothing":              "",
		"switches protocols":   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
		"encoded regardless":   "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
		"bad chunks":           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"two different sizes":  "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
		"header with NUL":      "HTTP/1.1 200 OK\r\nX-A: a\x00b\r\nContent-Length: 10\r\n\r\nx",
		"endless interim ones": strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 1000),
	} {
		t.Run(what, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				http.ReadRequest(bufio.NewReader(conn))
				io.WriteString(conn, answer)
			}()
			defer func() { l.Close(); <-done }()
			port := portOf(t, "http://"+l.Addr().String())
			c := newClient(t, Config{Permits: []Permit{private(port, nil)}, Resolver: always("127.0.0.1")})
			resp, err := c.Open(t.Context(), get("http://service.test:"+port), nil, nil)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			wantCode(t, err, hostabi.EIO)
		})
	}
}
