package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/examples/standin"
	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/worker"
	"github.com/towpath/towpath/worker/turn"
)

const (
	chunks  = 1000
	streams = 8 // turns side by side

	bareBytes = 200 // of a piece
)

// overhead measures turns of a thousand pieces with the journal and without: whole ones, of a plugin that reads a
// stream over HTTP, and the bare core of a turn, where there is nothing but the journal and the events.
func overhead(ctx context.Context, o Options, s *server, emit func(Row)) error {
	if err := whole(ctx, o, s, emit); err != nil {
		return err
	}
	return bare(ctx, o, s, emit)
}

func bare(ctx context.Context, o Options, s *server, emit func(Row)) error {
	pool, err := s.open(ctx, "bare")
	if err != nil {
		return err
	}
	defer pool.Close()
	provider := answers{pieces: chunks, piece: bytes.Repeat([]byte("x"), bareBytes)}
	var nodes [2]*guests
	for i := range nodes {
		if nodes[i], err = startGuests(ctx, o, pool, provider, func(c *turn.Config) { c.NoJournal = i == 1 }); err != nil {
			return err
		}
		defer nodes[i].stop()
		nodes[i].guest = asking(1, bareBytes)
	}
	with, without, err := compare(func(i int) (time.Duration, error) {
		ids, err := nodes[i].submit(ctx, streams)
		if err != nil {
			return 0, err
		}
		took, err := nodes[i].work(ctx, ids)
		return took, errors.Join(err, nodes[i].completed(ctx, ids))
	})
	if err == nil {
		emit(Row{Name: "bare_chunks_per_s", Unit: "1/s", Value: with, Baseline: without})
	}
	return err
}

// compare makes chunks a second of rounds with the journal (0) and without (1), side by side, so that both meet the same
// machine.
func compare(round func(i int) (time.Duration, error)) (with, without float64, err error) {
	const rounds, cold = 24, 4
	var took [2][]float64
	for n := range rounds {
		for k := range took {
			i := (k + n) % 2 // what a round leaves behind, each meets as often
			d, err := round(i)
			if err != nil {
				return 0, 0, err
			}
			if n >= cold {
				took[i] = append(took[i], d.Seconds())
			}
		}
	}
	return streams * chunks / percentile(took[0], 0.5), streams * chunks / percentile(took[1], 0.5), nil
}

func whole(ctx context.Context, o Options, s *server, emit func(Row)) (err error) {
	answer, err := render(ctx)
	if err != nil {
		return err
	}
	provider := httptest.NewServer(answer)
	defer func() {
		provider.CloseClientConnections()
		provider.Close()
	}()
	const key = "DEEPSEEK_API_KEY"
	at := provider.Listener.Addr().String()
	plugins, err := onePlugin(o, s, "deepseek", "stream", permits(at, key, key, chatty(at)))
	if err != nil {
		return err
	}
	if os.Getenv(key) == "" {
		if err := os.Setenv(key, "opens-nothing"); err != nil {
			return err
		}
	}
	var pools [2]*pgxpool.Pool
	for i := range pools {
		if pools[i], err = s.open(ctx, fmt.Sprintf("stream%d", i)); err != nil {
			return err
		}
		defer pools[i].Close()
		running, cancel := context.WithCancel(ctx)
		ready, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			ended <- worker.Run(running, worker.Config{
				Pool: pools[i], NodeID: fmt.Sprintf("bench-stream-%d", i), Plugins: plugins, Cache: filepath.Join(s.dir, "cache"), Logger: o.Logger,
				Ready: func() { close(ready) }, Turns: func(c *turn.Config) { c.NoJournal = i == 1 },
			})
		}()
		defer func() { cancel(); err = errors.Join(err, <-ended) }()
		select {
		case <-ready:
		case err := <-ended:
			ended <- nil
			return fmt.Errorf("the worker did not start: %w", err)
		}
	}
	with, without, err := compare(func(i int) (took time.Duration, err error) {
		var ids []string
		if err := pools[i].QueryRow(ctx, `select array_agg(towpath.submit('deepseek', '{"text":"go"}')) from generate_series(1, $1)`, streams).Scan(&ids); err != nil {
			return 0, err
		}
		if err := settled(ctx, pools[i]); err != nil {
			return 0, err
		}
		var good, said int
		err = pools[i].QueryRow(ctx, `select count(*) filter (where status = 'completed'), max(finalized_at) - min((first_started ->> 'at')::timestamptz),
			(select count(*) from towpath.event e join towpath.process p on p.no = e.process_no where p.id = any($1) and e.type = 'message.delta')
			from towpath.process where id = any($1)`, ids).Scan(&good, &took, &said)
		if err == nil && (good != streams || said != streams*chunks) {
			err = fmt.Errorf("%d of %d turns completed and said %d pieces", good, streams, said)
		}
		return took, err
	})
	if err != nil {
		return err
	}
	emit(Row{Name: "journalled_chunks_per_s", Unit: "1/s", Value: with, Baseline: without})
	emit(Row{Name: "journal_overhead_pct", Unit: "%", Value: 100 * (1 - with/without)})
	return nil
}

