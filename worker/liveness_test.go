package worker

import (
	"context"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/towpath/towpath/queue/queuetest"
	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/store/embedded/pgtest"
)

func TestMain(m *testing.M) {
	code := pgtest.Main(m)
	if code == 0 {
		if err := goleak.Find(); err != nil {
			println(err.Error())
			code = 1
		}
	}
	os.Exit(code)
}

// ring is a database with nodes that only live and watch.
type ring struct {
	t     *testing.T
	store *store.Store
	exec  func(sql string, args ...any)
	one   func(sql string, args ...any) string
	nodes []*liveness
}

func newRing(t *testing.T) *ring {
	pool := queuetest.Pool(t)
	r := &ring{t: t, store: store.New(pool)}
	r.exec = func(sql string, args ...any) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	r.one = func(sql string, args ...any) string {
		t.Helper()
		var s string
		if err := pool.QueryRow(t.Context(), sql, args...).Scan(&s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	// The server of a test has started a moment ago: long past, for the clock that decides.
	r.exec("insert into towpath.clock (shift) values ('1 hour')")
	if err := r.store.PutProfile(t.Context(), store.Profile{Name: "p", Digest: "d", Manifest: []byte("{}"), Limits: []byte("{}"),
		MaxAttempts: 3, TurnTimeout: time.Minute}, "n"); err != nil {
		t.Fatal(err)
	}
	return r
}

// start makes a node live. kill ends its connections without a word, as kill -9 does.
func (r *ring) start(id string) (node store.Node, kill func()) {
	r.t.Helper()
	node = store.Node{ID: id, Incarnation: uuid.New()}
	if _, err := r.store.StartNode(r.t.Context(), node, "v", "h", 1, []string{"turns"}); err != nil {
		r.t.Fatal(err)
	}
	l := newLiveness(r.store, node, 30*time.Second, slog.New(slog.NewTextHandler(io.Discard, nil)))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); l.run(ctx) }()
	stopped := false
	kill = func() {
		if !stopped {
			stopped = true
			cancel()
			<-done
		}
	}
	r.t.Cleanup(kill)
	r.wait("select count(*)::text from towpath.node where id = '"+id+"' and lock_key is not null", "1")
	r.nodes = append(r.nodes, l)
	for _, l := range r.nodes { // as the control channel does
		l.nodeJoined(r.t.Context())
	}
	return node, kill
}

// wait asks the database until it answers as wanted.
func (r *ring) wait(sql, want string) {
	r.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		got := r.one(sql)
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: %s, want %s", sql, got, want)
		}
		time.Sleep(5 * time.Millisecond) // the database has no signal for what it waits for
	}
}

