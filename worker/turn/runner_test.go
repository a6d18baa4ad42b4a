package turn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/queue"
	"github.com/towpath/towpath/queue/queuetest"
	"github.com/towpath/towpath/store"
)

// guest is a turn written as a Go function over the host interface: what a module does, without the sandbox.
type guest func(ctx context.Context, h hostabi.Host) error

// bench is a database, a store and one node whose only profile is p.
type bench struct {
	t      testing.TB
	pool   *pgxpool.Pool
	store  *store.Store
	runner *Runner
	guest  guest
	early  bool // guests begin before their claim is stored
	limits Limits
	redact func([]byte) []byte
	out    Outbound
	doubt  string   // in-doubt policy
	digest string   // of the module
	config []byte   // of the profile
	dead   []func() // end what doomed nodes still do
}

func newBench(t testing.TB) *bench {
	pool := queuetest.Pool(t)
	b := &bench{t: t, pool: pool, store: store.New(pool),
		limits: Limits{EventBytes: 1 << 20, EventsBytes: 64 << 20, Handles: 4, Calls: 1 << 20, Idle: time.Minute}}
	err := b.store.PutProfile(t.Context(), store.Profile{Name: "p", Digest: "d", Manifest: []byte("{}"), Limits: []byte("{}"),
		MaxAttempts: 2, TurnTimeout: time.Minute}, "n")
	if err != nil {
		t.Fatal(err)
	}
	b.runner = b.node("n")
	return b
}

// node starts a runner of its own; it stops with the test.
func (b *bench) node(name string) *Runner {
	b.t.Helper()
	r := New(Config{
		Store: b.store, Node: store.Node{ID: name, Incarnation: uuid.New()}, TTL: 30 * time.Second,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Backend: func(context.Context, string) (Backend, error) {
			if b.guest == nil {
				return Backend{}, errors.New("no plugin p here")
			}
			run := func(ctx context.Context, h hostabi.Host) error {
				if !b.early { // most of them look at what is stored
					if err := h.(*execution).confirm(); err != nil {
						return err
					}
				}
				return b.guest(ctx, h)
			}
			return Backend{Run: run, Digest: b.digest, Config: b.config, HTTP: b.out, Redact: b.redact, Limits: b.limits, InDoubt: b.doubt, Release: func() {}}, nil
		},
	})
	r.flusher.soon = flushEvery // a test says itself when something is stored before that
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	stop := func() { cancel(); <-done }
	b.t.Cleanup(stop)
	if name == "doomed" {
		b.dead = append(b.dead, stop)
	}
	return r
}

func (b *bench) submit(session string) string {
	b.t.Helper()
	id, err := b.store.Submit(b.t.Context(), store.Submission{Profile: "p", Input: []byte(`{"text":"hi"}`), Session: session})
	if err != nil {
		b.t.Fatal(err)
	}
	return id
}

// work handles the newest River job of a process, as the queue would.
func (b *bench) work(ctx context.Context, r *Runner, id string) error {
	b.t.Helper()
	p := b.process(id)
	if p.RiverJobID == nil {
		b.t.Fatalf("process %s has no River job", id)
	}
	var args json.RawMessage
	err := b.pool.QueryRow(b.t.Context(), `update river_job set state = 'running', attempt = 1, attempted_at = now() where id = $1 returning args`, *p.RiverJobID).Scan(&args)
	if err != nil {
		b.t.Fatal(err)
	}
	return r.Handle(ctx, *p.RiverJobID, args)
}

// run submits a turn, works it and returns its process.
func (b *bench) run(g guest) store.Process {
	b.t.Helper()
	b.guest = g
	id := b.submit("")
	if err := b.work(b.t.Context(), b.runner, id); err != nil {
		b.t.Fatal(err)
	}
	return b.process(id)
}

