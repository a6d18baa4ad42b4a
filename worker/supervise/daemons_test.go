//go:build linux

package supervise

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/store"
)

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

// What will not be started again is said by its events, its node's log, and a metric.
//
// feature: D70
func TestAFailureIsLoud(t *testing.T) {
	y := newYard(t)
	d, _ := y.node("n")
	y.spec("spent", sh("exit 3", `, "restarts": 0, "outlives": true`))
	y.spec("missing", `{"command": "/nowhere/at-all"}`)
	for name, reason := range map[string]string{"spent": `reason="exit 3"`, "missing": "no such file or directory"} {
		id := y.start(d, name)
		y.state(name, "failed")
		line := ""
		y.until(name, "logged", func(store.Daemon) bool {
			for l := range strings.Lines(y.log.String()) {
				if strings.Contains(l, "level=ERROR msg=\"daemon failed: it is not started again\" daemon="+name) {
					line = l
				}
			}
			return line != ""
		})
		if !strings.Contains(line, id) || !strings.Contains(line, reason) {
			t.Errorf("%s is logged as %s", name, line)
		}
		var last string
		y.ok(y.pool.QueryRow(t.Context(), "select e.type from towpath.event e join towpath.process p on p.no = e.process_no where p.id = $1 order by e.seq desc limit 1", id).Scan(&last))
		if last != "process.failed" {
			t.Errorf("%s: the last event is %s", name, last)
		}
	}
	var failed int
	y.ok(y.pool.QueryRow(t.Context(), `select value::int from towpath.gauges() where name = 'daemons' and labels ->> 'state' = 'failed'`).Scan(&failed))
	if failed != 2 {
		t.Errorf("the metric says that %d failed", failed)
	}
	y.sound()
}

// feature: C6
func TestAChildThatCannotBeRecordedDoesNotRun(t *testing.T) {
	y := newYard(t)
	d, _ := y.node("n")
	_, err := y.pool.Exec(t.Context(), `create function public.refuse() returns trigger language plpgsql as $$ begin raise exception 'the disk is full'; end $$;
		create trigger refuse before update of pid on towpath.child for each row when (new.pid is not null) execute function public.refuse()`)
	y.ok(err)
	for _, outlives := range []string{"true", "false"} {
		name := "d-" + outlives
		y.spec(name, sh("while :; do sleep 0.1; done", `, "backoff_s": 60, "outlives": `+outlives))
		id := y.start(d, name)
		if now := y.state(name, "restarting"); !strings.Contains(*now.LastEnd, "the disk is full") || now.PID != nil {
			t.Errorf("%+v", now)
		}
		if left := tagged(id); len(left) > 0 {
			t.Errorf("%s: %v run", name, left)
		}
		if _, err := os.Stat(pidPath(filepath.Join(y.dir, name))); !os.IsNotExist(err) {
			t.Errorf("%s left a PID file: %v", name, err)
		}
		if r, err := y.store.Runtime(t.Context(), store.Locator{ID: id}); err != nil || r != nil {
			t.Errorf("%s left the record %+v, %v", name, r, err)
		}
	}
	y.sound()
}

// Its files may grow so far and no further, as on a disk that is full: what it says is lost, what it said can be read, and
// it goes on or ends as it likes. Nothing of ours writes to that disk but its PID file.
//
// feature: C9
func TestADaemonThatFillsItsDisk(t *testing.T) {
	y := newYard(t)
	d, _ := y.node("n")
	// ulimit counts blocks of 512 or of 1024 bytes, by shell. The signal that comes with a full limit is ignored: then
	// a write fails, as on a full disk.
	y.spec("goes-on", sh(`trap '' XFSZ; ulimit -f 64; yes 2>/dev/null; echo full >&2; while :; do sleep 0.1; done`, `, "outlives": true`))
	y.start(d, "goes-on")
	y.says("goes-on", Stderr, "full")
	if now := y.seen("goes-on"); now.State != "running" || *now.Restarts != 0 {
		t.Errorf("%+v", now)
	}
	if said := y.said("goes-on", Stdout); !strings.HasPrefix(said, "y\ny\n") || len(said) != 64*512 && len(said) != 64*1024 {
		t.Errorf("it said %d bytes", len(said))
	}
	// Most programs end, which is the end of any other child.
	y.spec("ends", sh(`ulimit -f 64; exec yes`, `, "outlives": true, "restarts": 0`))
	y.start(d, "ends")
	if now := y.state("ends", "failed"); now.ExitSignal == nil || *now.ExitSignal != "SIGXFSZ" || *now.FailureKind != "restarts_spent" {
		t.Errorf("%+v", now)
	}
	// The next start, when there is room again, says more behind what was said.
	_, err := y.store.StopDaemon(t.Context(), "goes-on", "", "")
	y.ok(err)
	before := y.state("goes-on", "stopped")
	y.spec("goes-on", sh(`echo room; while :; do sleep 0.1; done`, `, "outlives": true`))
	y.start(d, "goes-on")
	y.says("goes-on", Stdout, "y\nroom\n")
	if now := y.state("goes-on", "running"); *now.Process == *before.Process {
		t.Error("it is the process of before")
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