// lease submits a turn and has a node claim it.
func (r *ring) lease(node store.Node) string {
	r.t.Helper()
	id, err := r.store.Submit(r.t.Context(), store.Submission{Profile: "p", Input: []byte("{}")})
	if err != nil {
		r.t.Fatal(err)
	}
	p, err := r.store.Process(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	args := r.one("select args::text from river_job where id = $1", *p.RiverJobID)
	c, err := r.store.Claim(r.t.Context(), node, *p.RiverJobID, []byte(args), 30*time.Second)
	if err != nil || c.Action != store.ActionRun {
		r.t.Fatalf("claim: %v %v", c, err)
	}
	return id
}

const watching = "select count(*)::text from pg_locks where locktype = 'advisory' and not granted"

func TestAPeerTakesOverFromADeadNode(t *testing.T) {
	r := newRing(t)
	r.start("a")
	b, kill := r.start("b")
	c, _ := r.start("c")
	r.wait(watching, "3")
	dead, alive := r.lease(b), r.lease(c)
	kill()
	r.wait("select status from towpath.processes where id = '"+dead+"'", "queued")
	if got := r.one("select status || attempt from towpath.processes where id = $1", alive); got != "running1" {
		t.Errorf("the living node's turn is %s", got)
	}
	if got := r.one("select generation::text from towpath.processes where id = $1", dead); got != "2" {
		t.Errorf("generation %s, want a new River job", got)
	}
	// The ring closes: whoever is left watches the other.
	r.wait(watching, "2")
}

// A node that died waits on for its peer's lock: the server does not notice that nobody is there to hear the answer.
func TestADeadWatcherTakesNoNoticeToItsGrave(t *testing.T) {
	r := newRing(t)
	r.start("a")
	b, kill := r.start("b")
	r.wait(watching, "2")
	ghost, err := r.store.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unheard := make(chan store.Peer, 1)
	go func() {
		defer close(unheard)
		defer ghost.Close(context.Background())
		peer, err := store.Watch(t.Context(), ghost, store.Node{ID: "aa"}, 30*time.Second)
		if err != nil {
			t.Error(err)
		}
		unheard <- peer
	}()
	r.wait(watching, "3")
	// The living watcher asks anew, so that the dead one is first in line.
	r.nodes[0].nodeJoined(t.Context())
	id := r.lease(b)
	kill()
	if peer := <-unheard; peer.State != store.PeerLost {
		t.Errorf("the dead watcher was told %+v", peer)
	}
	r.wait("select status from towpath.processes where id = '"+id+"'", "queued")
	r.wait("select (stopped_at is not null)::text from towpath.node where id = 'b'", "true")
}

// A client that says something to a turn locks it for a moment: the very moment in which its node dies.
func TestALockedTurnIsTakenOverAMomentLater(t *testing.T) {
	r := newRing(t)
	r.start("a")
	b, kill := r.start("b")
	r.wait(watching, "2")
	id := r.lease(b)
	client, err := r.store.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close(context.Background())
	for _, sql := range []string{"begin", "select towpath.steer('" + id + "', '{\"text\":\"x\"}')"} {
		if _, err := client.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	kill()
	// The watcher has seen it: nobody waits for a lock any more.
	r.wait(watching, "0")
	if _, err := client.Exec(t.Context(), "commit"); err != nil {
		t.Fatal(err)
	}
	r.wait("select status from towpath.processes where id = '"+id+"'", "queued")
	r.wait("select (stopped_at is not null)::text from towpath.node where id = 'b'", "true")
}

func TestANodeThatLosesItsConnectionTakesItsLockAgain(t *testing.T) {
	r := newRing(t)
	a, _ := r.start("a")
	id := r.lease(a)
	r.exec("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted and objsubid = 1 and pid <> pg_backend_pid()")
	r.wait("select count(*)::text from pg_locks where locktype = 'advisory' and granted and mode = 'ExclusiveLock'", "1")
	held, err := r.store.Renew(t.Context(), a, 30*time.Second)
	if err != nil || len(held) != 1 {
		t.Errorf("a holds %v, %v; want its one turn", held, err)
	}
	if got := r.one("select status from towpath.processes where id = $1", id); got != "running" {
		t.Errorf("turn is %s", got)
	}
}

// A node whose connections broke is back before its peer has swept: it lives, and is watched.
func TestANodeThatIsBackIsNotLost(t *testing.T) {
	r := newRing(t)
	a, kill := r.start("a")
	if err := r.store.LostNode(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if got := r.one("select (stopped_at is null)::text from towpath.node where id = 'a'"); got != "true" {
		t.Error("a living node was noted as dead")
	}
	kill()
	r.wait("select count(*)::text from pg_locks where locktype = 'advisory' and granted", "0")
	if err := r.store.LostNode(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if got := r.one("select (stopped_at is null)::text from towpath.node where id = 'a'"); got != "false" {
		t.Error("a dead node was not noted")
	}
}

func TestNobodyTakesOverRightAfterTheServerStarted(t *testing.T) {
	r := newRing(t)
	r.exec("delete from towpath.clock")
	r.start("a")
	b, kill := r.start("b")
	id := r.lease(b)
	kill()
	conn, err := r.store.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	// An hour: the server is younger than that.
	peer, err := store.Watch(t.Context(), conn, store.Node{ID: "a"}, time.Hour)
	if err != nil || peer.State != store.PeerSpared {
		t.Errorf("watch: %+v, %v", peer, err)
	}
	if got := r.one("select status from towpath.processes where id = $1", id); got != "running" {
		t.Errorf("turn is %s", got)
	}
}

func TestTwoWorkersOfOneName(t *testing.T) {
	r := newRing(t)
	first, _ := r.start("a")
	r.start("a")
	conn, err := r.store.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	first.Incarnation = uuid.New()
	if _, err := store.Hold(t.Context(), conn, first); err == nil {
		t.Error("an incarnation that is not on record holds the node's lock")
	}
}