// reached waits for a guest to get somewhere, or for the turn to end before it does.
func (b *bench) reached(where <-chan struct{}, done <-chan error) {
	b.t.Helper()
	select {
	case <-where:
	case err := <-done:
		b.t.Fatalf("the turn ended early: %v", err)
	}
}

func (b *bench) process(id string) store.Process {
	b.t.Helper()
	p, err := b.store.Process(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

// log renders events as "type data", one a line.
func (b *bench) log(id string) string {
	b.t.Helper()
	events, err := b.store.Events(b.t.Context(), id, 0, 1000)
	if err != nil {
		b.t.Fatal(err)
	}
	var lines []string
	for i, e := range events {
		if e.Seq != int64(i+1) {
			b.t.Errorf("event %d has seq %d", i+1, e.Seq)
		}
		lines = append(lines, e.Type+" "+string(e.Data))
	}
	return strings.Join(lines, "\n")
}

func (b *bench) check() {
	b.t.Helper()
	var broken string
	err := b.pool.QueryRow(b.t.Context(), `select coalesce(string_agg(c::text, '; '), '') from towpath.check() c`).Scan(&broken)
	if err != nil || broken != "" {
		b.t.Errorf("check: %s %v", broken, err)
	}
}

func emit(ctx context.Context, t testing.TB, h hostabi.Host, text string) {
	if _, err := h.Emit(ctx, fmt.Appendf(nil, `{"type":"message.delta","text":%q}`, text)); err != nil {
		t.Errorf("emit: %v", err)
	}
}

func finish(ctx context.Context, h hostabi.Host) error {
	return h.Finish(ctx, []byte(`{"status":"completed","text":"done"}`))
}

func TestATurnIsStoredWhole(t *testing.T) {
	b := newBench(t)
	p := b.run(func(ctx context.Context, h hostabi.Host) error {
		var request hostabi.TurnRequest
		if err := json.Unmarshal(h.Request(), &request); err != nil {
			return err
		}
		for i := range 300 {
			emit(ctx, t, h, fmt.Sprint(i))
		}
		if err := h.KVSet(ctx, "history", []byte("one")); err != nil {
			return err
		}
		if v, err := h.KVGet(ctx, "history"); string(v) != "one" || err != nil {
			t.Errorf("kv: %q, %v", v, err)
		}
		return h.Finish(ctx, fmt.Appendf(nil, `{"status":"completed","saw":%s}`, request.Input))
	})
	if p.Status != "completed" || !strings.Contains(string(p.Outcome), `"saw": {"text": "hi"}`) {
		t.Errorf("status %s, outcome %s", p.Status, p.Outcome)
	}
	lines := strings.Split(b.log(p.ID), "\n")
	if len(lines) != 303 {
		t.Fatalf("%d events, want queued, started, 300, completed", len(lines))
	}
	for i := range 300 {
		if want := fmt.Sprintf(`message.delta {"text": "%d"}`, i); lines[i+2] != want {
			t.Fatalf("event %d is %s, want %s", i+3, lines[i+2], want)
		}
	}
	if v, err := b.store.KVGet(t.Context(), *p.Session, "history"); string(v) != "one" || err != nil {
		t.Errorf("session has %q, %v", v, err)
	}
	var state string
	if err := b.pool.QueryRow(t.Context(), "select state::text from river_job where id = $1", *p.RiverJobID).Scan(&state); err != nil || state != "completed" {
		t.Errorf("River row is %s, %v", state, err)
	}
	b.check()
}

func TestSteerReachesARunningGuest(t *testing.T) {
	b := newBench(t)
	running := make(chan struct{})
	var heard []string
	b.guest = func(ctx context.Context, h hostabi.Host) error {
		close(running)
		for range 2 {
			r, err := h.Wait(ctx, 0, -1)
			if err != nil {
				return err
			}
			var in struct{ Type, Text string }
			if err := json.Unmarshal(r.Payload, &in); err != nil || r.Kind != hostabi.KindInput {
				t.Errorf("record %v %s", r.Kind, r.Payload)
			}
			heard = append(heard, in.Type+" "+in.Text)
		}
		return finish(ctx, h)
	}
	id := b.submit("s")
	if _, err := b.store.Steer(t.Context(), id, []byte(`{"text":"before"}`), ""); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- b.work(t.Context(), b.runner, id) }()
	b.reached(running, done)
	if _, err := b.store.Steer(t.Context(), id, []byte(`{"text":"while"}`), ""); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(heard, ", "); got != "steer before, steer while" {
		t.Errorf("heard %s", got)
	}
	var phases string
	err := b.pool.QueryRow(t.Context(), "select string_agg(kind || ' ' || phase, ', ' order by seq) from towpath.input").Scan(&phases)
	if err != nil || phases != "turn consumed, steer consumed, steer consumed" {
		t.Errorf("inputs: %s, %v", phases, err)
	}
	b.check()
}

func TestALateSteerBecomesTheNextTurn(t *testing.T) {
	b := newBench(t)
	running, steered := make(chan struct{}), make(chan struct{})
	b.guest = func(ctx context.Context, h hostabi.Host) error {
		close(running)
		<-steered
		return finish(ctx, h)
	}
	id := b.submit("s")
	done := make(chan error)
	go func() { done <- b.work(t.Context(), b.runner, id) }()
	b.reached(running, done)
	if _, err := b.store.Steer(t.Context(), id, []byte(`{"text":"too late"}`), ""); err != nil {
		t.Fatal(err)
	}
	close(steered)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	live, err := b.store.ListProcesses(t.Context(), map[string]any{"session": "s"}, "", 10)
	if err != nil || len(live) != 1 {
		t.Fatalf("live turns: %v, %v", live, err)
	}
	var input string
	b.guest = func(ctx context.Context, h hostabi.Host) error {
		var r hostabi.TurnRequest
		if err := json.Unmarshal(h.Request(), &r); err != nil {
			return err
		}
		input = string(r.Input)
		return finish(ctx, h)
	}
	if err := b.work(t.Context(), b.runner, live[0].ID); err != nil {
		t.Fatal(err)
	}
	if input != `{"text": "too late"}` && input != `{"text":"too late"}` {
		t.Errorf("next turn's input is %s", input)
	}
	b.check()
}

func TestCancelOfARunningTurn(t *testing.T) {
	cases := []struct {
		name  string
		guest func(started func()) guest
		want  string
	}{
		{"a guest that hears it ends by itself", func(started func()) guest {
			return func(ctx context.Context, h hostabi.Host) error {
				started()
				r, err := h.Wait(ctx, 0, -1)
				if err != nil {
					return err
				}
				return h.Finish(ctx, fmt.Appendf(nil, `{"status":"cancelled","kind":"cancelled","half":%d}`, r.Kind))
			}
		}, `{"half": 17, "kind": "cancelled", "reason": "enough", "status": "cancelled"}`},
		{"a guest that does not is killed after the grace", func(started func()) guest {
			return func(ctx context.Context, h hostabi.Host) error {
				started()
				return h.Sleep(ctx, time.Hour)
			}
		}, `{"reason": "enough"}`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			running := make(chan struct{})
			b.guest = c.guest(func() { close(running) })
			id := b.submit("")
			done := make(chan error)
			go func() { done <- b.work(t.Context(), b.runner, id) }()
			b.reached(running, done)
			if _, err := b.store.Cancel(t.Context(), id, "enough", 300*time.Millisecond); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if p := b.process(id); p.Status != "cancelled" || string(p.Outcome) != c.want {
				t.Errorf("%s %s, want cancelled %s", p.Status, p.Outcome, c.want)
			}
			b.check()
		})
	}
}

