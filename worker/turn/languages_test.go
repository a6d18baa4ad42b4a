package turn

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/engine"
)

// teller answers every request with the same lines, in pieces that end within them, and counts.
type teller struct {
	mu    sync.Mutex
	calls int
	keys  map[string]int
}

func (p *teller) Open(_ context.Context, _ hostabi.HTTPHead, body []byte, own http.Header) (*http.Response, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	p.keys[own.Get("Idempotency-Key")]++
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(io.MultiReader(
		strings.NewReader("one\ntw"), strings.NewReader("o\n"), bytes.NewReader(body), strings.NewReader("\nend\n")))}, nil
}

// A plugin of every language goes on in a new instance wherever its node dies, and says the same in the end: the plugin
// stream of examples/02-languages, which is a turn of one exchange.
func TestATurnOfEveryLanguageGoesOnWhereverItsWorkerDied(t *testing.T) {
	if os.Getenv("TOWPATH_TEST_LANGUAGES") == "" {
		t.Skip("needs compilers of C, Rust and AssemblyScript: make languages")
	}
	dir := t.TempDir()
	if out, err := exec.Command("../../examples/02-languages/build.sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("build.sh: %v\n%s", err, out)
	}
	eng, err := engine.New(t.Context(), engine.Config{Seed: []byte("test"), LoadInProcess: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close(context.Background())
	b := newBench(t)
	b.config = []byte(`{"url":"https://provider/"}`)
	p := &teller{}
	b.out = p
	transcripts := map[string]bool{}
	for _, language := range []string{"go", "c", "rust", "assemblyscript"} {
		wasm, err := os.ReadFile(filepath.Join(dir, language+"-stream.wasm"))
		if err != nil {
			t.Fatal(err)
		}
		m, err := eng.Load(t.Context(), wasm, engine.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		b.t = t
		counted := &mortal{}
		b.guest = func(ctx context.Context, h hostabi.Host) error { counted.Host = h; return m.Run(ctx, counted) }
		p.calls, p.keys = 0, map[string]int{}
		whole := b.submitted(language)
		if err := b.work(t.Context(), b.runner, whole); err != nil {
			t.Fatal(err)
		}
		want, _ := b.transcript(whole)
		if s := b.process(whole); s.Status != "completed" || p.calls != 1 {
			t.Fatalf("%s undisturbed: %s %s, %d calls", language, s.Status, s.Outcome, p.calls)
		}
		transcripts[want] = true

		for at := 1; at <= counted.calls; at++ {
			for _, flushed := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s call %d flushed %t", language, at, flushed), func(t *testing.T) {
					b.t = t
					p.calls, p.keys = 0, map[string]int{}
					id := b.submitted(fmt.Sprintf("%s%d%t", language, at, flushed))
					ctx, die := context.WithCancelCause(t.Context())
					b.guest = func(ctx context.Context, h hostabi.Host) error {
						return m.Run(ctx, &mortal{Host: h, at: at, die: func() {
							if flushed {
								if err := h.(*execution).sync(ctx); err != nil {
									t.Error(err)
								}
							}
							die(errLost)
						}})
					}
					if err := b.work(ctx, b.node("doomed"), id); err != nil {
						t.Fatal(err)
					}
					for b.process(id).Status == "running" { // a sweep passes over what the dead node's last statement still locks
						b.lapse()
					}
					b.guest = m.Run
					if err := b.work(t.Context(), b.runner, id); err != nil {
						t.Fatal(err)
					}
					if s := b.process(id); s.Status != "completed" {
						t.Fatalf("%s %s\n%s", s.Status, s.Outcome, b.log(id))
					}
					got, reissued := b.transcript(id)
					if got != want {
						t.Errorf("transcript\n%s\nwant\n%s\nlog\n%s", got, want, b.log(id))
					}
					if p.calls > 1+reissued || len(p.keys) != 1 {
						t.Errorf("%d calls with %d keys, %d reported as made again\n%s", p.calls, len(p.keys), reissued, b.log(id))
					}
					b.check()
				})
			}
		}
	}
	if len(transcripts) != 1 {
		t.Errorf("the languages say different things: %v", transcripts)
	}
}
