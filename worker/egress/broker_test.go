package egress

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/towpath/towpath/hostabi"
)

const brokered = "the operator's own key"

// door opens a broker to a plain server on loopback, whose secret is KEY.
func door(t *testing.T, handler http.HandlerFunc, heard func(int, http.Header)) (*Broker, *Secrets) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(brokered), 0o600); err != nil {
		t.Fatal(err)
	}
	secrets, err := NewSecrets(map[string]Source{"KEY": {File: file}, "OTHER": {File: file}})
	if err != nil {
		t.Fatal(err)
	}
	port := serve(t, handler)
	c := newClient(t, Config{Secrets: secrets, Resolver: always("127.0.0.1"), Permits: []Permit{
		private(port, func(p *Permit) { p.Secrets = []string{"KEY"}; p.Methods = []string{"GET", "POST"} }),
	}})
	b, err := c.Broker(Brokered{URL: "http://service.test:" + port + "/v1", Secret: "KEY"}, heard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b, secrets
}

// through sends a request through the door, as a child with its token does.
func through(t *testing.T, b *Broker, method, path, body string, change func(*http.Request)) (int, string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, b.URL, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.URL.Opaque = path
	r.Header.Set("Authorization", "Bearer "+b.Token)
	if change != nil {
		change(r)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

func TestABrokerPutsTheSecretIn(t *testing.T) {
	b, _ := door(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Request-Id", "r1")
		fmt.Fprintf(w, "%s %s %s %q key=%v cookie=%q", r.Method, r.URL, body, r.Header.Get("X-Own"), r.Header.Get("Authorization") == "Bearer "+brokered, r.Header.Get("Cookie"))
	}, nil)
	status, text, err := through(t, b, "POST", "/responses?a=b", "hello", func(r *http.Request) {
		r.Header.Set("X-Own", "{{secret:OTHER}}") // a child's words are not filled
		r.Header.Set("Cookie", "c=1")
	})
	if want := `POST /v1/responses?a=b hello "{{secret:OTHER}}" key=true cookie=""`; status != 200 || text != want || err != nil {
		t.Errorf("%d %s, %v\nwant %s", status, text, err, want)
	}
}

func TestABrokerOpensForItsChildOnly(t *testing.T) {
	asked := 0
	b, _ := door(t, func(http.ResponseWriter, *http.Request) { asked++ }, nil)
	for name, c := range map[string]struct {
		method, path string
		change       func(*http.Request)
		want         int
	}{
		"no token":       {"POST", "/responses", func(r *http.Request) { r.Header.Del("Authorization") }, 401},
		"another token":  {"POST", "/responses", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+strings.Repeat("A", 52)) }, 401},
		"another method": {"PUT", "/responses", nil, 403},
		"a way out":      {"POST", "/../v2/responses", nil, 400},
		"a hidden way":   {"POST", "/%2e%2e/v2/responses", nil, 400},
		"an empty part":  {"POST", "//responses", nil, 400},
		"a body too long": {"POST", "/responses", func(r *http.Request) {
			r.Body = io.NopCloser(bytes.NewReader(make([]byte, hostabi.MaxRequest+1)))
			r.ContentLength = -1
		}, 413},
	} {
		status, text, err := through(t, b, c.method, c.path, "", c.change)
		if status != c.want || strings.Contains(text, brokered) {
			t.Errorf("%s: %d %s, %v, want %d", name, status, text, err, c.want)
		}
	}
	if asked > 0 {
		t.Errorf("%d requests came through", asked)
	}
	b.Close()
	if status, _, err := through(t, b, "POST", "/responses", "", nil); err == nil {
		t.Errorf("a closed door answers %d", status)
	}
}

func TestWhatABrokerHearsIsTold(t *testing.T) {
	var mu sync.Mutex
	var heard []string
	b, secrets := door(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/limit":
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(429)
			io.WriteString(w, "not with "+brokered)
		case "/v1/cut":
			io.WriteString(w, "half an ans")
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case "/v1/refused":
			panic(http.ErrAbortHandler)
		}
	}, func(status int, h http.Header) {
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, fmt.Sprint(status, h.Get("Retry-After")))
	})
	if status, text, err := through(t, b, "POST", "/limit", "", nil); status != 429 || text != "not with [redacted:KEY]" || err != nil {
		t.Errorf("limit: %d %s, %v", status, text, err)
	}
	if _, text, err := through(t, b, "POST", "/cut", "", nil); err == nil || text != "half an ans" {
		t.Errorf("a cut answer came as %q, %v", text, err)
	}
	if status, _, err := through(t, b, "POST", "/refused", "", nil); status != 502 || err != nil {
		t.Errorf("refused: %d, %v", status, err)
	}
	if status, _, err := through(t, b, "GET", "/fine", "", nil); status != 200 || err != nil {
		t.Errorf("fine: %d, %v", status, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(heard, " "); got != "4297 502" {
		t.Errorf("heard %q", got)
	}
	if s := secrets.ScrubberWith("broker_token", b.Token).Scrub([]byte("it is "+b.Token+", "+brokered), true); string(s) != "it is [redacted:broker_token], [redacted:KEY]" {
		t.Errorf("scrubbed to %q", s)
	}
	if s := fmt.Sprintf("%v %+v %s", b, b, b); strings.Contains(s, b.Token) {
		t.Errorf("printed as %q", s)
	}
}

func TestABrokersEndEndsWhatGoesThroughIt(t *testing.T) {
	begun := make(chan struct{})
	b, _ := door(t, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).Flush()
		close(begun)
		<-r.Context().Done()
	}, func(int, http.Header) { t.Error("heard after the end") })
	done := make(chan error)
	go func() {
		_, _, err := through(t, b, "POST", "/responses", "", nil)
		done <- err
	}()
	<-begun
	b.Close()
	if err := <-done; err == nil {
		t.Error("the answer ended as if it were whole")
	}
}

