package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker/turn"
)

// journal is the suite journal: what it costs that turns survive their workers. The guests are functions of this
// program and the provider is one too, so that nothing but the journal stands between a call and its baseline.
func journal(ctx context.Context, o Options, emit func(Row)) (err error) {
	s, err := startServer(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	for _, part := range []func(context.Context, Options, *server, func(Row)) error{durableCalls, overhead, replay} {
		if err := part(ctx, o, s, emit); err != nil {
			return err
		}
	}
	return takeover(ctx, o, emit)
}

// guests runs turns whose plugin is a Go function, on a node that has nothing else.
type guests struct {
	pool   *pgxpool.Pool
	store  *store.Store
	runner *turn.Runner
	guest  func(context.Context, hostabi.Host) error
	stop   func()
}

func startGuests(ctx context.Context, o Options, pool *pgxpool.Pool, out turn.Outbound, change func(*turn.Config)) (*guests, error) {
	g := &guests{pool: pool, store: store.New(pool)}
	err := g.store.PutProfile(ctx, store.Profile{Name: "journal", Digest: "d", Manifest: []byte("{}"), Limits: []byte("{}"), MaxAttempts: 3, TurnTimeout: time.Hour}, "bench")
	if err != nil {
		return nil, err
	}
	c := turn.Config{
		Store: g.store, Node: store.Node{ID: "bench-" + uuid.NewString(), Incarnation: uuid.New()}, TTL: time.Minute, Logger: o.Logger,
		Backend: func(context.Context, string) (turn.Backend, error) {
			return turn.Backend{Run: g.guest, Digest: "d", HTTP: out, InDoubt: "retry", Release: func() {},
				Limits: turn.Limits{EventBytes: 1 << 20, EventsBytes: 1 << 30, Handles: 16, Calls: 1 << 30, Idle: time.Minute}}, nil
		},
	}
	change(&c)
	g.runner = turn.New(c)
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() { defer close(done); g.runner.Run(running) }()
	g.stop = func() { cancel(); <-done }
	return g, nil
}

// submit makes turns and returns their ids.
func (g *guests) submit(ctx context.Context, n int) (ids []string, err error) {
	list := make([]store.Submission, n)
	for i := range list {
		list[i] = store.Submission{Profile: "journal", Input: []byte("{}")}
	}
	return g.store.SubmitMany(ctx, list)
}

// work executes turns side by side, as the queue would, and reports how long that took.
func (g *guests) work(ctx context.Context, ids []string) (time.Duration, error) {
	type job struct {
		ID   int64
		Args json.RawMessage
	}
	jobs := make([]job, len(ids))
	for i, id := range ids {
		err := g.pool.QueryRow(ctx, `update river_job j set state = 'running', attempt = 1, attempted_at = now() from towpath.process p
			where p.id = $1 and j.id = p.river_job_id returning j.id, j.args`, id).Scan(&jobs[i].ID, &jobs[i].Args)
		if err != nil {
			return 0, err
		}
	}
	errs := make([]error, len(ids))
	began := time.Now()
	var working sync.WaitGroup
	for i, j := range jobs {
		working.Go(func() { errs[i] = g.runner.Handle(ctx, j.ID, j.Args) })
	}
	working.Wait()
	return time.Since(began), errors.Join(errs...)
}

// completed checks that turns did what they should.
func (g *guests) completed(ctx context.Context, ids []string) error {
	var bad string
	err := g.pool.QueryRow(ctx, "select coalesce(string_agg(distinct status || ' ' || outcome::text, '; '), '') from towpath.process where id = any($1) and status <> 'completed'", ids).Scan(&bad)
	if err == nil && bad != "" {
		err = errors.New("turns did not complete: " + bad)
	}
	return err
}

// answers is a provider that gives every request the same pieces at once.
type answers struct {
	pieces int
	piece  []byte
}

func (a answers) Open(context.Context, hostabi.HTTPHead, []byte, http.Header) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(&pieces{a, 0})}, nil
}

// pieces is a body that has come whole: a read gives as many pieces as there is room for.
type pieces struct {
	answers
	given int
}