func deepseek(o Options) string {
	return filepath.Join(filepath.Dir(o.Program), "plugins", "deepseek.wasm")
}

// render has the stand-in answer once, and gives that answer to everybody, event by event.
func render(ctx context.Context) (http.HandlerFunc, error) {
	ask := fmt.Sprintf(`{"model":"m","stream":true,"thinking":{"type":"disabled"},"messages":[{"role":"user","content":"token [[tokens:%d]]"}]}`, chunks)
	request := httptest.NewRequestWithContext(ctx, "POST", "/chat/completions", strings.NewReader(ask))
	once := httptest.NewRecorder()
	standin.New(standin.Options{}).ServeHTTP(once, request)
	if once.Code != http.StatusOK {
		return nil, fmt.Errorf("the stand-in answers %d: %s", once.Code, once.Body)
	}
	events := bytes.SplitAfter(once.Body.Bytes(), []byte("\n\n"))
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		for _, e := range events {
			if _, err := w.Write(e); err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
		}
	}, nil
}

const (
	recorded    = 1000
	perAsk      = 7    // calls of ask with two pieces: http_open, head, data, two events, end, close
	replayBytes = 1024 // of a piece; after less than 2 KiB at a time a stream makes a pause
)

// replay measures how soon a turn that is taken over is where it was.
func replay(ctx context.Context, o Options, s *server, emit func(Row)) error {
	pool, err := s.open(ctx, "replay")
	if err != nil {
		return err
	}
	defer pool.Close()
	died := errors.New("died")
	var live time.Time // the first live call
	g, err := startGuests(ctx, o, pool, answers{pieces: 2, piece: bytes.Repeat([]byte("x"), replayBytes)}, func(c *turn.Config) {
		c.Fault = func(p turn.Point) {
			if p.Name == turn.AtCall && live.IsZero() {
				live = time.Now()
			}
		}
	})
	if err != nil {
		return err
	}
	defer g.stop()
	var took, first []float64
	for range 12 {
		ids, err := g.submit(ctx, 1)
		if err != nil {
			return err
		}
		dies := true
		g.guest = func(ctx context.Context, h hostabi.Host) error {
			for range (recorded + perAsk - 1) / perAsk {
				if err := ask(ctx, h, replayBytes); err != nil {
					return err
				}
			}
			if dies {
				return died // the host's trouble: the turn goes back with its journal
			}
			return h.Finish(ctx, []byte(`{"status":"completed"}`))
		}
		d, err := g.work(ctx, ids)
		if err != nil {
			return err
		}
		dies, live = false, time.Time{}
		began := time.Now()
		if _, err := g.work(ctx, ids); err != nil {
			return err
		}
		if err := g.completed(ctx, ids); err != nil {
			return err
		}
		took, first = append(took, live.Sub(began).Seconds()*1000), append(first, d.Seconds()*1000)
	}
	slices.Sort(took)
	emit(Row{Name: "replay_1000_calls_ms", Unit: "ms", Value: percentile(took, 0.5), Baseline: percentile(first, 0.5)})
	return nil
}
