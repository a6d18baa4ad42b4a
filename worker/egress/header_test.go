package egress

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/towpath/towpath/hostabi"
)

const canary = "sk-Canary/0123+456=789"

// canarySecrets holds KEY, whose value is the canary.
func canarySecrets(t *testing.T) *Secrets {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(canary+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := NewSecrets(map[string]Source{"KEY": {File: file}, "OTHER": {File: file + ".other"}, "GONE": {Env: "TOWPATH_TEST_UNSET"}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPlaceholdersAreFilledInHeadersOnly(t *testing.T) {
	seen := make(chan string, 1)
	port := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen <- fmt.Sprintf("%s|%s|%s|%s|%s", r.Header.Get("Authorization"), r.Header.Get("X-Twice"), r.URL.Query().Get("k"), body,
			r.Header.Get("Idempotency-Key"))
	})
	c := newClient(t, Config{
		Permits: []Permit{private(port, func(p *Permit) { p.Secrets = []string{"KEY"} })},
		Secrets: canarySecrets(t), Resolver: always("127.0.0.1"),
	})
	resp, err := c.Open(t.Context(), hostabi.HTTPHead{
		Method: "POST", URL: "http://service.test:" + port + "/?k={{secret:KEY}}",
		Headers: map[string]string{"authorization": "Bearer {{secret:KEY}}", "x-twice": "{{secret:KEY}},{{secret:KEY}}"},
	}, []byte("{{secret:KEY}}"), http.Header{"Idempotency-Key": {"{{secret:KEY}}"}})
	if err != nil {
		t.Fatal(err)
	}
	readAll(t, resp)
	want := "Bearer " + canary + "|" + canary + "," + canary + "|{{secret:KEY}}|{{secret:KEY}}|{{secret:KEY}}"
	if got := <-seen; got != want {
		t.Errorf("the server saw %s\nwant %s", got, want)
	}
}

func TestSecretsGoOnlyWhereTheyAreBound(t *testing.T) {
	hits := make(chan struct{}, 8)
	port := serve(t, func(w http.ResponseWriter, r *http.Request) { hits <- struct{}{} })
	c := newClient(t, Config{
		Permits: []Permit{
			private(port, func(p *Permit) { p.Secrets = []string{"KEY", "GONE"} }),
			{Host: "http://other.test:" + port, Methods: []string{"GET"}, Private: true},
		},
		Secrets: canarySecrets(t), Resolver: always("127.0.0.1"),
	})
	for _, c2 := range []struct {
		host, value string
		code        hostabi.Code
		says        string
	}{
		{"other.test", "{{secret:KEY}}", hostabi.EDENIED, `secrets = ["KEY"]`},
		{"service.test", "{{secret:OTHER}}", hostabi.EDENIED, `secrets = ["OTHER"]`},
		{"service.test", "{{secret:NOBODY}}", hostabi.EDENIED, `secrets = ["NOBODY"]`},
		{"service.test", "{{secret:GONE}}", hostabi.EIO, "TOWPATH_TEST_UNSET is not set"},
		{"service.test", "{{secret:KEY", hostabi.EINVAL, "not closed"},
		{"service.test", "{{secret:}}", hostabi.EINVAL, "not the name"},
		{"service.test", "{{secret: KEY}}", hostabi.EINVAL, "not the name"},
		{"service.test", "{{secret:{{secret:KEY}}}}", hostabi.EINVAL, "not the name"},
	} {
		head := get("http://" + c2.host + ":" + port)
		head.Headers = map[string]string{"authorization": c2.value}
		_, err := c.Open(t.Context(), head, nil, nil)
		msg := wantCode(t, err, c2.code)
		if !strings.Contains(msg, c2.says) || strings.Contains(msg, canary) {
			t.Errorf("%s to %s: %q does not say %q", c2.value, c2.host, msg, c2.says)
		}
	}
	if len(hits) != 0 {
		t.Errorf("%d requests left", len(hits))
	}
}

func TestHeadersThatAreRefused(t *testing.T) {
	c := newClient(t, Config{Permits: []Permit{private("1", nil)}, Resolver: always("127.0.0.1")})
	many := make(map[string]string)
	for i := range maxHeaders + 1 {
		many[fmt.Sprintf("x-%d", i)] = "a"
	}
	big := make(map[string]string)
	for i := range 5 {
		big[fmt.Sprintf("x-%d", i)] = strings.Repeat("a", 15<<10)
	}
	for _, c2 := range []struct {
		headers map[string]string
		code    hostabi.Code
	}{
		{map[string]string{"Host": "evil"}, hostabi.EINVAL},
		{map[string]string{"hOsT": "evil"}, hostabi.EINVAL},
		{map[string]string{"connection": "close"}, hostabi.EINVAL},
		{map[string]string{"content-length": "0"}, hostabi.EINVAL},
		{map[string]string{"transfer-encoding": "chunked"}, hostabi.EINVAL},
		{map[string]string{"te": "trailers"}, hostabi.EINVAL},
		{map[string]string{"trailer": "x"}, hostabi.EINVAL},
		{map[string]string{"upgrade": "h2c"}, hostabi.EINVAL},
		{map[string]string{"expect": "100-continue"}, hostabi.EINVAL},
		{map[string]string{"keep-alive": "1"}, hostabi.EINVAL},
		{map[string]string{"proxy-authorization": "x"}, hostabi.EINVAL},
		{map[string]string{"accept-encoding": "gzip"}, hostabi.EINVAL},
		{map[string]string{":authority": "evil"}, hostabi.EINVAL},
		{map[string]string{"": "x"}, hostabi.EINVAL},
		{map[string]string{"x y": "x"}, hostabi.EINVAL},
		{map[string]string{"x:y": "x"}, hostabi.EINVAL},
		{map[string]string{"x\r\nhost": "x"}, hostabi.EINVAL},
		{map[string]string{"é": "x"}, hostabi.EINVAL},
		{map[string]string{"x-a": "a\r\nHost: evil"}, hostabi.EINVAL},
		{map[string]string{"x-a": "a\nb"}, hostabi.EINVAL},
		{map[string]string{"x-a": "a\x00"}, hostabi.EINVAL},
		{map[string]string{"x-a": "1", "X-A": "2"}, hostabi.EINVAL},
		{map[string]string{"x-a": strings.Repeat("a", maxHeaderValue+1)}, hostabi.E2BIG},
		{many, hostabi.E2BIG},
		{big, hostabi.E2BIG},
	} {
		head := get("http://service.test:1")
		head.Headers = c2.headers
		_, err := c.Open(t.Context(), head, nil, nil)
		wantCode(t, err, c2.code)
	}
}

// A permitted server that sends the secret back, by malice or in an error page, does not reach the guest with it.
func TestAnEchoedSecretIsScrubbed(t *testing.T) {
	port := serve(t, func(w http.ResponseWriter, r *http.Request) {
		auth := r.Header.Get("Authorization")
		w.Header().Set("X-Echo", auth)
		w.Header().Set(strings.Map(func(r rune) rune {
			if r == '/' || r == '=' {
				return -1
			}
			return r
		}, "X-"+auth[len("Bearer "):]), "name")
		for i := range auth {
			io.WriteString(w, auth[i:i+1])
			w.(http.Flusher).Flush()
		}
		io.WriteString(w, " and the rest")
	})
	c := newClient(t, Config{
		Permits: []Permit{private(port, func(p *Permit) { p.Secrets = []string{"KEY"} })},
		Secrets: canarySecrets(t), Resolver: always("127.0.0.1"),
	})
	head := get("http://service.test:" + port)
	head.Headers = map[string]string{"authorization": "Bearer {{secret:KEY}}"}
	resp, err := c.Open(t.Context(), head, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, resp); got != "Bearer [redacted:KEY] and the rest" {
		t.Errorf("body is %q", got)
	}
	if got := resp.Header.Get("X-Echo"); got != "Bearer [redacted:KEY]" {
		t.Errorf("header is %q", got)
	}
	if resp.Request != nil {
		t.Error("the response holds the filled request")
	}
}

// A stream that is cut inside a secret gives nothing of it.
func TestACutStreamKeepsItsBeginningOfASecretBack(t *testing.T) {
	port := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, "key: "+canary[:len(canary)-1])
	})
	c := newClient(t, Config{
		Permits: []Permit{private(port, func(p *Permit) { p.Secrets = []string{"KEY"} })},
		Secrets: canarySecrets(t), Resolver: always("127.0.0.1"),
	})
	head := get("http://service.test:" + port)
	head.Headers = map[string]string{"authorization": "{{secret:KEY}}"}
	resp, err := c.Open(t.Context(), head, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	wantCode(t, err, hostabi.EIO)
	if string(b) != "key: " {
		t.Errorf("body is %q", b)
	}
}

