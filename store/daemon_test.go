package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/towpath/towpath/store"
)

var here = store.Place{Machine: "m", Boot: "b"}

// daemon registers and starts one; its process comes back.
func (w *world) daemon(name, spec string) string {
	w.Helper()
	w.ok(w.store.PutSpec(w.Context(), name, []byte(spec)))
	id, err := w.store.StartDaemon(w.Context(), name, "", "")
	w.ok(err)
	return id
}

// keep claims a daemon for a node, and has its child run when pid is not 0.
func (w *world) keep(id string, n store.Node, pid int) store.Owner {
	w.Helper()
	p := w.process(id)
	generation := get[int](w, "select generation from towpath.process where id = $1", id)
	c, err := w.store.ClaimDaemon(w.Context(), id, generation, *p.RiverJobID, n, ttl, here)
	w.ok(err)
	if c.Action != store.ActionRun {
		w.Fatalf("claim: %s %s", c.Action, *c.Detail)
	}
	o := store.Owner{No: *c.No, Fence: *c.Fence}
	if pid != 0 {
		w.ok(w.store.DaemonChild(w.Context(), o, pid, 1, true))
	}
	return o
}

func (w *world) seen(name string) store.Daemon {
	w.Helper()
	d, err := w.store.Daemon(w.Context(), name)
	w.ok(err)
	return d
}

func (w *world) exit(o store.Owner, code int) string {
	w.Helper()
	status, err := w.store.ExitDaemon(w.Context(), o, store.DaemonExit{Reason: fmt.Sprintf("exit %d", code), Code: &code})
	w.ok(err)
	return status
}

// feature: B2 C13
func TestWhatCannotBeADaemon(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for text, c := range map[string]struct {
		name, spec string
		err        error
	}{
		"is not the name of a daemon":  {"../etc/passwd", `{"command": "x"}`, store.ErrInvalid},
		"1 to 63 of":                   {"A", `{"command": "x"}`, store.ErrInvalid},
		"spec.shell is not known":      {"d", `{"command": "x", "shell": true}`, store.ErrInvalid},
		"command":                      {"d", `{}`, store.ErrInvalid},
		"spec.command is empty":        {"d", `{"command": ""}`, store.ErrInvalid},
		"neither a name nor":           {"d", `{"command": "./x"}`, store.ErrInvalid},
		"not the name of a variable":   {"d", `{"command": "x", "env": {"A=B": "c"}}`, store.ErrInvalid},
		"beginning with TOWPATH_":      {"d", `{"command": "x", "env": {"TOWPATH_PROCESS": "c"}}`, store.ErrInvalid},
		"\\u0000":                      {"d", `{"command": "x", "env": {"A": "\u0000"}}`, store.ErrInvalid},
		"spec.port is out of range: 0": {"d", `{"command": "x", "port": 0}`, store.ErrInvalid},
		"range: 65536":                 {"d", `{"command": "x", "port": 65536}`, store.ErrInvalid},
		"range: -1":                    {"d", `{"command": "x", "restarts": -1}`, store.ErrInvalid},
		"not an absolute path":         {"d", `{"command": "x", "dir": "here"}`, store.ErrInvalid},
		"two ways to check":            {"d", `{"command": "x", "port": 1, "health_url": "/h", "health_cmd": ["x"]}`, store.ErrInvalid},
		"not a URL":                    {"d", `{"command": "x", "port": 1, "health_url": "ftp://x"}`, store.ErrInvalid},
		"none to give":                 {"d", `{"command": "x", "health_url": "/h"}`, store.ErrInvalid},
		"needs spec.port":              {"d", `{"command": "x", "args": ["{port}"], "port_fixed": true}`, store.ErrInvalid},
		"no check could end":           {"d", `{"command": "x", "timeout_s": 5, "ready_s": 1}`, store.ErrInvalid},
		"another machine":              {"d", `{"command": "x", "port": 1, "health_url": "http://example.com/h"}`, store.ErrDenied},
		"is on another machine":        {"d", `{"command": "x", "port": 1, "health_url": "http://127.0.0.1.example.com/h"}`, store.ErrDenied},
		`set "remote": true`:           {"d", `{"command": "x", "port": 1, "health_url": "http://10.0.0.1:80/h"}`, store.ErrDenied},
		"above 64 KiB":                 {"d", fmt.Sprintf(`{"command": "x", "args": [%q]}`, fmt.Sprintf("%070000d", 1)), store.ErrTooLarge},
	} {
		w.refused(w.store.PutSpec(t.Context(), c.name, json.RawMessage(c.spec)), c.err, text)
	}
	if n := get[int](w, "select count(*) from towpath.daemon where name = 'd'"); n != 0 {
		t.Error("what was refused is registered")
	}
	_, err := w.store.StartDaemon(t.Context(), "nobody", "", "")
	w.refused(err, store.ErrNotFound, "spec_put")
	if n := get[int](w, "select count(*) from towpath.process"); n != 0 {
		t.Error("a refused start left a process")
	}
	w.ok(w.store.PutSpec(t.Context(), "d", []byte(`{"command": "x", "port": 1, "health_url": "http://10.0.0.1:80/h", "remote": true}`)))
}