func TestARetryableFailureIsTriedAgainAndRetracted(t *testing.T) {
	b := newBench(t)
	flaky := func(ctx context.Context, h hostabi.Host) error {
		emit(ctx, t, h, "half")
		return h.Finish(ctx, []byte(`{"status":"failed","kind":"truncated","retryable":true,"message":"cut"}`))
	}
	p := b.run(flaky)
	if p.Status != "backoff" || p.NextAttemptAt == nil {
		t.Fatalf("after the first attempt: %s", p.Status)
	}
	if err := b.work(t.Context(), b.runner, p.ID); err != nil {
		t.Fatal(err)
	}
	p = b.process(p.ID)
	if p.Status != "failed" || *p.FailureKind != "truncated" {
		t.Errorf("after the budget of 2: %s %v", p.Status, p.FailureKind)
	}
	log := b.log(p.ID)
	if !strings.Contains(log, `process.retracted {"to_seq": 4, "attempt": 1, "from_seq": 3}`) {
		t.Errorf("the first half is not taken back:\n%s", log)
	}
	b.check()
}

func TestTheHostsTroubleIsNoFailure(t *testing.T) {
	b := newBench(t)
	p := b.run(nil)
	if p.Status != "backoff" || !strings.Contains(b.log(p.ID), "no plugin p here") {
		t.Errorf("a node without the plugin: %s\n%s", p.Status, b.log(p.ID))
	}
	for range 2 {
		p = b.run(func(context.Context, hostabi.Host) error { return errors.New("disk on fire") })
		if p.Status != "backoff" {
			t.Fatalf("host error: %s", p.Status)
		}
	}
	if err := b.work(t.Context(), b.runner, p.ID); err != nil {
		t.Fatal(err)
	}
	if p = b.process(p.ID); p.Status != "abandoned" {
		t.Errorf("host error beyond the budget: %s, want abandoned", p.Status)
	}
	b.check()
}