func TestABrokerNeedsAPermit(t *testing.T) {
	b, _ := door(t, func(http.ResponseWriter, *http.Request) {}, nil)
	good := b.to.URL
	for _, c := range []struct {
		to  Brokered
		fix string
	}{
		{Brokered{URL: good + "/", Secret: "KEY"}, "slash"},
		{Brokered{URL: good + "?a=b", Secret: "KEY"}, "query"},
		{Brokered{URL: good, Secret: "OTHER"}, `secrets = ["OTHER"]`},
		{Brokered{URL: "https://api.example.com/v1", Secret: "KEY"}, "[[http]] host"},
		{Brokered{URL: "http://service.test:1/v1", Secret: "KEY"}, "not permitted"},
		{Brokered{URL: "ftp://service.test/v1", Secret: "KEY"}, "scheme"},
		{Brokered{URL: strings.Replace(good, "/v1", "", 1)}, "not bound"},
		{Brokered{URL: good, Secret: "KEY", Headers: map[string]string{"x-account": "{{secret:OTHER}}"}}, `"OTHER" is not bound`},
		{Brokered{URL: good, Secret: "KEY", Headers: map[string]string{"authorization": "Basic x"}}, "cannot be put in"},
		{Brokered{URL: good, Secret: "KEY", Headers: map[string]string{"a b": "x"}}, "cannot be put in"},
		{Brokered{URL: good, Secret: "KEY", Headers: map[string]string{"x": "{{secret:KEY"}}, "not closed"},
	} {
		to, fix := c.to, c.fix
		if err := b.client.CheckBroker(to); err == nil || !strings.Contains(err.Error(), fix) {
			t.Errorf("%v: %v, want %s", to, err, fix)
		}
	}
}

// What a login gives is renewed when the server refuses it, once, and then what the server says counts.
func TestABrokerRenewsALogin(t *testing.T) {
	var takes atomic.Value
	takes.Store("token-of-login-2")
	var bodies, accounts []string
	b, _ := door(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies, accounts = append(bodies, string(body)), append(accounts, strings.Join(r.Header["X-Account"], "+"))
		if r.Header.Get("Authorization") != "Bearer "+takes.Load().(string) {
			w.WriteHeader(401)
		}
	}, nil)
	secrets, err := NewSecrets(map[string]Source{"KEY": {Login: LoginToken}, "ACCOUNT": {Login: LoginAccount}})
	if err != nil {
		t.Fatal(err)
	}
	issued := 1
	secrets.Keep(func(_ context.Context, field, stale string) (string, time.Time, error) {
		if field == LoginAccount {
			return "account-of-login", time.Now().Add(time.Hour), nil
		}
		if now := fmt.Sprint("token-of-login-", issued); stale == now {
			issued++
		}
		return fmt.Sprint("token-of-login-", issued), time.Now().Add(time.Hour), nil
	})
	for _, e := range b.client.routes {
		e.permit.Secrets = append(e.permit.Secrets, "ACCOUNT")
	}
	b.client.secrets = secrets
	b.to.Headers = map[string]string{"x-account": "{{secret:ACCOUNT}}"}
	ask := func() int {
		t.Helper()
		status, _, err := through(t, b, "POST", "/say", "words", func(r *http.Request) { r.Header.Set("X-Account", "the child's own") })
		if err != nil {
			t.Fatal(err)
		}
		return status
	}
	if status := ask(); status != 200 || len(bodies) != 2 || issued != 2 {
		t.Errorf("status %d, requests %q, %d issued", status, bodies, issued)
	}
	takes.Store("nobody")
	if status := ask(); status != 401 || len(bodies) != 4 || issued != 3 {
		t.Errorf("status %d, requests %q, %d issued", status, bodies, issued)
	}
	for i := range bodies {
		if bodies[i] != "words" || accounts[i] != "account-of-login" {
			t.Errorf("request %d: %q of %q", i, bodies[i], accounts[i])
		}
	}
	// No login is kept here: the child is told so.
	secrets.Keep(nil)
	secrets.entries["KEY"].loaded = false
	if status := ask(); status != 502 || len(bodies) != 4 {
		t.Errorf("status %d", status)
	}
}