// feature: B15
func TestReadySpecsAreThereAndPassTheirOwnCheck(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	specs, err := w.store.Specs(t.Context())
	w.ok(err)
	names := map[string]bool{}
	for _, s := range specs {
		names[s.Name] = true
		w.exec("select towpath.check_spec($1, $2)", s.Name, s.Spec)
		if d := w.seen(s.Name); d.State != "stopped" {
			t.Errorf("%s is %s before its first start", s.Name, d.State)
		}
	}
	if !names["codex-app-server"] {
		t.Errorf("ready specs are %v", names)
	}
	// An operator changes one, adds another, and takes one away.
	w.ok(w.store.PutSpec(t.Context(), "codex-app-server", []byte(`{"command": "/opt/codex"}`)))
	w.ok(w.store.PutSpec(t.Context(), "mine", []byte(`{"command": "x"}`)))
	gone, err := w.store.DeleteSpec(t.Context(), "ollama")
	w.ok(err)
	again, err := w.store.DeleteSpec(t.Context(), "ollama")
	w.ok(err)
	if !gone || again {
		t.Errorf("deleted %v, again %v", gone, again)
	}
	after, err := w.store.Specs(t.Context())
	w.ok(err)
	if len(after) != len(specs) {
		t.Errorf("%d specs, then %d", len(specs), len(after))
	}
}

