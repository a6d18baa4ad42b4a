package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/towpath/towpath/examples/standin"
	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/guesttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// program is the real codex, installed when it is missing.
var program = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("../../scripts/codex.sh").Output()
	return strings.TrimSpace(string(out)), err
})

const token = "token-of-the-broker"

// world is a provider, and turns of a session whose children are the real codex.
type world struct {
	*testing.T
	provider *standin.Server
	host     *guesttest.Host
	homes    []string // of the children so far

	mu    sync.Mutex
	child *guesttest.Child // that runs
	cmd   *exec.Cmd
}

// heard tells the plugin what its broker got.
func (w *world) heard(status int, header http.Header) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.child.Heard(status, header)
}

func newWorld(t *testing.T, config map[string]any) *world {
	t.Helper()
	if os.Getenv("TOWPATH_TEST_CODEX") == "" {
		t.Skip("needs codex: make codex")
	}
	path, err := program()
	if err != nil {
		t.Fatalf("scripts/codex.sh: %v", err)
	}
	w := &world{T: t, provider: standin.New(standin.Options{Key: token})}
	provider := httptest.NewServer(w.provider)
	to, err := url.Parse(provider.URL)
	if err != nil {
		t.Fatal(err)
	}
	// The worker's broker, as far as a plugin knows it.
	transport := &http.Transport{DisableKeepAlives: true}
	server := httptest.NewServer(&httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) },
		ModifyResponse: func(r *http.Response) error {
			if r.StatusCode >= 400 {
				w.heard(r.StatusCode, r.Header)
			}
			return nil
		},
		ErrorHandler: func(out http.ResponseWriter, _ *http.Request, err error) {
			w.heard(502, http.Header{"X-Towpath-Broker": {err.Error()}})
			out.WriteHeader(502)
		},
	})
	t.Cleanup(func() {
		for _, s := range []*httptest.Server{server, provider} {
			s.CloseClientConnections()
			s.Close()
		}
	})
	settings := map[string]any{"model": "standin", "sandbox": "danger-full-access"}
	for key, value := range config {
		settings[key] = value
	}
	w.host = guesttest.New(t, hostabi.TurnRequest{Process: "p0", Session: "s1", Config: w.encode(settings)})
	w.host.Fill = map[string]string{"broker:url": server.URL + "/v1", "broker:token": token}
	w.host.Child = func(c *guesttest.Child) { w.play(c, path) }
	return w
}

func (w *world) encode(v any) json.RawMessage {
	w.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		w.Fatal(err)
	}
	return b
}

// play runs the program as the worker does: in a home of its own that goes with it.
func (w *world) play(c *guesttest.Child, path string) {
	home, err := os.MkdirTemp("", "codex-test-")
	if err != nil {
		w.Error(err)
		return
	}
	defer os.RemoveAll(home)
	cmd := exec.CommandContext(c.Context, path, c.Spec.Args...)
	cmd.Dir, cmd.Env = home, []string{"PATH=" + filepath.Dir(path) + ":/usr/bin:/bin", "HOME=" + home, "TMPDIR=" + home, "LANG=C.UTF-8"}
	cmd.Stdout, cmd.Stderr = writer(c.Stdout), writer(c.Stderr)
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		w.Error(err)
		return
	}
	go func() {
		io.Copy(in, c.Stdin)
		in.Close()
	}()
	w.mu.Lock()
	w.child, w.cmd, w.homes = c, cmd, append(w.homes, home)
	w.mu.Unlock()
	cmd.Wait()
	exit := cmd.ProcessState.ExitCode()
	if exit < 0 {
		exit = 137
	}
	c.Exit(exit)
}

// lived is the homes of the children so far.
func (w *world) lived() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.homes
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}

var _ io.Writer = writer(nil)

// say makes the session's next turn.
func (w *world) say(process, text string, more map[string]any) *guesttest.Host {
	w.Helper()
	in := map[string]any{"text": text}
	for key, value := range more {
		in[key] = value
	}
	w.host = w.host.Next(w.encode(in))
	w.host.Turn.Process = process
	return w.host
}

// outcome is what a turn finished with.
type outcome struct {
	guest.Result
	result
}

func (w *world) finish() outcome {
	w.Helper()
	r := w.host.Run(run)
	var o outcome
	if err := json.Unmarshal(r.JSON, &o); err != nil {
		w.Fatal(err)
	}
	return o
}

// asked is what the provider was told in request n from 0, as role and text of each message that is a person's or the model's.
func (w *world) asked(n int) string {
	w.Helper()
	requests := w.provider.Requests()
	if n < 0 {
		n += len(requests)
	}
	var body struct {
		Input []struct {
			Type, Role string
			Content    json.RawMessage
			Output     json.RawMessage
		}
	}
	if err := json.Unmarshal(requests[n].Body, &body); err != nil {
		w.Fatal(err)
	}
	var all []string
	for _, in := range body.Input {
		var parts []struct{ Text string }
		json.Unmarshal(in.Content, &parts)
		for _, p := range parts {
			if in.Role != "developer" && !strings.HasPrefix(p.Text, "<environment_context>") {
				all = append(all, in.Role+": "+p.Text)
			}
		}
	}
	return strings.Join(all, "|")
}

// types is the types of the turn's events, runs of the same one shortened.
func (w *world) types() string {
	var all []string
	for _, e := range w.host.Events() {
		if n := len(all); n == 0 || all[n-1] != e.Type {
			all = append(all, e.Type)
		}
	}
	return strings.Join(all, " ")
}

func TestATurnAndTheNextOne(t *testing.T) {
	w := newWorld(t, nil)
	w.say("p1", "tell me of the towpath [[fault:reasoned]]", nil)
	o := w.finish()
	if o.Status != "completed" || o.Text != "tell me of the towpath" || o.Thread == "" || o.Usage.Input == nil || *o.Usage.Reasoning != 5 {
		t.Fatalf("first turn %+v\n%s", o, strings.Join(w.host.Lines(), "\n"))
	}
	if got, want := w.types(), "turn.started reasoning.delta message.delta message usage"; got != want {
		t.Errorf("events %s\nwant   %s", got, want)
	}
	w.say("p2", "and of the canal", nil)
	if second := w.finish(); second.Status != "completed" || second.Text != "and of the canal" || second.Thread != o.Thread || second.Usage.Input == nil {
		t.Fatalf("second turn %+v\n%s", second, strings.Join(w.host.Lines(), "\n"))
	}
	if got, want := w.types(), "turn.started message.delta message usage"; got != want {
		t.Errorf("events %s\nwant   %s", got, want)
	}
	if got, want := w.asked(1), "user: tell me of the towpath [[fault:reasoned]]|assistant: tell me of the towpath|user: and of the canal"; got != want {
		t.Errorf("the provider was told\n%s\nwant\n%s", got, want)
	}
	if homes := w.lived(); len(homes) != 2 || homes[0] == homes[1] {
		t.Errorf("homes %q", homes)
	}
}
