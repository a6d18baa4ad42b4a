package standin

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options of a Server.
type Options struct {
	Key  string        // the only key that is let in; any when empty
	Pace time.Duration // wait before each event of a stream, unless a script says otherwise

	TokenTTL time.Duration // of access tokens; 0: ten days
}

// Server is the stand-in. Its methods may be called from any goroutine.
type Server struct {
	options Options
	mux     *http.ServeMux
	issuer  issuer

	mu       sync.Mutex
	requests []Request
	queue    []string
	faults   map[string]int // how often a message has met its fault
	gates    map[string]*gate
}

// Request is one request for a completion, as the provider saw it.
type Request struct {
	IdempotencyKey string          `json:"idempotency_key"`
	Authorization  string          `json:"authorization"`
	Body           json.RawMessage `json:"body"`
}

// gate is a hold: held is closed when a request has come to it, open when it may go on.
type gate struct {
	held, open   chan struct{}
	hold, unlock func()
}

// New makes a Server; it serves HTTP by ServeHTTP.
func New(options Options) *Server {
	s := &Server{options: options, mux: http.NewServeMux(), faults: map[string]int{}, gates: map[string]*gate{}}
	s.mux.HandleFunc("POST /chat/completions", s.complete(deepseek))
	s.mux.HandleFunc("POST /v1/chat/completions", s.complete(deepseek))
	s.mux.HandleFunc("POST /minimax/v1/chat/completions", s.complete(minimax))
	respond := func(w http.ResponseWriter, r *http.Request) {
		s.respond(w, r, s.options.Key == "" || r.Header.Get("Authorization") == "Bearer "+s.options.Key)
	}
	s.mux.HandleFunc("POST /responses", respond)
	s.mux.HandleFunc("POST /v1/responses", respond)
	s.serveLogins()
	s.mux.HandleFunc("GET /standin/requests", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.Requests())
	})
	s.mux.HandleFunc("POST /standin/scripts", func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err == nil {
			err = s.Push(string(text))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
	s.mux.HandleFunc("POST /standin/release/{name}", func(_ http.ResponseWriter, r *http.Request) {
		s.Release(r.PathValue("name"))
	})
	s.mux.HandleFunc("GET /standin/held/{name}", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-s.Held(r.PathValue("name")):
		case <-r.Context().Done():
		}
	})
	return s
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Push queues a script for the next request that has none before it in the queue.
func (s *Server) Push(script string) error {
	if _, _, err := parse(script, 0); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, script)
	return nil
}

// Requests returns the requests so far, in order of arrival.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Counts returns how many requests came with each idempotency key.
func (s *Server) Counts() map[string]int {
	counts := map[string]int{}
	for _, r := range s.Requests() {
		counts[r.IdempotencyKey]++
	}
	return counts
}

// Held returns a channel that is closed once a request waits at the hold of that name.
func (s *Server) Held(name string) <-chan struct{} { return s.gate(name).held }

// Release lets requests pass the hold of that name, those that come later too.
func (s *Server) Release(name string) { s.gate(name).unlock() }

func (s *Server) gate(name string) *gate {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.gates[name]
	if g == nil {
		held, open := make(chan struct{}), make(chan struct{})
		g = &gate{held, open, sync.OnceFunc(func() { close(held) }), sync.OnceFunc(func() { close(open) })}
		s.gates[name] = g
	}
	return g
}

// completion is what the stand-in reads of a request.
type completion struct {
	Model    string `json:"model"`
	Stream   bool   `json:"stream"`
	Messages []struct {
		Role      string            `json:"role"`
		Content   *string           `json:"content"`
		Reasoning *string           `json:"reasoning_content"`
		ToolCalls []json.RawMessage `json:"tool_calls"`
	} `json:"messages"`
	Thinking *struct {
		Type string `json:"type"`
	} `json:"thinking"`
	Split bool `json:"reasoning_split"`
}

func (c *completion) thinks() bool { return c.Thinking == nil || c.Thinking.Type != "disabled" }

// maxBody is the biggest request that is read.
const maxBody = 32 << 20

func (s *Server) complete(d dialect) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { s.answer(d, w, r) }
}

func (s *Server) answer(d dialect, w http.ResponseWriter, r *http.Request) {
	content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return // the client left
	}
	number := s.note(w, r, content)
	var c completion
	switch {
	case s.options.Key != "" && r.Header.Get("Authorization") != "Bearer "+s.options.Key:
		d.refuse(w, 401, "401")
		return
	case json.Unmarshal(content, &c) != nil || len(c.Messages) == 0 || !c.Stream:
		d.refuse(w, 400, "400")
		return
	}
	if body := d.refuses(&c); body != "" {
		d.refuse(w, 400, body)
		return
	}
	last := c.Messages[len(c.Messages)-1]
	said := ""
	if last.Content != nil {
		said = *last.Content
	}
	script, words, err := s.script(said, last.Role)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if script.leak {
		words = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		w.Header().Set("X-Echo", r.Header.Get("Authorization"))
	}
	if d.scripted(w, script) {
		return
	}
	p := &player{server: s, w: w, r: r, script: script, dialect: d, end: "[DONE]"}
	p.play(func() (stream, error) { return p.stream(&c, words, number) })
}

// note counts a request and gives it its number.
func (s *Server) note(w http.ResponseWriter, r *http.Request, content []byte) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, Request{r.Header.Get("Idempotency-Key"), r.Header.Get("Authorization"), content})
	w.Header().Set("X-Request-Id", fmt.Sprintf("request-%d", len(s.requests)))
	return len(s.requests)
}

// scripted answers with the script's error status, if it has one.
func (d dialect) scripted(w http.ResponseWriter, s script) bool {
	status, err := strconv.Atoi(s.fault)
	if err != nil || status >= 1000 {
		return false
	}
	if s.retryAfter != "" {
		w.Header().Set("Retry-After", s.retryAfter)
	}
	body := s.body
	if body == "" {
		body = s.fault
	}
	d.refuse(w, status, body)
	return true
}

// script finds what the request is answered by, and the words to echo.
func (s *Server) script(said, role string) (script, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var parsed script
	words := said
	var err error
	if role == "user" {
		if parsed, words, err = parse(said, s.options.Pace); err != nil {
			return parsed, "", err
		}
	} else {
		parsed.pace = s.options.Pace
	}
	if len(s.queue) > 0 {
		// Checked by Push.
		parsed, _, _ = parse(s.queue[0], s.options.Pace)
		s.queue = s.queue[1:]
	}
	if parsed.fault != "" && parsed.times > 0 {
		if s.faults[said]++; s.faults[said] > parsed.times {
			parsed.fault = ""
		}
	}
	return parsed, words, nil
}

func (d dialect) refuse(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(d.errorBody(body))
}

// tokens splits a text so that its pieces, put together, are the text.
func tokens(text string, count, size int) []string {
	pieces := strings.SplitAfter(text, " ")
	if count == 0 {
		return pieces
	}
	wanted := make([]string, count)
	for i := range wanted {
		wanted[i] = strings.TrimSuffix(pieces[i%len(pieces)], " ") + " "
		if size > 0 {
			wanted[i] = (wanted[i] + strings.Repeat("x", size))[:size]
		}
	}
	return wanted
}