// feature: B3 B9 B12
func TestTheStatesOfADaemon(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := node("n")
	state := func(want string) store.Daemon {
		t.Helper()
		d := w.seen("d")
		if d.State != want {
			t.Errorf("state %s, want %s: %+v", d.State, want, d)
		}
		return d
	}
	id := w.daemon("d", `{"command": "x", "port_flag": "--port", "restarts": 2, "stable_s": 60}`)
	state("starting")
	_, err := w.store.StartDaemon(t.Context(), "d", "", "")
	w.refused(err, store.ErrConflict, "is running")
	o := w.keep(id, n, 0)
	free, err := w.store.DaemonPort(t.Context(), o, 4000)
	w.ok(err)
	if !free {
		t.Error("nobody has the port, and it is not free")
	}
	w.ok(w.store.DaemonChild(t.Context(), o, 77, 5, false))
	state("starting")
	w.ok(w.store.DaemonChild(t.Context(), o, 77, 5, true))
	if d := state("running"); *d.PID != 77 || *d.Port != 4000 || *d.Node != "n" || *d.Health != "unknown" || *d.Restarts != 0 || *d.MaxRestarts != 2 {
		t.Errorf("%+v", d)
	}
	w.ok(w.store.CheckedDaemons(t.Context(), []store.DaemonHealth{{Owner: o, Health: "unhealthy", Detail: "no answer"}, {Owner: store.Owner{No: o.No, Fence: o.Fence + 1}, Health: "healthy"}}))
	w.ok(w.store.CheckedDaemons(t.Context(), []store.DaemonHealth{{Owner: store.Owner{No: o.No, Fence: o.Fence + 1}, Health: "healthy"}}))
	if d := state("running"); *d.Health != "unhealthy" || *d.Detail != "no answer" || d.CheckedAt == nil {
		t.Errorf("%+v", d)
	}
	census, err := w.store.DaemonCensus(t.Context(), "n")
	w.ok(err)
	if census.Daemons != 1 || census.Ready != 1 || len(census.Unhealthy) != 1 {
		t.Errorf("%+v", census)
	}
	w.ok(w.store.CheckedDaemons(t.Context(), []store.DaemonHealth{{Owner: o, Health: "healthy"}}))

	if s := w.exit(o, 3); s != "backoff" {
		t.Errorf("after an exit it is %s", s)
	}
	d := state("restarting")
	if *d.ExitCode != 3 || *d.LastEnd != "exit 3" || d.NextAttemptAt == nil || d.PID != nil {
		t.Errorf("%+v", d)
	}
	// The restart is a River job that says when and why.
	job := get[string](w, "select format('%s %s %s', kind, metadata ->> 'reason', metadata ->> 'daemon') from river_job where id = $1", *d.RiverJobID)
	if late := get[bool](w, "select abs(extract(epoch from j.scheduled_at - p.next_attempt_at)) < 0.1 from river_job j join towpath.process p on p.river_job_id = j.id where p.id = $1", id); job != "restart exit 3 d" || !late {
		t.Errorf("job %q, in time %v", job, late)
	}
	for range 2 {
		w.shift("61 seconds")
		o = w.keep(id, n, 78)
		w.exit(o, 3)
	}
	if d := state("failed"); *d.FailureKind != "restarts_spent" {
		t.Errorf("%+v", d)
	}
	w.log(id, "process.queued", "process.started", "process.ready", "process.unhealthy", "process.healthy", "process.requeued", "process.started", "process.ready",
		"process.requeued", "process.started", "process.ready", "process.failed")

	// From failed it can be started, and what is stable has paid for what was before.
	id, err = w.store.StartDaemon(t.Context(), "d", "", "")
	w.ok(err)
	for range 5 {
		o = w.keep(id, n, 79)
		w.exec("update towpath.lease set expires_at = expires_at + interval '1 day'")
		w.shift("61 seconds")
		if s := w.exit(o, 1); s != "backoff" {
			t.Fatalf("a stable daemon is %s", s)
		}
		w.shift("61 seconds")
	}
	// A restart that a person asks for does not wait, and costs nothing.
	_, err = w.store.RestartDaemon(t.Context(), "d", "", "")
	w.ok(err)
	w.status(id, "queued")
	o = w.keep(id, n, 80)
	_, err = w.store.RestartDaemon(t.Context(), "d", "", "")
	w.ok(err)
	state("restarting")
	wishes, err := w.store.DaemonWishes(t.Context(), n)
	w.ok(err)
	if len(wishes) != 1 || !wishes[0].Restart || wishes[0].Stop {
		t.Errorf("wishes %+v", wishes)
	}
	if s := w.exit(o, 0); s != "queued" {
		t.Errorf("replaced, it is %s", s)
	}
	o = w.keep(id, n, 81)
	if d := state("running"); *d.Restarts != 0 {
		t.Errorf("%d restarts", *d.Restarts)
	}

	// Stop wins.
	said, err := w.store.StopDaemon(t.Context(), "d", "", "")
	w.ok(err)
	if said != "stopping" {
		t.Errorf("stop says %s", said)
	}
	_, err = w.store.StartDaemon(t.Context(), "d", "", "")
	w.refused(err, store.ErrConflict, "is stopping")
	_, err = w.store.RestartDaemon(t.Context(), "d", "", "")
	w.refused(err, store.ErrConflict, "is stopping")
	wishes, err = w.store.DaemonWishes(t.Context(), n)
	w.ok(err)
	if len(wishes) != 1 || !wishes[0].Stop || *wishes[0].GraceMS <= 0 {
		t.Errorf("wishes %+v", wishes)
	}
	if s := w.exit(o, 0); s != "cancelled" {
		t.Errorf("stopped, it is %s", s)
	}
	state("stopped")
	if again, err := w.store.StopDaemon(t.Context(), "d", "", ""); again != "stopped" || err != nil {
		t.Errorf("stopped again: %s, %v", again, err)
	}
	w.sound()
}