func (p *pieces) Read(b []byte) (n int, err error) {
	for ; p.given < p.pieces && len(b)-n >= len(p.piece); p.given++ {
		n += copy(b[n:], p.piece)
	}
	if n == 0 {
		err = io.EOF
	}
	return n, err
}

var head = []byte(`{"method":"POST","url":"https://provider.example/"}`)

// ask makes a request and reads its answer to the end, saying every piece of it.
func ask(ctx context.Context, h hostabi.Host, piece int) error {
	handle, err := h.HTTPOpen(ctx, head, []byte("what is the weather like?"))
	if err != nil {
		return err
	}
	for {
		r, err := h.Wait(ctx, handle, -1)
		if err != nil {
			return err
		}
		switch r.Kind {
		case hostabi.KindData:
			for p := range slices.Chunk(r.Payload, piece) {
				if _, err := h.Emit(ctx, []byte(`{"type":"message.delta","text":"`+string(p[:5])+`"}`)); err != nil {
					return err
				}
			}
		case hostabi.KindEnd:
			return h.Close(ctx, handle)
		case hostabi.KindFailed:
			return fmt.Errorf("the provider failed: %s", r.Payload)
		}
	}
}

func asking(n, piece int) func(context.Context, hostabi.Host) error {
	return func(ctx context.Context, h hostabi.Host) error {
		for range n {
			if err := ask(ctx, h, piece); err != nil {
				return err
			}
		}
		return h.Finish(ctx, []byte(`{"status":"completed"}`))
	}
}

// durableCalls measures outside calls, each with its intent and its outcome on record.
func durableCalls(ctx context.Context, o Options, s *server, emit func(Row)) error {
	pool, err := s.open(ctx, "calls")
	if err != nil {
		return err
	}
	defer pool.Close()
	g, err := startGuests(ctx, o, pool, answers{}, func(*turn.Config) {})
	if err != nil {
		return err
	}
	defer g.stop()
	for _, c := range []struct {
		name                  string
		turns, calls, clients int
		rounds                int
		span                  time.Duration // of the inserts of a round
	}{
		{"durable_calls_per_s", 64, 100, 8, 6, time.Second},
		// A disk has moods of seconds, and a chain feels each of its commits: many short rounds.
		{"serial_chain_calls_per_s", 1, 300, 1, 21, 200 * time.Millisecond},
	} {
		var rates, base []float64
		for round := range c.rounds {
			g.guest = asking(c.calls, 1)
			ids, err := g.submit(ctx, c.turns)
			if err != nil {
				return err
			}
			took, err := g.work(ctx, ids)
			if err == nil {
				err = g.completed(ctx, ids)
			}
			if err != nil {
				return err
			}
			// In turns, so that both meet the same machine.
			b, err := inserts(ctx, pool, c.clients, c.span)
			if err != nil {
				return err
			}
			if round > 0 { // the first fills caches and prepares statements
				rates, base = append(rates, float64(c.turns*c.calls)/took.Seconds()), append(base, b)
			}
		}
		emit(Row{Name: c.name, Unit: "1/s", Value: percentile(rates, 0.5), Baseline: percentile(base, 0.5)})
	}
	return nil
}

// inserts measures single rows a second, each in a commit of its own, for a while.
func inserts(ctx context.Context, pool *pgxpool.Pool, clients int, span time.Duration) (float64, error) {
	if _, err := pool.Exec(ctx, "create table if not exists plain (id bigint generated always as identity primary key, data bytea)"); err != nil {
		return 0, err
	}
	counts, errs := make([]int, clients), make([]error, clients)
	var working sync.WaitGroup
	began := time.Now()
	for i := range clients {
		working.Go(func() {
			for time.Since(began) < span && errs[i] == nil {
				_, errs[i] = pool.Exec(ctx, "insert into plain (data) values ($1)", head)
				counts[i]++
			}
		})
	}
	working.Wait()
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return float64(sum) / time.Since(began).Seconds(), errors.Join(errs...)
}
