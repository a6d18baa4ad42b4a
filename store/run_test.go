package store_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/towpath/towpath/store"
)

func (w *world) createRun(session, key string) string {
	w.Helper()
	return get[string](w, "select towpath.create_run('p', nullif($1, ''), nullif($2, ''))", session, key)
}

type command struct {
	ID        string
	Seq       int
	Duplicate bool
	Process   string
}

func (w *world) command(run, kind, payload, key string) command {
	w.Helper()
	var c command
	w.ok(w.pool.QueryRow(w.Context(), "select * from towpath.create_command($1, $2, $3, nullif($4, ''))", run, kind, json.RawMessage(payload), key).
		Scan(&c.ID, &c.Seq, &c.Duplicate, &c.Process))
	return c
}

func (w *world) commandStatus(id, want string) {
	w.Helper()
	if got := get[string](w, "select status from towpath.commands where id = $1", id); got != want {
		w.Errorf("command %s is %s, want %s", id, got, want)
	}
}

// feature: C16 C30
func TestARunAndItsSessionAreOneTransaction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tx := w.begin()
	_, err := tx.Exec(t.Context(), "select towpath.create_run('p', 's')")
	w.ok(err)
	w.ok(tx.Rollback(t.Context()))
	if n := get[int](w, "select (select count(*) from towpath.session) + (select count(*) from towpath.process) + (select count(*) from towpath.event)"); n != 0 {
		t.Errorf("a rolled-back run left %d rows", n)
	}
	run := get[string](w, `select towpath.create_run('p', 's', 'k', '{"id": "r", "tenant": "acme", "project": "x", "metadata": {"token": 1, "password": "very-private"}}')`)
	if run != "r" {
		t.Errorf("run %s", run)
	}
	w.log("r", "process.queued")
	row := get[string](w, "select concat_ws(' ', class, status, tenant, project, profile, session) from towpath.processes where id = 'r'")
	if row != "run queued acme x p s" || get[string](w, "select active_run from towpath.sessions") != "r" {
		t.Errorf("run %s", row)
	}
	if n := get[int](w, "select count(*) from towpath.process p where p.spec::text like '%very-private%'"); n != 0 {
		t.Error("a secret is stored")
	}
	// The session keeps what it is bound to.
	w.profile("q", 3)
	w.deny("TW409", `belongs to profile "p"`, "select towpath.create_run('q', 's')")
	w.deny("TW409", `belongs to tenant "acme"`, `select towpath.create_run('p', 's', null, '{"tenant": "evil"}')`)
	w.deny("TW409", `project "x"`, `select towpath.create_run('p', 's', null, '{"project": "y"}')`)
	w.deny("TW409", `belongs to profile`, `select towpath.session_put('s', 'q')`)
	w.deny("TW409", `belongs to tenant`, `select towpath.session_put('s', 'p', '{"tenant": "evil"}')`)
	for _, column := range []string{"tenant", "project", "profile"} {
		w.deny("TW409", "for life", "update towpath.session set "+column+" = 'z'")
	}
	w.deny("TW404", "known profiles: p, q", "select towpath.create_run('gpt', 'new')")
	w.deny("TW400", "profile is missing", "select towpath.create_run(null)")
	w.deny("TW400", "options", `select towpath.create_run('p', null, null, '{"speed": 1}')`)
	w.deny("TW400", "session is not a name", `select towpath.create_run('p', 'a#b')`)
	w.deny("TW400", "is not a name", `select towpath.create_run('p', 's2', null, '{"id": "a#b"}')`)
	w.sound()
}

