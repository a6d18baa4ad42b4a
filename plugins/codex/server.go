package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/jsonrpc"
)

// arguments of the child. The worker owns retries; codex looks up nobody but the provider.
var arguments = []string{
	"app-server", "--listen", "stdio://",
	"--disable", "plugins", "--disable", "unbounded_connection_retries",
	"-c", "analytics.enabled=false", "-c", "check_for_update_on_startup=false", "-c", `otel.exporter="none"`,
	"-c", `shell_environment_policy.inherit="core"`,
}

// maxLine bounds a message of codex, and with it a thread's file: it comes as base64 in one.
const maxLine = 16 << 20

// server is a running app-server.
type server struct {
	*jsonrpc.Conn
	proc  *guest.Proc
	end   context.CancelFunc // of the child
	ended chan struct{}      // closed when nothing more comes
	home  string             // CODEX_HOME

	refusal refusal // the newest of the broker; no more than one request is on its way
}

// start starts the child and begins the handshake, without waiting for it.
func (c *conversation) start(ctx context.Context) (*server, func(context.Context) error, error) {
	s := &server{ended: make(chan struct{})}
	ctx, s.end = context.WithCancel(ctx)
	proc, err := c.turn.Start(ctx, guest.Command{Name: "codex", Args: arguments, RetryOf: c.lost, Heard: func(status int, h guest.Header) {
		s.refusal = refusal{status, guest.RetryAfter(h, time.Now()), h.Get("x-towpath-broker")}
	}})
	if err != nil {
		s.end()
		return nil, nil, err
	}
	s.proc, s.Conn = proc, jsonrpc.New(proc, proc)
	s.MaxLine = maxLine
	s.Notes = func(method string) bool { _, known := notes[method]; return known }
	s.Strange = func(m *jsonrpc.Malformed) { c.turn.Log.Warn("codex wrote what is no message", "line", string(m.Line)) }
	go func() {
		defer close(s.ended)
		_ = s.Run() // who waits for something is told
	}()
	hello := map[string]any{
		"clientInfo":   map[string]any{"name": "towpath", "title": "Towpath", "version": manifest.Version},
		"capabilities": map[string]any{"experimentalApi": true, "requestAttestation": false},
	}
	greeted := s.Send("initialize", hello, nil)
	notified := s.Notify("initialized", nil)
	return s, func(ctx context.Context) error {
		var welcome struct {
			UserAgent string `json:"userAgent"`
			CodexHome string `json:"codexHome"`
		}
		if err := greeted(ctx, &welcome); err != nil {
			return err // one that has ended says how; the note found it gone, at most
		}
		if notified != nil {
			return notified
		}
		if !strings.Contains(welcome.UserAgent, "/"+version+" ") {
			return guest.Fail(guest.KindInvalid, "this plugin speaks to codex %s, not to %.60q: npm install @openai/codex@%s", version, welcome.UserAgent, version)
		}
		s.home = welcome.CodexHome
		return nil
	}, nil
}

// stop ends the child.
func (s *server) stop() {
	s.end()
	<-s.ended
}

// provider is the configuration of the thread's provider: the broker of this child. It goes into no file.
func (c *conversation) provider() string {
	return fmt.Sprintf(`{"model_providers.towpath":{"name":"towpath","base_url":"{{broker:url}}","wire_api":"responses",`+
		`"experimental_bearer_token":"{{broker:token}}","request_max_retries":0,"stream_max_retries":0,"stream_idle_timeout_ms":%d,`+
		`"supports_websockets":false}}`, time.Duration(c.settings.StreamIdle).Milliseconds())
}

// fill sends a request whose params gain the configuration of the provider. Nothing else in it is filled: a pair of
// braces that somebody wrote becomes two escapes, which mean the same in JSON.
func (s *server) fill(method string, params map[string]any, config string) (wait func(context.Context, any) error) {
	params["config"] = json.RawMessage(`"@config@"`)
	return s.Send(method, params, func(line []byte) error {
		before, after, _ := bytes.Cut(line, []byte(`"config":"@config@"`))
		var filled []byte
		filled = append(filled, bytes.ReplaceAll(before, []byte("{{"), []byte(`\u007b\u007b`))...)
		filled = append(filled, `"config":`+config...)
		filled = append(filled, bytes.ReplaceAll(after, []byte("{{"), []byte(`\u007b\u007b`))...)
		return s.proc.Fill(filled)
	})
}
