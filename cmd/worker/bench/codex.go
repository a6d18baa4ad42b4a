package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/store"
)

// codexTurns is how many turns each side makes, after one that fills caches.
const codexTurns = 15

// codexPause is between two turns of either side, so that none pays for what the one before has left to do.
const codexPause = time.Second

// codexAdded measures what we add to the time to the first piece of an answer of codex.
func codexAdded(ctx context.Context, o Options, s *server, emit func(Row)) (err error) {
	if o.Codex == "" {
		emit(Row{Name: "codex_added_first_answer_ms", Missing: "no codex: npm install -g @openai/codex@0.169.0, or --codex"})
		return nil
	}
	n, err := startBefore(ctx, o, s, "codex", "codex", http.HandlerFunc(respond), func(provider string) string {
		return permits(provider, "OPENAI_API_KEY", "BENCH_KEY", fmt.Sprintf(codexPermits, provider, o.Codex))
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	provider := httptest.NewServer(http.HandlerFunc(respond))
	defer provider.Close()
	defer provider.CloseClientConnections()
	// A reader's connection is used up by its listening; who submits keeps one that is warm, as a client does.
	readers, err := store.Open(ctx, n.dsn, false)
	if err != nil {
		return err
	}
	defer readers.Close()
	var ours, byHand []float64
	for i := range codexTurns + 1 {
		if err := pause(ctx, codexPause); err != nil {
			return err
		}
		a, err := n.firstAnswer(ctx, readers)
		if err != nil {
			return fmt.Errorf("a turn of codex: %w", err)
		}
		if err := pause(ctx, codexPause); err != nil {
			return err
		}
		b, err := firstByHand(ctx, o.Codex, provider.URL+"/v1")
		if err != nil {
			return fmt.Errorf("codex by hand: %w", err)
		}
		if i > 0 {
			ours, byHand = append(ours, a), append(byHand, b)
		}
	}
	mine, theirs := percentile(ours, 0.5), percentile(byHand, 0.5)
	emit(Row{Name: "codex_first_answer_ms", Unit: "ms", Value: mine, Baseline: theirs})
	emit(Row{Name: "codex_added_first_answer_ms", Unit: "ms", Value: mine - theirs})
	return nil
}

// codexPermits are what else a profile of codex needs.
const codexPermits = `[[proc]]
name = "codex"
command = "%[2]s"
args = ["app-server", "--listen", "stdio://", "*"]

[proc.broker]
url = "http://%[1]s/v1"
secret = "OPENAI_API_KEY"

[limits]
memory_mb = 256

[config]
model = "bench"
`

// firstAnswer is how long after its submission a turn's first piece is with a reader, in milliseconds.
func (n *paced) firstAnswer(ctx context.Context, readers *pgxpool.Pool) (ms float64, err error) {
	began := time.Now()
	ids, err := n.submit(ctx, 1)
	if err != nil {
		return 0, err
	}
	said := false
	err = store.New(readers).Follow(ctx, ids[0], 0, time.Second, true, func(e store.Event) error {
		if e.Type == "message.delta" && !said {
			said, ms = true, sinceMS(began)
		}
		return nil
	})
	if err == nil && !said {
		err = errors.New("it said nothing")
	}
	return ms, err
}

func sinceMS(t time.Time) float64 { return float64(time.Since(t).Microseconds()) / 1000 }

// firstByHand starts codex as the worker does, in a home of its own, has it make one turn, and says when its first piece came.
func firstByHand(ctx context.Context, program, provider string) (ms float64, err error) {
	began := time.Now()
	home, err := os.MkdirTemp("", "towpath-codex-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(home)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "app-server", "--listen", "stdio://", "--disable", "plugins", "--disable", "unbounded_connection_retries",
		"-c", "analytics.enabled=false", "-c", "check_for_update_on_startup=false", "-c", `otel.exporter="none"`, "-c", `shell_environment_policy.inherit="core"`)
	cmd.Dir = home
	cmd.Env = []string{"PATH=" + filepath.Dir(program) + ":/usr/local/bin:/usr/bin:/bin", "HOME=" + home, "TMPDIR=" + home, "LANG=C.UTF-8"}
	in, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() {
		in.Close()
		_, _ = io.Copy(io.Discard, out)
		err = errors.Join(err, cmd.Wait())
	}()
	fmt.Fprintln(in, `{"id":1,"method":"initialize","params":{"clientInfo":{"name":"bench","title":"bench","version":"1"},"capabilities":{"experimentalApi":true,"requestAttestation":false}}}`)
	fmt.Fprintln(in, `{"method":"initialized"}`)
	fmt.Fprintf(in, `{"id":2,"method":"thread/start","params":{"model":"bench","modelProvider":"p","approvalPolicy":"never","sandbox":"workspace-write","experimentalRawEvents":true,"config":{"model_providers.p":{"name":"p","base_url":%q,"wire_api":"responses","experimental_bearer_token":"opens-nothing","request_max_retries":0,"stream_max_retries":0,"supports_websockets":false}}}}`+"\n", provider)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var m struct {
			ID     int             `json:"id"`
			Method string          `json:"method"`
			Error  json.RawMessage `json:"error"`
			Result struct {
				Thread struct {
					ID string `json:"id"`
				} `json:"thread"`
			} `json:"result"`
		}
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return 0, err
		}
		switch {
		case m.ID > 0 && m.Method == "" && m.Error != nil:
			return 0, fmt.Errorf("it refused: %s", m.Error)
		case m.ID == 2 && m.Method == "":
			fmt.Fprintf(in, `{"id":3,"method":"turn/start","params":{"threadId":%q,"input":[{"type":"text","text":"go","text_elements":[]}]}}`+"\n", m.Result.Thread.ID)
		case m.Method == "item/agentMessage/delta":
			ms = sinceMS(began)
		case m.Method == "turn/completed":
			if ms == 0 {
				return 0, errors.New("it said nothing")
			}
			return ms, nil
		}
	}
	return 0, fmt.Errorf("it ended: %w", errors.Join(lines.Err(), io.ErrUnexpectedEOF))
}

// respond is a provider of the Responses API that answers at once, with one piece.
func respond(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "text/event-stream")
	for _, e := range []struct{ kind, data string }{
		{"response.created", `"response":{"id":"r","object":"response","status":"in_progress","model":"bench"}`},
		{"response.output_item.added", `"output_index":0,"item":{"type":"message","id":"m","role":"assistant","status":"in_progress","content":[]}`},
		{"response.output_text.delta", `"item_id":"m","output_index":0,"content_index":0,"delta":"gone"`},
		{"response.output_item.done", `"output_index":0,"item":{"type":"message","id":"m","role":"assistant","status":"completed","content":[{"type":"output_text","text":"gone","annotations":[]}]}`},
		{"response.completed", `"response":{"id":"r","object":"response","status":"completed","usage":{"input_tokens":1,"input_tokens_details":{"cached_tokens":0},"output_tokens":1,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":2}}`},
	} {
		_, _ = fmt.Fprintf(w, "event: %s\ndata: {\"type\":%q,%s}\n\n", e.kind, e.kind, e.data)
	}
}