// feature: C16
func TestRunsCreatedAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ids := make([]string, 60)
	var wg sync.WaitGroup
	for i := range ids {
		sql := []string{
			"select towpath.create_run('p', 'new')",            // on one new session
			"select towpath.create_run('p', 'new', 'one key')", // with one key
			"select towpath.create_run('p', null, 'another')",  // with one key, in a session of its own
		}[i%3]
		wg.Go(func() {
			if err := w.pool.QueryRow(t.Context(), sql).Scan(&ids[i]); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	different := map[string]bool{}
	for i, id := range ids {
		different[id] = true
		if i%3 > 0 && id != ids[i%3] {
			t.Errorf("one key made runs %s and %s", id, ids[i%3])
		}
	}
	if n := get[int](w, "select count(*) from towpath.session"); len(different) != 22 || n != 2 {
		t.Errorf("%d runs in %d sessions", len(different), n)
	}
	w.deny("TW40I", "used for another request", `select towpath.create_run('p', 'new', 'one key', '{"metadata": {"a": 1}}')`)
	w.sound()
}

// feature: C17
func TestCommandsOfARunAreNumbered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run := w.createRun("s", "")
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if _, err := w.pool.Exec(t.Context(), "select towpath.create_command($1, 'turn', '{}', $2)", run, fmt.Sprint("key ", i/2)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := get[string](w, "select string_agg(seq::text, ' ' order by seq) from towpath.commands where run = $1", run); got != "1 2 3 4 5 6 7 8 9 10" {
		t.Errorf("sequence %s", got)
	}
	w.sound()
	first := w.command(run, "turn", "{}", "key 0")
	if !first.Duplicate {
		t.Errorf("%+v", first)
	}
	w.deny("TW40I", first.ID, "select towpath.create_command($1, 'turn', '{\"a\": 1}', 'key 0')", run)
	w.deny("TW40I", first.ID, "select towpath.create_command($1, 'steer', '{}', 'key 0')", run)
	// Another run's key is another key.
	if other := w.command(w.createRun("s", ""), "turn", "{}", "key 0"); other.Duplicate || other.Seq != 1 {
		t.Errorf("%+v", other)
	}
	w.deny("TW400", "unknown type", "select towpath.create_command($1, 'shout', '{}')", run)
	w.deny("TW400", "not a JSON object", "select towpath.create_command($1, 'turn', '[]')", run)
	w.deny("TW400", "not a command's", "select towpath.create_command($1, 'turn', '{}', null, '{\"tenant\": \"x\"}')", run)
	w.deny("TW404", "unknown process", "select towpath.create_command('nobody', 'turn', '{}')")
	w.deny("TW404", "is a turn, not a run", "select towpath.create_command($1, 'turn', '{}')", first.Process)

	// A run that has ended says how.
	w.exec(`select towpath.finish_run($1, 'failed', '{}', 'quota')`, run)
	w.deny("TW409", "failed: quota", "select towpath.create_command($1, 'turn', '{}')", run)
	if again := w.command(run, "turn", "{}", "key 0"); !again.Duplicate {
		t.Errorf("a replay in an ended run: %+v", again)
	}
	w.sound()
}

// feature: C18
func TestACommandsWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run := w.createRun("s", "")
	turn := w.command(run, "turn", `{"text": "go"}`, "")
	w.commandStatus(turn.ID, "pending")
	w.deny("TW40L", "does not own", "select towpath.ack_command($1, 1)", turn.ID)
	n := node("n")
	o, c := w.run(turn.Process, n)
	w.commandStatus(turn.ID, "acknowledged")
	if string(c.Input) != `{"text": "go"}` {
		t.Errorf("the turn got %s", c.Input)
	}
	w.status(run, "running")
	steer := w.command(run, "steer", `{"text": "left"}`, "")
	second := w.command(run, "steer", `{"text": "right"}`, "")
	third := w.command(run, "steer", `{"text": "back"}`, "")
	for range 2 {
		if got := get[string](w, "select towpath.ack_command($1, $2)", steer.ID, o.Fence); got != "acknowledged" {
			t.Errorf("ack: %s", got)
		}
	}
	w.deny("TW40L", "does not own", "select towpath.ack_command($1, $2)", second.ID, o.Fence+1)
	w.deny("TW40L", "does not own", "select towpath.finish_command($1, $2, 'completed')", steer.ID, o.Fence+1)
	for range 2 {
		if got := get[string](w, "select towpath.finish_command($1, $2, 'completed')", steer.ID, o.Fence); got != "completed" {
			t.Errorf("finish: %s", got)
		}
		if got := get[string](w, "select towpath.cancel_command($1, 'never mind')", second.ID); got != "cancelled" {
			t.Errorf("cancel: %s", got)
		}
	}
	w.deny("TW409", "is completed", "select towpath.finish_command($1, $2, 'failed', '{}', 'x')", steer.ID, o.Fence)
	if got := get[string](w, "select towpath.cancel_command($1)", steer.ID); got != "completed" {
		t.Errorf("cancel of one that has ended: %s", got)
	}
	if got := get[string](w, "select towpath.ack_command($1, $2)", second.ID, o.Fence); got != "cancelled" {
		t.Errorf("ack of one that has ended: %s", got)
	}
	// What the guest has observed is not cancelled.
	_, err := w.store.Append(t.Context(), []store.Batch{{Owner: o, Applied: []string{third.ID}}})
	w.ok(err)
	w.deny("TW409", "has been applied", "select towpath.cancel_command($1)", third.ID)

	// Its result reaches the session, which gets a new number.
	before := get[int64](w, "select change_no from towpath.sessions")
	w.deny("TW40L", "does not own", "select towpath.finish_command($1, $2, 'failed', '{}', 'provider')", turn.ID, o.Fence+1)
	for range 2 {
		if got := get[string](w, `select towpath.finish_command($1, $2, 'failed', '{"text": "no"}', 'provider')`, turn.ID, o.Fence); got != "failed" {
			t.Errorf("finish: %s", got)
		}
	}
	row := get[string](w, "select concat_ws(' ', state, last_process = $1, last_status, last_failure, change_no > $2, active_run = $3) from towpath.sessions", turn.Process, before, run)
	if row != "idle t failed provider t t" {
		t.Errorf("session: %s", row)
	}
	w.commandStatus(third.ID, "completed")
	w.deny("TW409", "no turn to steer", `select towpath.create_command($1, 'steer', '{}')`, run)
	w.deny("TW404", "unknown command", "select towpath.ack_command('nobody', 1)")
	w.deny("TW404", "unknown command", "select towpath.cancel_command($1)", *c.SessionID)
	w.sound()
}

func TestAnInterruptEndsTheTurnOfItsRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run := w.createRun("s", "")
	running, queued := w.command(run, "turn", "{}", ""), w.command(run, "turn", "{}", "")
	o, _ := w.run(running.Process, node("n"))
	stop := w.command(run, "interrupt", "{}", "k")
	words, err := w.store.Poll(t.Context(), []store.Owner{o})
	w.ok(err)
	if len(words) != 1 || words[0].Kind != "cancel" || stop.Process != running.Process {
		t.Errorf("heard %+v of %+v", words, stop)
	}
	end := completed(o)
	end.Status = "cancelled"
	w.ok(w.store.Finish(t.Context(), end))
	w.commandStatus(running.ID, "cancelled")
	w.commandStatus(stop.ID, "completed")
	w.commandStatus(queued.ID, "pending")
	w.sound()
	// One that has not begun ends at once.
	stop = w.command(run, "interrupt", "{}", "")
	w.commandStatus(queued.ID, "cancelled")
	w.commandStatus(stop.ID, "completed")
	w.sound()
}

