package prove

import (
	"bytes"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/towpath/towpath/examples/standin"
)

// provider is the other side of the turns' outside calls. It counts what it was asked before it answers.
type provider struct {
	server *http.Server
	addr   string

	mu     sync.Mutex
	counts map[string]int
	after  int           // requests until one is held; 0 holds none
	held   func()        // called when it is there
	open   chan struct{} // closed when it may be answered
}

// pace between the pieces of an answer, so that most arrive by themselves.
const pace = 3 * time.Millisecond

func startProvider() (*provider, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &provider{addr: listener.Addr().String(), counts: map[string]int{}}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second}
	go p.server.Serve(listener)
	return p, nil
}

func (p *provider) stop() error { return p.server.Close() }

// ServeHTTP answers every request as a stand-in that was never asked anything before, so that the same request has the
// same answer whenever it comes.
func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	p.mu.Lock()
	p.counts[r.Header.Get("Idempotency-Key")]++
	var open chan struct{}
	if p.after > 0 {
		if p.after--; p.after == 0 {
			open = p.open
		}
	}
	held := p.held
	p.mu.Unlock()
	if open != nil {
		held()
		select {
		case <-open:
		case <-r.Context().Done():
			return
		}
	}
	standin.New(standin.Options{Pace: pace}).ServeHTTP(w, r)
}

// hold keeps the nth request from now on waiting until release, and calls held when it has come.
func (p *provider) hold(n int, held func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.after, p.held, p.open = n, held, make(chan struct{})
}

func (p *provider) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open != nil {
		close(p.open)
	}
	p.after, p.open = 0, nil
}

// asked says how often each key came.
func (p *provider) asked() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.counts)
}