func TestAStoppingWorkerGivesTurnsBackWithoutCost(t *testing.T) {
	b := newBench(t)
	running := make(chan struct{}, 1)
	b.guest = func(ctx context.Context, h hostabi.Host) error {
		emit(ctx, t, h, "half")
		running <- struct{}{}
		return h.Sleep(ctx, time.Hour)
	}
	id := b.submit("")
	for range 5 { // more often than the budget of 2
		ctx, stop := context.WithCancelCause(t.Context())
		done := make(chan error)
		go func() { done <- b.work(ctx, b.runner, id) }()
		b.reached(running, done)
		stop(queue.ErrStopping)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	b.guest = func(ctx context.Context, h hostabi.Host) error { emit(ctx, t, h, "half"); return finish(ctx, h) }
	if err := b.work(t.Context(), b.runner, id); err != nil {
		t.Fatal(err)
	}
	if p := b.process(id); p.Status != "completed" || p.Attempt != 6 {
		t.Errorf("%s after %d attempts", p.Status, p.Attempt)
	}
	if log := b.log(id); strings.Count(log, "message.delta") != 1 || strings.Contains(log, "retracted") {
		t.Errorf("the turn did not go on where it was:\n%s", log)
	}
	b.check()
}

// feature: D62
func TestWhoLostTheLeaseWritesNothing(t *testing.T) {
	b := newBench(t)
	running, taken := make(chan struct{}), make(chan struct{})
	b.guest = func(ctx context.Context, h hostabi.Host) error {
		emit(ctx, t, h, "mine")
		if err := h.(*execution).sync(ctx); err != nil { // a flush that is on its way would renew the lease
			return err
		}
		close(running)
		<-taken
		emit(ctx, t, h, "zombie")
		return finish(ctx, h)
	}
	id := b.submit("")
	done := make(chan error)
	go func() { done <- b.work(t.Context(), b.runner, id) }()
	b.reached(running, done)
	// The lease lapses and another node takes the turn.
	if _, err := b.pool.Exec(t.Context(), "update towpath.lease set expires_at = towpath.now() - interval '1 second'"); err != nil {
		t.Fatal(err)
	}
	other := b.node("other")
	b.guest = func(ctx context.Context, h hostabi.Host) error {
		emit(ctx, t, h, "mine")
		emit(ctx, t, h, "theirs")
		return finish(ctx, h)
	}
	if err := b.work(t.Context(), other, id); err != nil {
		t.Fatal(err)
	}
	before := b.log(id)
	close(taken)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if after := b.log(id); after != before || strings.Contains(after, "zombie") {
		t.Errorf("the old owner wrote:\n%s", after)
	}
	if p := b.process(id); p.Status != "completed" {
		t.Errorf("status %s", p.Status)
	}
	b.check()
}

func TestAnOutageLosesNothing(t *testing.T) {
	b := newBench(t)
	p := b.run(func(ctx context.Context, h hostabi.Host) error {
		for i := range 20 {
			emit(ctx, t, h, fmt.Sprint(i))
			if i%5 == 0 {
				// Every connection but the administrator's own dies, the listener's too.
				conn, err := pgxpool.New(ctx, b.pool.Config().ConnString())
				if err != nil {
					return err
				}
				_, err = conn.Exec(ctx, "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
				conn.Close()
				if err != nil {
					return err
				}
			}
		}
		return finish(ctx, h)
	})
	if p.Status != "completed" || strings.Count(b.log(p.ID), "message.delta") != 20 {
		t.Errorf("%s:\n%s", p.Status, b.log(p.ID))
	}
	b.check()
}

func TestARefusedEventEndsItsOwnTurnOnly(t *testing.T) {
	b := newBench(t)
	var started sync.WaitGroup
	started.Add(2)
	good := func(ctx context.Context, h hostabi.Host) error {
		emit(ctx, t, h, "fine")
		started.Done()
		started.Wait()
		return finish(ctx, h)
	}
	bad := func(ctx context.Context, h hostabi.Host) error {
		// More digits than the server's numbers have.
		long := `{"type":"long","v":` + strings.Repeat("9", 140_000) + `}`
		if _, err := h.Emit(ctx, []byte(long)); err != nil {
			return err
		}
		started.Done()
		started.Wait()
		return h.Sleep(ctx, time.Hour)
	}
	first, second := b.submit(""), b.submit("")
	var both sync.WaitGroup
	b.guest = func(ctx context.Context, h hostabi.Host) error {
		if strings.Contains(string(h.Request()), first) {
			return good(ctx, h)
		}
		return bad(ctx, h)
	}
	for _, id := range []string{first, second} {
		both.Go(func() {
			if err := b.work(t.Context(), b.runner, id); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	if p := b.process(first); p.Status != "completed" {
		t.Errorf("the innocent turn is %s", p.Status)
	}
	if p := b.process(second); p.Status != "failed" || *p.FailureKind != "event" {
		t.Errorf("the guilty turn is %s %s", p.Status, p.Outcome)
	}
	b.check()
}

func TestALeaseThatNobodyExecutesLapses(t *testing.T) {
	b := newBench(t)
	id := b.submit("")
	p := b.process(id)
	c, err := b.store.Claim(t.Context(), b.runner.Node, *p.RiverJobID, fmt.Appendf(nil, `{"process_id":%q,"generation":1}`, id), time.Minute)
	if err != nil || c.Action != store.ActionRun {
		t.Fatalf("claim: %+v, %v", c, err)
	}
	held, err := b.store.RenewOnly(t.Context(), b.runner.Node, time.Minute, numbers(b.runner.executions()))
	if err != nil || len(held) != 0 {
		t.Errorf("the node that executes nothing renewed %v, %v", held, err)
	}
	if held, err = b.store.RenewOnly(t.Context(), b.runner.Node, time.Minute, []int64{*c.No}); err != nil || held[*c.No] != *c.Fence {
		t.Errorf("the node that executes it renewed %v, %v", held, err)
	}
}