// feature: B9 D70
func TestRestartPolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for policy, want := range map[string][2]string{"always": {"backoff", "backoff"}, "on_failure": {"completed", "backoff"}, "never": {"completed", "failed"}} {
		for code := range 2 {
			id := w.daemon(fmt.Sprintf("%s-%d", policy, code), fmt.Sprintf(`{"command": "x", "restart": %q}`, policy))
			if got := w.exit(w.keep(id, node("n"), 1), code); got != want[code] {
				t.Errorf("%s, exit %d: %s, want %s", policy, code, got, want[code])
			}
		}
	}
	id := w.daemon("none", `{"command": "x", "restarts": 0}`)
	if got := w.exit(w.keep(id, node("n"), 1), 1); got != "failed" {
		t.Errorf("without restarts: %s", got)
	}
	for failures, most := range map[int]float64{1: 2, 4: 16, 10: 60, 10000: 60} {
		low, high := get[float64](w, "select min(extract(epoch from towpath.backoff($1, 60)))::float8 from generate_series(1, 300)", failures),
			get[float64](w, "select max(extract(epoch from towpath.backoff($1, 60)))::float8 from generate_series(1, 300)", failures)
		if low < 0.0999 || high > most || high < most/2 || low > most/2 {
			t.Errorf("after %d failures from %v to %v s, at most %v", failures, low, high, most)
		}
	}
	w.sound()
}

// feature: B4
func TestTwoDaemonsOfAMachineNeverHaveOnePort(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.keep(w.daemon("a", `{"command": "x", "port": 1}`), node("n"), 0), w.keep(w.daemon("b", `{"command": "x", "port": 1}`), node("o"), 0)
	for o, want := range map[store.Owner]bool{a: true} {
		got, err := w.store.DaemonPort(t.Context(), o, 4000)
		w.ok(err)
		if got != want {
			t.Errorf("port is free: %v", got)
		}
	}
	got, err := w.store.DaemonPort(t.Context(), b, 4000)
	w.ok(err)
	if got {
		t.Error("two daemons have one port")
	}
	w.exit(a, 0)
	if got, err = w.store.DaemonPort(t.Context(), b, 4000); err != nil || !got {
		t.Errorf("a port that was given back: %v, %v", got, err)
	}
}

// feature: B1 B10 B11 D71
func TestASessionsDaemonsAreItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.submit("s")
	w.submit("t")
	for _, name := range []string{"mine", "second", "theirs", "free"} {
		w.ok(w.store.PutSpec(t.Context(), name, []byte(`{"command": "x"}`)))
	}
	w.ok(w.store.PutSpec(t.Context(), "always-mine", []byte(`{"command": "x", "session": "s"}`)))
	ids := map[string]string{}
	for name, session := range map[string]string{"mine": "s", "second": "s", "theirs": "t", "free": "", "always-mine": ""} {
		var err error
		ids[name], err = w.store.StartDaemon(t.Context(), name, session, "")
		w.ok(err)
	}
	o := w.keep(ids["mine"], node("n"), 1)
	for _, session := range []string{"", "t"} {
		_, err := w.store.StopDaemon(t.Context(), "mine", session, "")
		w.refused(err, store.ErrDenied, `belongs to session "s"`)
		_, err = w.store.RestartDaemon(t.Context(), "mine", session, "")
		w.refused(err, store.ErrDenied, `belongs to session "s"`)
	}
	if s, err := w.store.StopDaemon(t.Context(), "second", "s", ""); err != nil || s != "stopped" {
		t.Errorf("%s, %v", s, err)
	}
	results, err := w.store.StopDaemons(t.Context(), "s")
	w.ok(err)
	got := map[string]string{}
	for _, r := range results {
		got[r.Name] = *r.State
	}
	if len(got) != 2 || got["mine"] != "stopping" || got["always-mine"] != "stopped" {
		t.Errorf("stopping all says %v", got)
	}
	w.exit(o, 0)
	w.status(ids["theirs"], "queued")
	w.status(ids["free"], "queued")

	// The end of a session is the end of its daemons, and nothing of it starts any more.
	again, err := w.store.StartDaemon(t.Context(), "mine", "s", "")
	w.ok(err)
	w.exec("select towpath.session_control('s', 'stop')")
	w.status(again, "cancelled")
	_, err = w.store.StartDaemon(t.Context(), "mine", "s", "")
	w.refused(err, store.ErrConflict, "starts nothing")
	w.status(ids["theirs"], "queued")
	w.sound()
}

