package egress

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/http/httpguts"

	"github.com/towpath/towpath/hostabi"
)

// Brokered is the place that a command may reach through a broker.
type Brokered struct {
	URL    string `toml:"url"`    // what the broker's own URL stands for, as in "https://api.example.com/v1"
	Secret string `toml:"secret"` // the bearer token that the broker puts in
	// Headers are put in too, in place of the child's own of these names. A value may hold {{secret:NAME}}.
	Headers map[string]string `toml:"headers"`
}

// Broker is a door on loopback for one child: a request that carries the door's token goes on to the one place that the
// operator named, with the operator's secret in place of the token. So the child can use the secret and never has it.
// The token is worth nothing once the broker is closed.
type Broker struct {
	URL   string // http://127.0.0.1:PORT
	Token string

	client *Client
	to     Brokered
	heard  func(status int, header http.Header)
	server *http.Server
	end    context.CancelFunc

	mu     sync.Mutex
	closed bool
	open   sync.WaitGroup // requests that are answered
}

// CheckBroker reports what is missing for a broker to that place.
func (c *Client) CheckBroker(to Brokered) error {
	u, o, err := parseURL(to.URL)
	switch {
	case err != nil:
		return fmt.Errorf("broker: url: %w", err)
	case u.RawQuery != "" || strings.HasSuffix(u.Path, "/"):
		return errors.New("broker: url: write it without a query and without a slash at its end")
	}
	r, err := c.route(o, http.MethodPost)
	switch {
	case err != nil:
		return fmt.Errorf("broker: %w", err)
	case !slices.Contains(r.permit.Secrets, to.Secret):
		return fmt.Errorf(`broker: secret %s is not bound to %s: add it to that host's permit, as in secrets = ["%s"]`, to.Secret, o, to.Secret)
	}
	for name, value := range to.Headers {
		key := http.CanonicalHeaderKey(name)
		if !httpguts.ValidHeaderFieldName(name) || key == "Authorization" || slices.Contains(owned, key) {
			return fmt.Errorf("broker: headers: %.64q cannot be put in", name)
		}
		if _, err := Fill(value, func(secret string) (string, error) {
			if !slices.Contains(r.permit.Secrets, secret) {
				return "", fmt.Errorf(`secret %.64q is not bound to %s`, secret, o)
			}
			return "", nil
		}); err != nil {
			return fmt.Errorf("broker: headers: %s: %w", name, err)
		}
	}
	return nil
}

// Broker opens a door for one child. heard is told the status and the header of each answer of 400 and above before the
// child gets it, from any goroutine; never after Close.
func (c *Client) Broker(to Brokered, heard func(status int, header http.Header)) (*Broker, error) {
	if err := c.CheckBroker(to); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	ctx, end := context.WithCancel(context.Background())
	b := &Broker{URL: "http://" + listener.Addr().String(), Token: rand.Text() + rand.Text(), client: c, to: to, heard: heard, end: end}
	b.server = &http.Server{
		Handler: http.HandlerFunc(b.serve), ReadHeaderTimeout: dialTimeout, MaxHeaderBytes: hostabi.MaxHead,
		BaseContext: func(net.Listener) context.Context { return ctx }, ErrorLog: log.New(io.Discard, "", 0),
	}
	go b.server.Serve(listener)
	return b, nil
}

// Format gives the URL only, whatever the verb.
func (b *Broker) Format(f fmt.State, _ rune) { io.WriteString(f, "broker "+b.URL) }

// Close ends the door and what goes through it. It returns when nothing does.
func (b *Broker) Close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.end()
	b.server.Close()
	b.open.Wait()
}

// enter counts a request in, unless the door is closed.
func (b *Broker) enter() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.open.Add(1)
	}
	return !b.closed
}

func (b *Broker) serve(w http.ResponseWriter, r *http.Request) {
	if !b.enter() {
		panic(http.ErrAbortHandler)
	}
	defer b.open.Done()
	if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+b.Token)) != 1 {
		refuse(w, http.StatusUnauthorized, "this door opens for one child, by its token")
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, hostabi.MaxRequest+1)) // Open refuses what is over the limit
	if err != nil {
		panic(http.ErrAbortHandler) // the child is gone
	}
	resp, err := b.pass(r, body)
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		resp, err = b.renewed(r, body, resp)
	}
	if err != nil && r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // the child, or the door, is gone
	}
	if err != nil {
		status := http.StatusBadGateway
		var refusal *hostabi.Error
		if errors.As(err, &refusal) {
			switch refusal.Code {
			case hostabi.EDENIED:
				status = http.StatusForbidden
			case hostabi.EINVAL:
				status = http.StatusBadRequest
			case hostabi.E2BIG:
				status = http.StatusRequestEntityTooLarge
			case hostabi.ETIMEDOUT:
				status = http.StatusGatewayTimeout
			}
		}
		b.hear(status, http.Header{"X-Towpath-Broker": {err.Error()}})
		refuse(w, status, err.Error())
		return
	}
	defer resp.Body.Close()
	for name, values := range resp.Header {
		if name != "Content-Length" && name != "Set-Cookie" {
			w.Header()[name] = values
		}
	}
	if resp.StatusCode >= 400 {
		b.hear(resp.StatusCode, resp.Header)
	}
	w.WriteHeader(resp.StatusCode)
	if err := stream(w, resp.Body); err != nil {
		panic(http.ErrAbortHandler) // the child must not take a cut for an end
	}
}

func (b *Broker) hear(status int, header http.Header) {
	if b.heard != nil {
		b.heard(status, header)
	}
}

// renewed sends a request once more that was refused for its token, if a login gives another one. The server has done
// nothing for the first.
func (b *Broker) renewed(r *http.Request, body []byte, refused *http.Response) (*http.Response, error) {
	used, err := b.client.secrets.Value(r.Context(), b.to.Secret)
	if err != nil {
		return refused, nil
	}
	_, another, err := b.client.secrets.Renew(r.Context(), b.to.Secret, used)
	switch {
	case err != nil:
		refused.Body.Close()
		return nil, Refusal(err)
	case !another:
		return refused, nil
	}
	refused.Body.Close()
	return b.pass(r, body)
}

// pass sends the child's request on. Of its header only what is between the child and the server goes along.
func (b *Broker) pass(r *http.Request, body []byte) (*http.Response, error) {
	at := r.URL.EscapedPath()
	if at != path.Clean(at) || strings.Contains(at, "%") {
		return nil, hostabi.Errorf(hostabi.EINVAL, "the path %.100q is not plain", at)
	}
	if r.URL.RawQuery != "" {
		at += "?" + r.URL.RawQuery
	}
	headers := map[string]string{"Authorization": "Bearer " + placeholderOpen + b.to.Secret + placeholderClose}
	own := map[string]bool{"Authorization": true, "Cookie": true}
	for name, value := range b.to.Headers {
		headers[name], own[http.CanonicalHeaderKey(name)] = value, true
	}
	extra := http.Header{}
	for name, values := range r.Header {
		if !own[name] && !slices.Contains(owned, name) {
			extra[name] = values
		}
	}
	return b.client.Open(r.Context(), hostabi.HTTPHead{Method: r.Method, URL: b.to.URL + at, Headers: headers}, body, extra)
}

// stream copies bytes as they come.
func stream(w http.ResponseWriter, body io.Reader) error {
	out := http.NewResponseController(w)
	buf := make([]byte, 32<<10)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			if err := out.Flush(); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"type": "broker_error", "message": message, "code": nil, "param": nil}})
}