// feature: C19
func TestACancelledRunEndsWithItsCommands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run := w.createRun("s", "")
	a, b := w.command(run, "turn", "{}", ""), w.command(run, "turn", "{}", "")
	steer := w.command(run, "steer", "{}", "")
	stranger := w.submit("s")
	for range 2 {
		if got := get[string](w, "select towpath.cancel_run($1, 'enough')", run); got != "cancelled" {
			t.Errorf("cancelled run: %s", got)
		}
	}
	for _, c := range []command{a, b, steer} {
		if got := get[string](w, "select status from towpath.commands where id = $1", c.ID); got != "cancelled" && got != "failed" {
			t.Errorf("command %d is %s", c.Seq, got)
		}
	}
	w.log(run, "process.queued", "command.created", "command.created", "command.created", "command.terminal", "command.terminal", "command.terminal",
		"process.cancel_requested", "process.cancelled")
	w.status(stranger, "queued")
	w.run(stranger, node("n"))
	if jobs := get[int](w, "select count(*) from river_job where finalized_at is null"); jobs != 1 {
		t.Errorf("%d River jobs are left", jobs)
	}
	w.sound()
	w.deny("TW400", "reason is missing", "select towpath.cancel_run($1, '')", run)
	w.deny("TW409", "is cancelled", "select towpath.finish_run($1, 'completed')", run)
	w.deny("TW404", "unknown process", "select towpath.cancel_run('nobody')")
}

// feature: C19
func TestACancelledRunWaitsForItsRunningTurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run := w.createRun("s", "")
	a, b := w.command(run, "turn", "{}", ""), w.command(run, "turn", "{}", "")
	o, _ := w.run(a.Process, node("n"))
	// Any door: a cancel of the run's process is one of the run.
	for range 2 {
		if got, err := w.store.Cancel(t.Context(), run, "enough", 0); got != "running" || err != nil {
			t.Errorf("cancel: %s, %v", got, err)
		}
	}
	w.commandStatus(a.ID, "acknowledged")
	w.commandStatus(b.ID, "cancelled")
	w.deny("TW409", "is being cancelled", "select towpath.create_command($1, 'turn', '{}')", run)
	w.deny("TW409", "is being executed", "select towpath.finish_run($1, 'completed')", run)
	late := get[string](w, "select towpath.steer($1, '{}')", a.Process)
	w.complete(o)
	w.status(run, "cancelled")
	w.commandStatus(a.ID, "completed")
	if phase := get[string](w, "select phase from towpath.input where id = $1", late); phase != "rejected" {
		t.Errorf("a late steer of a cancelled run is %s", phase)
	}
	types := w.types(run)
	if got := strings.Join(types[len(types)-3:], " "); got != "process.cancel_requested command.terminal process.cancelled" {
		t.Errorf("log ends with %s", got)
	}
	w.sound()
}