// feature: B14
func TestAChildThatMayLiveIsNotReplacedElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.settle()
	a, b := node("a"), node("b")
	id := w.daemon("d", `{"command": "x", "port": 4000, "restarts": 3}`)
	old := w.keep(id, a, 7)
	w.shift("31 seconds")
	w.sweep()
	w.status(id, "waiting")
	if d := w.seen("d"); d.State != "unknown" || *d.Machine != "m" || *d.PID != 7 {
		t.Errorf("%+v", d)
	}
	w.sound()
	_, err := w.store.RestartDaemon(t.Context(), "d", "", "")
	w.refused(err, store.ErrConflict, "may be running on a machine")
	if orphans, err := w.store.DaemonOrphans(t.Context(), "elsewhere", b); err != nil || len(orphans) != 0 {
		t.Errorf("another machine is offered %v, %v", orphans, err)
	}
	orphans, err := w.store.DaemonOrphans(t.Context(), "m", b)
	w.ok(err)
	if len(orphans) != 1 || *orphans[0].PID != 7 || *orphans[0].Start != 1 || orphans[0].Worker != a.Incarnation || orphans[0].Leased || !orphans[0].Ready {
		t.Fatalf("orphans %+v", orphans)
	}
	// Twenty workers want it, one gets it.
	var won sync.Map
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			n := node(fmt.Sprint("b", i))
			if got, err := w.store.AdoptDaemon(context.Background(), orphans[0], n, ttl); err != nil {
				t.Error(err)
			} else if got.Fence != nil {
				won.Store(n, *got.Fence)
			}
		})
	}
	group.Wait()
	var o store.Owner
	count := 0
	won.Range(func(_, fence any) bool { count++; o = store.Owner{No: old.No, Fence: fence.(int64)}; return true })
	if count != 1 {
		t.Fatalf("%d workers adopted it", count)
	}
	w.status(id, "running")
	if d := w.seen("d"); d.State != "running" || *d.PID != 7 || *d.Restarts != 0 {
		t.Errorf("adopted: %+v", d)
	}
	_, err = w.store.ExitDaemon(t.Context(), old, store.DaemonExit{Reason: "late"})
	w.refused(err, store.ErrFence, "does not own")

	// A worker that stops leaves it; stopped meanwhile, it is ended where it is.
	w.ok(w.store.ParkDaemon(t.Context(), o, "worker stopped"))
	said, err := w.store.StopDaemon(t.Context(), "d", "", "")
	w.ok(err)
	if said != "unknown" {
		t.Errorf("a stop that nobody can carry out yet says %s", said)
	}
	w.status(id, "waiting")
	if swept := w.sweep(); len(swept) != 0 {
		t.Errorf("the sweep repairs %v", swept)
	}
	// An operator knows that the machine is gone.
	w.ok(w.store.Resume(t.Context(), id))
	w.status(id, "cancelled")
	// And of one that nobody stopped, that another may start.
	id, err = w.store.StartDaemon(t.Context(), "d", "", "")
	w.ok(err)
	o = w.keep(id, a, 8)
	w.ok(w.store.ParkDaemon(t.Context(), o, "worker stopped"))
	w.ok(w.store.Resume(t.Context(), id))
	w.keep(id, b, 9)
	if spent := get[int](w, "select attempts_spent from towpath.process where id = $1", id); spent != 1 {
		t.Errorf("the loss of a machine cost %d attempts", spent-1)
	}
	// What dies with its worker may move once the lease has lapsed.
	other := w.daemon("e", `{"command": "x", "port": 4000, "outlives": false}`)
	o = w.keep(other, a, 10)
	w.refused(w.store.ParkDaemon(t.Context(), o, ""), store.ErrConflict, "dies with its worker")
	w.shift("31 seconds")
	w.sweep()
	w.status(other, "backoff")
	w.sound()
}