func TestAMalformedAnswerDoesNotQuoteASecret(t *testing.T) {
	port := serve(t, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		io.WriteString(conn, r.Header.Get("Authorization")+"\r\n\r\n")
		conn.Close()
	})
	c := newClient(t, Config{
		Permits: []Permit{private(port, func(p *Permit) { p.Secrets = []string{"KEY"} })},
		Secrets: canarySecrets(t), Resolver: always("127.0.0.1"),
	})
	head := get("http://service.test:" + port)
	head.Headers = map[string]string{"authorization": "{{secret:KEY}}"}
	_, err := c.Open(t.Context(), head, nil, nil)
	if msg := wantCode(t, err, hostabi.EIO); strings.Contains(msg, canary) || !strings.Contains(msg, "[redacted:KEY]") {
		t.Errorf("message is %q", msg)
	}
}

// Whatever stands around them, placeholders are filled once, and what they are filled with is not read again.
func FuzzFill(f *testing.F) {
	f.Add("Bearer {{secret:KEY}}")
	f.Add("{{secret:{{secret:A}}}}{{secret:}}")
	f.Add("{{secret:A")
	f.Add("}}{{secret:A}}{{")
	f.Fuzz(func(t *testing.T, text string) {
		const value = "{{secret:INNER}}"
		var asked []string
		got, err := Fill(text, func(name string) (string, error) {
			asked = append(asked, name)
			return value, nil
		})
		if err != nil {
			if !strings.Contains(text, placeholderOpen) {
				t.Fatalf("%q is refused: %v", text, err)
			}
			return
		}
		// Written back by hand, the answer is the question.
		for _, name := range asked {
			before, after, _ := strings.Cut(text, placeholderOpen+name+placeholderClose)
			if !strings.HasPrefix(got, before+value) {
				t.Fatalf("%q becomes %q", text, got)
			}
			got, text = got[len(before+value):], after
		}
		if got != text || strings.Contains(got, placeholderOpen) {
			t.Fatalf("%q is left of %q", got, text)
		}
	})
}
