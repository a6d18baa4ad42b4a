//go:build linux

package supervise

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/queue/queuetest"
	"github.com/towpath/towpath/store"
)

// yard is a database with daemons and the nodes that keep them; River is played by hand.
type yard struct {
	testing.TB
	pool  *pgxpool.Pool
	store *store.Store
	dir   string
}

func newYard(t testing.TB) *yard {
	t.Helper()
	pool := queuetest.Pool(t)
	return &yard{TB: t, pool: pool, store: store.New(pool), dir: t.TempDir()}
}

func (y *yard) ok(err error) {
	y.Helper()
	if err != nil {
		y.Fatal(err)
	}
}

// node starts a supervisor; stop ends it as a worker's clean end does.
func (y *yard) node(name string) (d *Daemons, stop func()) {
	y.Helper()
	n := store.Node{ID: name, Incarnation: uuid.New()}
	_, err := y.store.StartNode(y.Context(), n, "v", "h", os.Getpid(), []string{"lifecycle"})
	y.ok(err)
	// Pooled: it asks by itself, since nobody listens for it here.
	d, err = NewDaemons(DaemonConfig{Store: y.store, Node: n, TTL: 3 * time.Second, Dir: y.dir, Pooled: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	y.ok(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); d.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		bounded, release := context.WithTimeout(context.Background(), patience)
		defer release()
		if err := d.Stop(bounded); err != nil {
			y.Error(err)
		}
		cancel()
		<-done
	}
	y.Cleanup(func() {
		y.stopAll()
		stop()
		y.clear()
	})
	return d, stop
}

// stopAll stops every daemon by its process, whatever it is.
func (y *yard) stopAll() {
	_, err := y.pool.Exec(context.Background(), "select towpath.halt(id, 'end of the test') from towpath.process where class = 'daemon' and finalized_at is null")
	if err != nil {
		y.Error(err)
	}
}

// clear leaves no process behind, whatever the test did.
func (y *yard) clear() {
	rows, err := y.pool.Query(context.Background(), "select id from towpath.process where class = 'daemon'")
	if err != nil {
		return
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if rows.Scan(&id) == nil {
			signalTagged(id, 9)
		}
	}
}

func (y *yard) spec(name, spec string) {
	y.Helper()
	y.ok(y.store.PutSpec(y.Context(), name, json.RawMessage(spec)))
}

// sh is a spec whose command is a script.
func sh(script, more string) string {
	text, _ := json.Marshal(script) // a string always marshals
	return fmt.Sprintf(`{"command": "/bin/sh", "args": ["-c", %s], "grace_s": 1, "backoff_s": 0.1%s}`, text, more)
}

// start starts a registered daemon by a person, and its child on a node.
func (y *yard) start(d *Daemons, name string) string {
	y.Helper()
	id, err := y.store.StartDaemon(y.Context(), name, "", "")
	y.ok(err)
	y.deliver(d, id)
	return id
}

// deliver hands the River job of a process to a node, as River does when it is due.
func (y *yard) deliver(d *Daemons, id string) {
	y.Helper()
	var generation int
	var job int64
	y.ok(y.pool.QueryRow(y.Context(), "select generation, coalesce(river_job_id, 0) from towpath.process where id = $1", id).Scan(&generation, &job))
	y.ok(d.Start(y.Context(), id, generation, job))
}

func (y *yard) seen(name string) store.Daemon {
	y.Helper()
	d, err := y.store.Daemon(context.Background(), name)
	y.ok(err)
	return d
}

// until waits for a daemon to be as wanted.
func (y *yard) until(name string, what string, as func(store.Daemon) bool) store.Daemon {
	y.Helper()
	deadline := time.Now().Add(patience)
	for {
		d := y.seen(name)
		if as(d) {
			return d
		}
		if time.Now().After(deadline) {
			text, _ := json.Marshal(d)
			y.Fatalf("daemon %s is never %s: %s", name, what, text)
		}
		y.ok(y.pool.QueryRow(context.Background(), "select pg_sleep(0.02)::text").Scan(new(string)))
	}
}

func (y *yard) state(name, state string) store.Daemon {
	y.Helper()
	return y.until(name, state, func(d store.Daemon) bool { return d.State == state })
}

func (y *yard) sound() {
	y.Helper()
	var broken string
	y.ok(y.pool.QueryRow(context.Background(), "select coalesce(string_agg(rule || ': ' || subject || ': ' || detail, E'\n'), '') from towpath.check()").Scan(&broken))
	if broken != "" {
		y.Errorf("broken rules:\n%s", broken)
	}
}

func (y *yard) said(name, stream string) string {
	y.Helper()
	l, err := ReadLog(y.dir, name, stream, 0, 1<<20)
	y.ok(err)
	return string(l.Data)
}

// says waits for a daemon to have said something.
func (y *yard) says(name, stream, text string) {
	y.Helper()
	y.until(name, "heard to say "+text, func(store.Daemon) bool { return strings.Contains(y.said(name, stream), text) })
}

func dead(pid int) bool { _, alive := startOf(pid); return !alive }

// feature: B3 B7 B10 B13
func TestADaemonRunsUntilItIsStopped(t *testing.T) {
	y := newYard(t)
	d, _ := y.node("n")
	for _, outlives := range []string{"true", "false"} {
		name := "d-" + outlives
		y.spec(name, sh(`echo up $TOWPATH_PROCESS; echo trouble >&2; trap 'echo asked; exit 0' TERM; while :; do sleep 0.05; done`, `, "outlives": `+outlives))
		id := y.start(d, name)
		now := y.state(name, "running")
		var file pidFile
		text, err := os.ReadFile(filepath.Join(y.dir, name, "pid.json"))
		y.ok(err)
		y.ok(json.Unmarshal(text, &file))
		info, err := os.Stat(filepath.Join(y.dir, name, "pid.json"))
		y.ok(err)
		if file.PID != *now.PID || file.Process != id || file.Attempt != 1 || file.Start == 0 || file.Command != "/bin/sh" || info.Mode().Perm() != 0o600 {
			t.Errorf("PID file %s mode %v beside %d", text, info.Mode(), *now.PID)
		}
		y.says(name, Stdout, "up "+id)
		y.says(name, Stderr, "trouble")
		said, err := y.store.StopDaemon(t.Context(), name, "", "")
		y.ok(err)
		if said != "stopping" {
			t.Errorf("stop says %s", said)
		}
		y.state(name, "stopped")
		if !dead(*now.PID) || !strings.Contains(y.said(name, Stdout), "asked") {
			t.Errorf("pid %d is dead: %v; it said %q", *now.PID, dead(*now.PID), y.said(name, Stdout))
		}
		if _, err := os.Stat(filepath.Join(y.dir, name, "pid.json")); !os.IsNotExist(err) {
			t.Errorf("the PID file stays: %v", err)
		}
		// Again, from stopped: what it says goes on after what it said.
		again := y.start(d, name)
		y.state(name, "running")
		y.says(name, Stdout, "asked\nup "+again)
	}
	y.sound()
}

// feature: B9 C9
func TestTheEndOfAChildIsNoticedAndCounted(t *testing.T) {
	y := newYard(t)
	d, _ := y.node("n")
	for name, c := range map[string]struct {
		script string
		code   int
		signal string
	}{
		"exits":  {"exit 7", 7, ""},
		"killed": {"kill -KILL $$", 0, "SIGKILL"},
		"forks":  {"(trap '' TERM; while :; do sleep 1; done) & exec setsid sh -c '(sleep 1000 & ); exit 3'", 0, ""},
	} {
		for _, outlives := range []string{"true", "false"} {
			full := name + "-" + outlives
			y.spec(full, sh(c.script, `, "restarts": 1, "outlives": `+outlives))
			id := y.start(d, full)
			now := y.state(full, "restarting")
			if c.signal == "" && (now.ExitCode == nil || *now.ExitCode != c.code) || c.signal != "" && (now.ExitSignal == nil || *now.ExitSignal != c.signal) {
				t.Errorf("%s: code %v, signal %v", full, now.ExitCode, now.ExitSignal)
			}
			if left := tagged(id); len(left) > 0 {
				t.Errorf("%s left %v", full, left)
			}
			y.until(full, "due", func(d store.Daemon) bool { return d.NextAttemptAt.Before(time.Now()) })
			y.deliver(d, id)
			if now = y.state(full, "failed"); *now.FailureKind != "restarts_spent" {
				t.Errorf("%s: %s", full, *now.FailureKind)
			}
		}
	}
	y.sound()
}

// feature: B3
func TestWhatCannotStartSaysSoAtOnce(t *testing.T) {
	y := newYard(t)
	d, _ := y.node("n")
	plain := filepath.Join(t.TempDir(), "plain")
	y.ok(os.WriteFile(plain, []byte("not a program"), 0o600))
	noise := filepath.Join(t.TempDir(), "noise")
	y.ok(os.WriteFile(noise, []byte("not a program"), 0o700))
	for name, spec := range map[string]string{
		"missing":        `{"command": "/nowhere/at-all"}`,
		"unknown":        `{"command": "no-such-program-anywhere"}`,
		"not-executable": `{"command": "` + plain + `"}`,
		"no-program":     `{"command": "` + noise + `", "outlives": true}`,
		"no-folder":      `{"command": "/bin/true", "dir": "/nowhere/at/all", "outlives": true}`,
	} {
		y.spec(name, spec)
		y.start(d, name)
		now := y.state(name, "failed")
		if *now.FailureKind != "start" || now.PID != nil || !strings.Contains(string(now.Outcome), "message") {
			t.Errorf("%s: %s %s", name, *now.FailureKind, now.Outcome)
		}
	}
	y.sound()
}

// feature: B10
func TestADaemonThatIgnoresTermIsKilled(t *testing.T) {
	y := newYard(t)
	d, _ := y.node("n")
	for _, outlives := range []string{"true", "false"} {
		name := "deaf-" + outlives
		y.spec(name, sh(`trap '' TERM; echo up; while :; do sleep 1; done`, `, "outlives": `+outlives))
		y.start(d, name)
		now := y.state(name, "running")
		y.says(name, Stdout, "up")
		_, err := y.store.StopDaemon(t.Context(), name, "", "")
		y.ok(err)
		after := y.state(name, "stopped")
		if !dead(*now.PID) || after.ExitSignal == nil || *after.ExitSignal != "SIGKILL" {
			t.Errorf("%s: dead %v, signal %v", name, dead(*now.PID), after.ExitSignal)
		}
	}
}

func TestARestartByAPersonReplacesTheChild(t *testing.T) {
	y := newYard(t)
	d, _ := y.node("n")
	y.spec("d", sh(`while :; do sleep 0.1; done`, `, "restarts": 0, "outlives": true`))
	id := y.start(d, "d")
	before := y.state("d", "running")
	again, err := y.store.RestartDaemon(t.Context(), "d", "", "")
	y.ok(err)
	if again != id {
		t.Errorf("process %s, then %s", id, again)
	}
	y.until("d", "replaced", func(d store.Daemon) bool { return d.PID == nil })
	for {
		var generation int
		var job int64
		y.ok(y.pool.QueryRow(t.Context(), "select generation, river_job_id from towpath.process where id = $1", id).Scan(&generation, &job))
		if err := d.Start(t.Context(), id, generation, job); err == nil {
			break
		} else if err != ErrBusy {
			t.Fatal(err)
		}
	}
	if after := y.state("d", "running"); *after.PID == *before.PID || *after.Restarts != 0 || !dead(*before.PID) {
		t.Errorf("pid %d then %d, %d restarts", *before.PID, *after.PID, *after.Restarts)
	}
	y.sound()
}

// feature: B11 B14
func TestAStoppedWorkerLeavesWhatOutlivesItAndTakesTheRest(t *testing.T) {
	y := newYard(t)
	a, stop := y.node("a")
	y.spec("stays", sh(`while :; do sleep 0.1; done`, `, "outlives": true`))
	y.spec("goes", sh(`while :; do sleep 0.1; done`, `, "outlives": false`))
	id, other := y.start(a, "stays"), y.start(a, "goes")
	stays, goes := y.state("stays", "running"), y.state("goes", "running")
	stop()
	if dead(*stays.PID) || !dead(*goes.PID) {
		t.Errorf("stays is dead %v, goes is dead %v", dead(*stays.PID), dead(*goes.PID))
	}
	if d := y.seen("stays"); d.State != "unknown" || *d.PID != *stays.PID {
		t.Errorf("%+v", d)
	}
	// Nothing of it was the daemon's fault.
	var status string
	var spent int
	y.ok(y.pool.QueryRow(t.Context(), "select status, attempts_spent from towpath.process where id = $1", other).Scan(&status, &spent))
	if status != "queued" || spent != 0 {
		t.Errorf("goes is %s, %d attempts", status, spent)
	}
	if err := a.Start(t.Context(), other, 2, 0); err != ErrStopping {
		t.Errorf("a start on a node that has stopped: %v", err)
	}
	y.sound()
	b, _ := y.node("b")
	if d := y.state("stays", "running"); *d.PID != *stays.PID || *d.Node != "b" || *d.Restarts != 0 {
		t.Errorf("adopted: %+v", d)
	}
	y.deliver(b, other)
	y.state("goes", "running")
	// The next worker can stop what it has not started.
	_, err := y.store.StopDaemon(t.Context(), "stays", "", "")
	y.ok(err)
	y.state("stays", "stopped")
	if !dead(*stays.PID) || len(tagged(id)) > 0 {
		t.Error("it lives on")
	}
	y.sound()
}

// feature: B14
func TestAReusedPIDIsNeverTouched(t *testing.T) {
	y := newYard(t)
	stranger := begin(t, shell("sleep 1000"))
	a, stop := y.node("a")
	y.spec("d", sh(`while :; do sleep 0.1; done`, `, "outlives": true`))
	id := y.start(a, "d")
	y.state("d", "running")
	stop()
	// The child ends, and its number is a stranger's now.
	killTagged(id)
	_, err := y.pool.Exec(t.Context(), "update towpath.child set pid = $1", stranger.pid)
	y.ok(err)
	y.node("b")
	now := y.state("d", "restarting")
	if *now.LastEnd != "ended while its worker was gone" || now.ExitCode != nil {
		t.Errorf("%+v", now)
	}
	if dead(stranger.pid) {
		t.Error("a stranger was killed")
	}
	y.sound()
}

// feature: B4
func TestFiftyStartsGetFiftyPorts(t *testing.T) {
	y := newYard(t)
	nodes := [2]*Daemons{}
	nodes[0], _ = y.node("a")
	nodes[1], _ = y.node("b")
	var ids [50]string
	wanted := freePort(t)
	for i := range ids {
		name := "d" + strconv.Itoa(i)
		y.spec(name, sh(`echo $0 $1; while :; do sleep 1; done`, fmt.Sprintf(`, "port_flag": "--port", "port": %d`, wanted)))
		var err error
		ids[i], err = y.store.StartDaemon(t.Context(), name, "", "")
		y.ok(err)
	}
	errs := make(chan error, len(ids))
	for i, id := range ids {
		go func() { errs <- nodes[i%2].Start(context.Background(), id, 1, 0) }()
	}
	for range ids {
		y.ok(<-errs)
	}
	ports := map[int]bool{}
	for i := range ids {
		name := "d" + strconv.Itoa(i)
		d := y.state(name, "running")
		ports[*d.Port] = true
		y.says(name, Stdout, "--port")
		if want := fmt.Sprintf("--port %d\n", *d.Port); y.said(name, Stdout) != want {
			t.Errorf("%s was told %q, want %q", name, y.said(name, Stdout), want)
		}
	}
	if len(ports) != len(ids) || !ports[wanted] {
		t.Errorf("%d ports for %d daemons, the wanted one among them: %v", len(ports), len(ids), ports[wanted])
	}
	// Where no other will do, it is an error that is tried again.
	y.spec("fixed", sh("sleep 1000", fmt.Sprintf(`, "port_flag": "--port", "port": %d, "port_fixed": true`, wanted)))
	y.start(nodes[0], "fixed")
	if d := y.state("fixed", "restarting"); !strings.Contains(*d.LastEnd, "is taken, and no other will do") {
		t.Errorf("%+v", *d.LastEnd)
	}
	y.sound()
}

func freePort(t *testing.T) int {
	t.Helper()
	for port := 20000; port < 30000; port++ {
		if takePort(port) == nil {
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

func TestLogsAreBoundedAndNumbered(t *testing.T) {
	y := newYard(t)
	d, _ := y.node("n")
	size := 64 << 20
	if !testing.Short() {
		size = 1 << 30
	}
	y.spec("loud", sh(fmt.Sprintf(`head -c %d /dev/zero | tr '\0' 'x'; echo; echo the end; echo done >&2; sleep 1000`, size), `, "log_bytes": 65536, "outlives": true`))
	y.start(d, "loud")
	y.state("loud", "running")
	y.says("loud", Stderr, "done")
	d.trim()
	path := logFile(filepath.Join(y.dir, "loud"), Stdout)
	if used := blocks(t, path); used > 4*65536 {
		t.Errorf("the log takes %d bytes of disk", used)
	}
	l, err := ReadLog(y.dir, "loud", Stdout, 0, 1<<20)
	y.ok(err)
	if l.Cut == 0 || l.Cut+int64(len(l.Data)) != int64(size)+9 || l.Next != int64(size)+9 || !strings.HasSuffix(string(l.Data), "x\nthe end\n") {
		t.Errorf("cut %d, %d bytes, next %d", l.Cut, len(l.Data), l.Next)
	}
	if more, err := ReadLog(y.dir, "loud", Stdout, l.Next, 100); err != nil || len(more.Data) != 0 || more.Next != l.Next || more.Cut != 0 {
		t.Errorf("after the end: %+v, %v", more, err)
	}
	if part, err := ReadLog(y.dir, "loud", Stdout, l.Next-4, 3); err != nil || string(part.Data) != "end" {
		t.Errorf("%q, %v", part.Data, err)
	}
	if none, err := ReadLog(y.dir, "nobody", Stdout, 0, 3); err != nil || len(none.Data) != 0 {
		t.Errorf("%+v, %v", none, err)
	}
}

// feature: B5 B8
func TestHealthByURL(t *testing.T) {
	y := newYard(t)
	d, _ := y.node("n")
	program, err := os.Executable()
	y.ok(err)
	spec := func(mode, more string) string {
		return fmt.Sprintf(`{"command": %q, "env": {"SUPERVISE_TEST_DAEMON": %q, "PORT": "{port}"}, "health_url": "/health", "interval_s": 0.1,
			"timeout_s": 1, "failures": 3, "grace_s": 0.2, "backoff_s": 0.1%s}`, program, mode, more)
	}
	y.spec("well", spec("well", ""))
	y.start(d, "well")
	now := y.until("well", "healthy", func(d store.Daemon) bool { return d.State == "running" && d.Health != nil && *d.Health == "healthy" })

	// One failure changes nothing: it fails every second time, and is never unhealthy.
	y.spec("moody", spec("moody", ""))
	y.start(d, "moody")
	before := y.until("moody", "ready", func(d store.Daemon) bool { return d.State == "running" })
	y.until("moody", "asked ten times", func(store.Daemon) bool { return strings.Count(y.said("moody", Stdout), "asked") >= 10 })
	if after := y.seen("moody"); *after.PID != *before.PID || *after.Health != "healthy" {
		t.Errorf("a moody daemon: %+v", after)
	}

	// Many in a row do, and the policy restarts it.
	y.spec("sick", spec("sick", ""))
	y.start(d, "sick")
	if after := y.state("sick", "restarting"); !strings.Contains(*after.LastEnd, "unhealthy: answer 503") {
		t.Errorf("a sick daemon ended by %s", *after.LastEnd)
	}
	y.spec("hangs", spec("hangs", ""))
	y.start(d, "hangs")
	if after := y.state("hangs", "restarting"); !strings.Contains(*after.LastEnd, "unhealthy: no answer within 1s") {
		t.Errorf("a hanging daemon ended by %s", *after.LastEnd)
	}
	// Where it is not to be restarted, it is left and shown.
	y.spec("left", spec("sick", `, "restart": "never"`))
	y.start(d, "left")
	y.until("left", "unhealthy", func(d store.Daemon) bool { return d.State == "running" && d.Health != nil && *d.Health == "unhealthy" })

	// Never ready.
	y.spec("slow", spec("never", `, "ready_s": 1`))
	y.start(d, "slow")
	if after := y.state("slow", "restarting"); !strings.HasPrefix(*after.LastEnd, "not ready within 1s: ") {
		t.Errorf("a daemon that is never ready ended by %s", *after.LastEnd)
	}

	// A stranger's answer is none: this daemon's port is another daemon's.
	y.spec("liar", fmt.Sprintf(`{"command": "/bin/sleep", "args": ["1000"], "port": %d, "health_url": "http://127.0.0.1:%d/health", "ready_s": 1, "timeout_s": 0.5, "grace_s": 0.1}`,
		freePort(t), *now.Port))
	y.start(d, "liar")
	if d := y.state("liar", "restarting"); d.ReadyAt != nil || !strings.Contains(*d.LastEnd, "a stranger listens on port") {
		t.Errorf("a stranger's answer is health: %s", *d.LastEnd)
	}

	// Somebody asks for a look now.
	asked, err := y.store.CheckDaemon(t.Context(), "well")
	y.ok(err)
	y.until("well", "looked at", func(d store.Daemon) bool { return d.CheckedAt.After(asked) })
	y.sound()
}

// feature: B6
func TestHealthByCommand(t *testing.T) {
	y := newYard(t)
	d, _ := y.node("n")
	mark := filepath.Join(t.TempDir(), "well")
	y.ok(os.WriteFile(mark, nil, 0o600))
	y.spec("d", fmt.Sprintf(`{"command": "/bin/sleep", "args": ["1000"], "dir": %q, "env": {"FILE": "well"}, "health_cmd": ["/bin/sh", "-c", "test -e $FILE"],
		"interval_s": 0.1, "failures": 2, "grace_s": 0.1, "backoff_s": 0.1, "outlives": true}`, filepath.Dir(mark)))
	y.start(d, "d")
	y.until("d", "healthy", func(d store.Daemon) bool { return d.State == "running" && *d.Health == "healthy" })
	y.ok(os.Remove(mark))
	if after := y.state("d", "restarting"); !strings.Contains(*after.LastEnd, "unhealthy: exit status 1") {
		t.Errorf("it ended by %s", *after.LastEnd)
	}
	// A command that never ends is ended.
	y.spec("e", `{"command": "/bin/sleep", "args": ["1000"], "health_cmd": ["/bin/sh", "-c", "sleep 1000"], "timeout_s": 0.2, "ready_s": 1, "grace_s": 0.1}`)
	y.start(d, "e")
	if after := y.state("e", "restarting"); !strings.HasPrefix(*after.LastEnd, "not ready within 1s: ") {
		t.Errorf("it ended by %s", *after.LastEnd)
	}
	y.sound()
}

// serve is a daemon for these tests, in a process of its own.
func serve(mode string) int {
	n := 0
	http.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) {
		n++
		fmt.Println("asked", n)
		switch {
		case mode == "moody" && n%2 == 0, mode == "sick" && n > 1, mode == "never":
			http.Error(w, "no", http.StatusServiceUnavailable)
		case mode == "hangs" && n > 1:
			<-r.Context().Done()
		}
	})
	fmt.Println(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
	return 1
}

// A worker is killed with twenty daemons, at work and just being started: the next one has all of them, once.
//
// feature: B14
func TestTheDaemonsOfAKilledWorkerAreAdopted(t *testing.T) {
	y := newYard(t)
	const n = 20
	pids := map[string]int{}
	for i := range n {
		y.spec(fmt.Sprint("d", i), sh(`while :; do sleep 0.1; done`, `, "outlives": true`))
	}
	y.spec("dies", sh(`while :; do sleep 0.1; done`, `, "outlives": false`))
	program, err := os.Executable()
	y.ok(err)
	worker := exec.Command(program)
	worker.Env = append(os.Environ(), "SUPERVISE_TEST_KEEPER="+y.pool.Config().ConnString(), "SUPERVISE_TEST_DIR="+y.dir)
	worker.Stdout, worker.Stderr = os.Stdout, os.Stderr
	y.ok(worker.Start())
	t.Cleanup(func() { worker.Process.Kill(); worker.Wait(); y.stopAll(); y.clear() })
	for i := range n {
		pids[fmt.Sprint("d", i)] = *y.state(fmt.Sprint("d", i), "running").PID
	}
	guardedPID := *y.state("dies", "running").PID
	y.ok(worker.Process.Kill())
	worker.Wait()
	// One of them was killed before its row was written, one ends while nobody looks.
	_, err = y.pool.Exec(t.Context(), `update towpath.child set pid = null, pid_start = null, started_at = null, ready_at = null
		where process_no = (select no from towpath.process where definition = 'd3')`)
	y.ok(err)
	killTagged(*y.seen("d4").Process)
	// And of one even the PID file was not written.
	_, err = y.pool.Exec(t.Context(), `update towpath.child set pid = null, pid_start = null, started_at = null, ready_at = null
		where process_no = (select no from towpath.process where definition = 'd5')`)
	y.ok(err)
	y.ok(os.Remove(pidPath(filepath.Join(y.dir, "d5"))))

	// Its leases have not lapsed: what says that it is dead is the lock that it held.
	y.node("next")
	for name, pid := range pids {
		if name == "d4" {
			if d := y.state(name, "restarting"); *d.LastEnd != "ended while its worker was gone" {
				t.Errorf("%+v", d)
			}
			continue
		}
		d := y.until(name, "adopted", func(d store.Daemon) bool { return d.State == "running" && d.Node != nil && *d.Node == "next" })
		if *d.PID != pid || dead(pid) || *d.Restarts != 0 {
			t.Errorf("%s: pid %d then %d, %d restarts", name, pid, *d.PID, *d.Restarts)
		}
		all := 0
		for _, p := range tagged(*d.Process) {
			if p == pid {
				all++
			} else if text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p)); strings.Contains(string(text), "while") {
				// Its own fork looks like it until that becomes the sleep.
				if status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p)); !strings.Contains(string(status), fmt.Sprintf("\nPPid:\t%d\n", pid)) {
					all++
				}
			}
		}
		if all != 1 {
			t.Errorf("%s runs %d times", name, all)
		}
	}
	if !dead(guardedPID) {
		t.Error("what dies with its worker lives")
	}
	// The end of an adopted child is noticed, and told as far as it is known.
	y.ok(syscall.Kill(pids["d0"], syscall.SIGKILL))
	if d := y.state("d0", "restarting"); d.ExitCode != nil || *d.LastEnd != "ended, nobody knows how" {
		t.Errorf("%+v", d)
	}
	y.sound()
}

// keep is a worker that starts every registered daemon of its test.
func keep(dsn, dir string) int {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		panic(err)
	}
	db := store.New(pool)
	n := store.Node{ID: "killed", Incarnation: uuid.New()}
	d, err := NewDaemons(DaemonConfig{Store: db, Node: n, TTL: 30 * time.Second, Dir: dir, Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		panic(err)
	}
	go d.Run(ctx)
	specs, err := db.Specs(ctx)
	if err != nil {
		panic(err)
	}
	for _, s := range specs {
		if strings.HasPrefix(s.Name, "d") {
			id, err := db.StartDaemon(ctx, s.Name, "", "")
			if err == nil {
				err = d.Start(ctx, id, 1, 0)
			}
			if err != nil {
				panic(err)
			}
		}
	}
	select {}
}