// feature: C19
func TestAFinishedRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run := w.createRun("s", "")
	a, b := w.command(run, "turn", "{}", ""), w.command(run, "turn", "{}", "")
	o, _ := w.run(a.Process, node("n"))
	w.deny("TW409", "is being executed", "select towpath.finish_run($1, 'completed')", run)
	w.complete(o)
	for range 2 {
		if got := get[string](w, `select towpath.finish_run($1, 'completed', '{"text": "done"}')`, run); got != "completed" {
			t.Errorf("finished run: %s", got)
		}
	}
	w.commandStatus(a.ID, "completed")
	w.commandStatus(b.ID, "cancelled")
	w.log(run, "process.queued", "command.created", "command.created", "process.started", "command.terminal", "command.terminal", "process.completed")
	w.deny("TW409", "is completed", `select towpath.finish_run($1, 'completed', '{"text": "other"}')`, run)
	w.deny("TW409", "is completed", `select towpath.finish_run($1, 'failed', '{"text": "done"}', 'x')`, run)
	w.deny("TW400", "failure kind", `select towpath.finish_run($1, 'failed')`, run)
	w.deny("TW400", "not completed or failed", `select towpath.finish_run($1, 'cancelled')`, run)
	if got := get[string](w, "select towpath.cancel_run($1)", run); got != "completed" {
		t.Errorf("cancel of a run that has ended: %s", got)
	}
	w.sound()
}

// A run is nobody's to claim: it acts through its turns.
func TestARunIsNotExecuted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run := w.createRun("s", "")
	job := get[int64](w, `insert into river_job (kind, args) select 'turn', jsonb_build_object('process_id', p.id, 'generation', p.generation)
		from towpath.process p where p.id = $1 returning id`, run)
	if c := w.claim(node("n"), job, w.fetch(job)); c.Action != store.ActionSkip || !strings.Contains(*c.Detail, "acts through its turns") {
		t.Errorf("a job got a run: %+v", c)
	}
	w.status(run, "queued")
	w.sound()
}

// feature: C29
func TestTwoRunsInOneSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	older, newer := w.createRun("s", ""), w.createRun("s", "")
	a, b := w.command(older, "turn", "{}", ""), w.command(newer, "turn", "{}", "")
	n := node("n")
	o, _ := w.run(a.Process, n)
	w.complete(o)
	o, _ = w.run(b.Process, n)
	w.exec("select towpath.finish_run($1, 'completed')", older)
	row := get[string](w, "select concat_ws(' ', state, active_run = $1, active_process = $2) from towpath.sessions", newer, b.Process)
	if row != "running t t" {
		t.Errorf("session after the older run has ended: %s", row)
	}
	w.complete(o)
	w.exec("select towpath.finish_run($1, 'completed')", newer)
	if row := get[string](w, "select concat_ws(' ', state, active_run, active_process) from towpath.sessions"); row != "idle" {
		t.Errorf("session at the end: %s", row)
	}
	w.sound()
}