// feature: B3 B10
func TestStartsAndStopsRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok(w.store.PutSpec(t.Context(), "d", []byte(`{"command": "x", "backoff_s": 0.1}`)))
	n := node("n")
	rounds := 1000
	if testing.Short() {
		rounds = 100
	}
	for round := range rounds {
		// Two people start it: one process.
		var ids [2]string
		var group sync.WaitGroup
		for i := range ids {
			group.Go(func() { ids[i], _ = w.store.StartDaemon(context.Background(), "d", "", "") })
		}
		group.Wait()
		if (ids[0] == "") == (ids[1] == "") {
			t.Fatalf("round %d: two starts gave %v", round, ids)
		}
		id := ids[0] + ids[1]
		if w.exit(w.keep(id, n, 1), 1) != "backoff" {
			t.Fatal("it does not wait for a restart")
		}
		w.shift("1 second")
		// Its restart is due while somebody stops it.
		var claim store.DaemonClaim
		generation, job := get[int](w, "select generation from towpath.process where id = $1", id), *w.process(id).RiverJobID
		group.Go(func() { claim, _ = w.store.ClaimDaemon(context.Background(), id, generation, job, n, ttl, here) })
		group.Go(func() { _, _ = w.store.StopDaemon(context.Background(), "d", "", "") })
		group.Wait()
		if claim.Action == store.ActionRun {
			// It ran first: it is asked to stop, and does not come back.
			if s := w.exit(store.Owner{No: *claim.No, Fence: *claim.Fence}, 1); s != "cancelled" {
				t.Fatalf("round %d: stopped and ended, it is %s", round, s)
			}
		}
		w.status(id, "cancelled")
		if live := w.live(id); live != 0 {
			t.Fatalf("round %d: %d jobs of a stopped daemon", round, live)
		}
		if c, err := w.store.ClaimDaemon(t.Context(), id, generation, job, n, ttl, here); err != nil || c.Action != store.ActionSkip {
			t.Fatalf("round %d: a late delivery may %s", round, c.Action)
		}
		if t.Failed() {
			return
		}
	}
	// A start that comes in the middle of another one waits for it, and finds it done.
	first := w.begin()
	_, err := first.Exec(t.Context(), "select towpath.daemon_start('d')")
	w.ok(err)
	w.behind(first, "TW409", "select towpath.daemon_start('d')")
	w.sound()
}

// feature: B3
func TestAKeyIsOneStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok(w.store.PutSpec(t.Context(), "d", []byte(`{"command": "x"}`)))
	w.ok(w.store.PutSpec(t.Context(), "e", []byte(`{"command": "x"}`)))
	first, err := w.store.StartDaemon(t.Context(), "d", "", "k")
	w.ok(err)
	w.exit(w.keep(first, node("n"), 1), 1)
	if again, err := w.store.StartDaemon(t.Context(), "d", "", "k"); again != first || err != nil {
		t.Errorf("the same key: %s, %v", again, err)
	}
	_, err = w.store.StartDaemon(t.Context(), "e", "", "k")
	w.refused(err, store.ErrIdempotency, "another daemon")
	_, err = w.store.DeleteSpec(t.Context(), "d")
	w.refused(err, store.ErrConflict, "is not stopped")
	_, err = w.store.CheckDaemon(t.Context(), "d")
	w.refused(err, store.ErrConflict, "is not running")
	w.shift("61 seconds")
	w.keep(first, node("n"), 1)
	at, err := w.store.CheckDaemon(t.Context(), "d")
	w.ok(err)
	wishes := get[time.Time](w, "select check_at from towpath.daemon where name = 'd'")
	if !wishes.Equal(at) {
		t.Errorf("asked at %v, noted %v", at, wishes)
	}
}

// What runs is on record for whoever reads records of runtimes, from its start to its end.
//
// feature: C7
func TestTheRecordOfADaemonIsTrue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.settle()
	a, b := node("a"), node("b")
	record := func(id, status string) *store.Runtime {
		t.Helper()
		r := w.runtime(store.Locator{ID: id})
		if r == nil || r.Status != status || (r.PID != nil) != (status == "running") || (r.StoppedAt != nil) != (status == "exited" || status == "stopped") {
			t.Fatalf("the record is %+v, want it %s", r, status)
		}
		return r
	}
	id := w.daemon("d", `{"command": "x", "args": ["--password", "sk-abcdefghijklmnopqrstuvwxyz0123456789"], "dir": "/srv", "port": 4000}`)
	o := w.keep(id, a, 0)
	if r := w.runtime(store.Locator{ID: id}); r != nil {
		t.Errorf("without a child there is %+v", r)
	}
	w.ok(w.store.DaemonChild(t.Context(), o, 7, 1, false))
	if r := record(id, "running"); *r.PID != 7 || r.ClientID != "d" || r.Command != "x" || r.Cwd != "/srv" || r.Host != "a" || *r.Incarnation != a.Incarnation ||
		strings.Contains(fmt.Sprint(r.Args), "sk-abc") || !strings.Contains(string(r.Metadata), `"ready": false`) {
		t.Errorf("%+v", r)
	}
	w.ok(w.store.DaemonChild(t.Context(), o, 7, 1, true))
	if r := record(id, "running"); !strings.Contains(string(r.Metadata), `"ready": true`) {
		t.Errorf("ready, it is %s", r.Metadata)
	}
	w.exit(o, 3)
	if r := record(id, "exited"); *r.ExitCode != 3 {
		t.Errorf("%+v", r)
	}
	// Another child: the same record runs again. Its worker goes, and another one has it.
	w.shift("61 seconds")
	o = w.keep(id, a, 8)
	if r := record(id, "running"); *r.PID != 8 || r.ExitCode != nil {
		t.Errorf("%+v", r)
	}
	w.ok(w.store.ParkDaemon(t.Context(), o, "worker stopped"))
	record(id, "unknown")
	orphans, err := w.store.DaemonOrphans(t.Context(), "m", b)
	w.ok(err)
	adopted, err := w.store.AdoptDaemon(t.Context(), orphans[0], b, ttl)
	w.ok(err)
	if r := record(id, "running"); r.Host != "b" || *r.PID != 8 {
		t.Errorf("%+v", r)
	}
	// Stopped, and a late word of the old worker changes nothing.
	_, err = w.store.StopDaemon(t.Context(), "d", "", "")
	w.ok(err)
	now := store.Owner{No: o.No, Fence: *adopted.Fence}
	signal := "SIGTERM"
	_, err = w.store.ExitDaemon(t.Context(), now, store.DaemonExit{Reason: "stopped", Signal: &signal})
	w.ok(err)
	for _, late := range []store.Owner{o, now} {
		_, err = w.store.ExitDaemon(t.Context(), late, store.DaemonExit{Reason: "exit 9", Code: ptr(9)})
		w.refused(err, store.ErrFence, "does not own")
	}
	if r := record(id, "stopped"); r.ExitSignal != "SIGTERM" || r.ExitCode != nil {
		t.Errorf("%+v", r)
	}
	// One that dies with its worker, which is lost: nobody knows.
	id = w.daemon("e", `{"command": "x"}`)
	w.keep(id, a, 9)
	w.shift("31 seconds")
	w.sweep()
	record(id, "unknown")
	w.sound()
}