// feature: C22
func TestEverybodyAtOnceOnOneRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := node("n")
	for range 60 {
		run := w.createRun("s", "")
		a := w.command(run, "turn", "{}", "")
		w.command(run, "turn", "{}", "")
		steer := w.command(run, "steer", "{}", "")
		o, _ := w.run(a.Process, n)
		// Not through the store, which would try a second time: no deadlock at all is the rule.
		calls := map[string][]any{
			"select towpath.finish($1, $2, 'completed', '{}')":                                                           {o.No, o.Fence},
			"select towpath.cancel_run($1)":                                                                              {run},
			"select towpath.finish_run($1, 'completed')":                                                                 {run},
			"select towpath.cancel_command($1)":                                                                          {steer.ID},
			"select towpath.create_command($1, 'turn', '{}')":                                                            {run},
			"select towpath.accept_input('s', 'message', '{}')":                                                          nil,
			"select towpath.accept_input('s', 'prompt', '{}', null, '{\"scope\": \"x\"}')":                               nil,
			"select towpath.append(array[$1]::bigint[], array[$2]::bigint[], array[$2]::bigint[], '{text}', '{\"{}\"}')": {o.No, o.Fence},
			"select towpath.poll(array[$1]::bigint[], array[$2]::bigint[])":                                              {o.No, o.Fence},
			"select towpath.stage_inputs($1, $2)":                                                                        {o.No, o.Fence},
			"select towpath.mark_read('r', 's')":                                                                         nil,
			"select towpath.session_control('s', 'retire')":                                                              nil,
		}
		var wg sync.WaitGroup
		for sql, args := range calls {
			wg.Go(func() {
				if _, err := w.pool.Exec(t.Context(), sql, args...); err != nil && !strings.HasPrefix(code(err), "TW") {
					t.Errorf("%s: %v", sql, err)
				}
			})
		}
		wg.Wait()
		// What is left of the session goes, for the next round.
		w.exec("select towpath.session_control('s', 'stop')")
		if get[string](w, "select state from towpath.sessions") == "stopping" {
			w.complete(o)
		}
		w.exec("select towpath.session_control('s', 'resume')")
	}
	w.sound()
}

// feature: C20 C21
func TestWhoHoldsARunsTurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run := w.createRun("s", "")
	turn := w.command(run, "turn", "{}", "")
	job, args := w.deliver(turn.Process)
	first, second := node("first"), node("second")
	held := w.claim(first, job, args)
	old := held.Owner()
	if c := w.claim(second, job, args); c.Action != store.ActionSkip || !strings.Contains(*c.Detail, `node "first" holds the lease`) {
		t.Errorf("while it is held: %+v", c)
	}
	w.shift("20 seconds")
	if leases, err := w.store.Renew(t.Context(), first, ttl); err != nil || leases[old.No] != old.Fence {
		t.Errorf("heartbeat: %v, %v", leases, err)
	}
	w.shift("20 seconds")
	if c := w.claim(second, job, args); c.Action != store.ActionSkip {
		t.Errorf("after a heartbeat: %+v", c)
	}
	// Nobody claims it, and still it is found.
	w.shift("31 seconds")
	if swept, err := w.store.Sweep(t.Context(), ttl, uuid.Nil, 10); err != nil || len(swept) != 1 || swept[0] != turn.Process {
		t.Fatalf("swept %v, %v", swept, err)
	}
	w.commandStatus(turn.ID, "pending")
	o, _ := w.run(turn.Process, second)
	w.commandStatus(turn.ID, "acknowledged")
	w.deny("TW40L", "does not own", "select towpath.finish_command($1, $2, 'completed')", turn.ID, old.Fence)
	if stored, err := w.store.Append(t.Context(), []store.Batch{batch(old, "from the grave")}); err != nil || len(stored) != 0 {
		t.Errorf("the old owner stored %v, %v", stored, err)
	}
	w.complete(o)
	if c := w.claim(first, job, args); c.Action != store.ActionSkip || *c.Detail != "process is completed" {
		t.Errorf("after the end: %+v", c)
	}
	if leases, err := w.store.Renew(t.Context(), second, ttl); err != nil || len(leases) != 0 {
		t.Errorf("heartbeat after the end: %v, %v", leases, err)
	}
	w.sound()
}

// feature: C23
func TestTheLogOfARun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run := w.createRun("s", "")
	o, _ := w.run(w.command(run, "turn", "{}", "").Process, node("n"))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 5 {
				w.exec("select towpath.create_command($1, $2, '{}')", run, []string{"turn", "steer"}[i%2])
				if _, err := w.store.Append(t.Context(), []store.Batch{batch(o, "a", "b")}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	w.sound() // no log has a gap
	w.exec("select towpath.cancel_run($1, 'my key is sk-0123456789abcdefghij')", run)
	var seqs []int64
	after := int64(0)
	for {
		page, err := w.store.Events(t.Context(), run, after, 7)
		w.ok(err)
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			after = e.Seq
			seqs = append(seqs, e.Seq)
			if strings.Contains(string(e.Data), "sk-0123") {
				t.Errorf("event %d has a secret: %s", e.Seq, e.Data)
			}
		}
	}
	for i, seq := range seqs {
		if seq != int64(i)+1 {
			t.Fatalf("pages had %v", seqs)
		}
	}
	w.deny("TW400", "max", "select towpath.events($1, 0, 0)", run)
	w.deny("TW403", "database's own", "select towpath.append_event($1, 'process.completed')", run)
	w.deny("TW400", "", "select towpath.append_event($1, 'gossip')", run)
}
