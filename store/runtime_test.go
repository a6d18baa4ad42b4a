package store_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/towpath/towpath/store"
)

// conversation is a session "s" in a state, with an event that waits. busy: a turn runs and one is queued behind it; queued:
// a turn is queued.
func conversation(w *world, state string) (running store.Owner, queued string, waiting string) {
	w.Helper()
	switch state {
	case "running", "retired, running", "stopping":
		running, _ = w.run(w.submit("s"), node("n"))
	default:
		w.session("s")
	}
	waiting = w.accept("s", "event", `{}`, "", `{}`).ID
	queued = w.submit("s")
	switch state {
	case "retired", "retired, running":
		w.exec("select towpath.session_control('s', 'retire')")
	case "stopped", "stopping":
		w.exec("select towpath.session_control('s', 'stop')")
	case "destroyed":
		w.exec("select towpath.session_control('s', 'destroy')")
	}
	return running, queued, waiting
}

// feature: D92 D94
func TestWhatEachActionDoesInEachState(t *testing.T) {
	t.Parallel()
	const refused = ""
	states := []string{"idle", "running", "retired", "retired, running", "stopping", "stopped", "destroyed"}
	table := map[string][]string{ // the state after it
		"retire":  {"retired", "running", "retired", "running", refused, refused, refused},
		"reset":   {"idle", refused, "idle", refused, refused, refused, refused},
		"stop":    {"stopped", "stopping", "stopped", "stopping", "stopping", "stopped", refused},
		"destroy": {"destroyed", "destroyed", "destroyed", "destroyed", "destroyed", "destroyed", "destroyed"},
		"recycle": {"idle", refused, "idle", refused, refused, refused, refused},
		"resume":  {"idle", "running", refused, refused, refused, "idle", refused},
	}
	for action, after := range table {
		for i, state := range states {
			t.Run(fmt.Sprintf("D92 %s when %s", action, state), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				running, queued, waiting := conversation(w, state)
				before := w.everything()
				got, err := w.store.ControlSession(t.Context(), "s", action, "")
				if after[i] == refused {
					w.refused(err, store.ErrConflict, `session "s" is`)
					if now := w.everything(); now != before {
						t.Errorf("a refused action changed\n%s\nto\n%s", before, now)
					}
					return
				}
				w.ok(err)
				if got != after[i] {
					t.Errorf("state %s, want %s", got, after[i])
				}
				w.sound()
				ended := state == "stopping" || state == "stopped" || state == "destroyed"
				switch action {
				case "retire", "recycle", "resume":
					if !ended {
						w.status(queued, "queued")
						w.phase(waiting, "queued")
					}
				case "reset", "stop", "destroy":
					word := map[string]string{"reset": "reset", "stop": "stopped", "destroy": "destroyed"}[action]
					w.status(queued, "cancelled")
					if !ended {
						w.phase(waiting, "abandoned: "+word)
						w.phase(get[string](w, "select i.id from towpath.input i join towpath.process p on p.no = i.process_no where p.id = $1", queued), "abandoned: "+word)
					}
				}
				if running.No == 0 {
					return
				}
				// What runs is asked to end and does so in its own time; the rest goes on as the action says.
				asked := get[bool](w, "select cancel_requested_at is not null from towpath.process where no = $1", running.No)
				if asked != (action == "stop" || action == "destroy" || ended) {
					t.Errorf("the running turn was asked to end: %t", asked)
				}
				w.complete(running)
				w.sound()
			})
		}
	}
}

// feature: D92
func TestWhoAcceptsInputs(t *testing.T) {
	t.Parallel()
	for state, takes := range map[string]bool{"idle": true, "running": true, "retired": false, "retired, running": false, "stopping": false, "stopped": false, "destroyed": false} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			conversation(w, state)
			for _, sql := range []string{
				"select towpath.accept_input('s', 'prompt', '{}')", "select towpath.accept_input('s', 'event', '{}')",
				"select towpath.submit('p', '{}', 's')", "select towpath.create_run('p', 's')",
			} {
				if takes {
					w.exec(sql)
				} else {
					w.deny("TW409", "accepts no", sql)
				}
			}
			w.sound()
		})
	}
}

// feature: D92
func TestRetiringDrainsWhatIsQueued(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := w.submit("s"), w.submit("s")
	waiting := w.accept("s", "event", `{}`, "", `{}`).ID
	left := w.accept("s", "event", `{}`, "", `{}`).ID
	w.exec("select towpath.session_control('s', 'retire')")
	n := node("n")
	o, _ := w.run(first, n)
	_, err := w.store.Append(t.Context(), []store.Batch{{Owner: o, Applied: []string{waiting}}})
	w.ok(err)
	w.complete(o)
	w.phase(waiting, "consumed")
	w.phase(left, "queued")
	o, _ = w.run(second, n)
	w.complete(o)
	w.phase(left, "abandoned: retired")
	w.sound()
	// With nothing to drain it is so at once.
	w.session("idle")
	alone := w.accept("idle", "event", `{}`, "", `{}`).ID
	w.exec("select towpath.session_control('idle', 'retire')")
	w.phase(alone, "abandoned: retired")
}

// feature: D93
func TestAControlChangeThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conversation(w, "running")
	before := w.everything()
	w.exec(`create function fault() returns trigger language plpgsql as $$ begin raise 'fault'; end $$`)
	for _, at := range []string{"update of runtime_state on towpath.session", "update of phase on towpath.input", "update of cancel_requested_at on towpath.process", "insert on towpath.event"} {
		w.exec("create trigger zz_fault after " + at + " for each statement execute function fault()")
		w.deny("P0001", "fault", "select towpath.session_control('s', 'destroy')")
		w.exec("drop trigger zz_fault on " + at[strings.Index(at, "towpath."):])
		if after := w.everything(); after != before {
			t.Errorf("a fault at %s left\n%s\nof\n%s", at, after, before)
		}
	}
	// Nobody sees the new state before it is stored.
	tx := w.begin()
	_, err := tx.Exec(t.Context(), "select towpath.session_control('s', 'destroy')")
	w.ok(err)
	if state := get[string](w, "select state from towpath.sessions"); state != "running" {
		t.Errorf("state %s before the commit", state)
	}
	w.ok(tx.Commit(t.Context()))
	if state := get[string](w, "select state from towpath.sessions"); state != "destroyed" {
		t.Errorf("state %s after the commit", state)
	}
	// A direct write does not get round the table.
	w.deny("TW409", "cannot go from destroyed to idle", "update towpath.session set runtime_state = 'idle'")
	w.deny("23514", "runtime_state", "insert into towpath.session (id, tenant, project, profile, runtime_state, created_at, updated_at) values ('x', 't', 'p', 'p', 'running', now(), now())")
}

// feature: D93
func TestControlChangesAtOnceAreOneAfterTheOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 10 {
		w.submit("s")
	}
	var wg sync.WaitGroup
	for range 4 {
		for _, action := range []string{"retire", "stop", "resume", "reset"} {
			wg.Go(func() {
				if _, err := w.store.ControlSession(t.Context(), "s", action, ""); err != nil && !errors.Is(err, store.ErrConflict) {
					t.Error(err)
				}
			})
			wg.Go(func() {
				if _, err := w.store.Submit(t.Context(), store.Submission{Profile: "p", Input: []byte("{}"), Session: "s"}); err != nil && !errors.Is(err, store.ErrConflict) {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	w.sound()
}

func TestActionsThatAreNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	w.deny("TW400", "unknown action", "select towpath.session_control('s', 'explode')")
	w.deny("TW400", "unknown action", "select towpath.session_control('s', null)")
	w.deny("TW404", "unknown session", "select towpath.session_control('nobody', 'stop')")
	w.deny("TW404", "unknown session", "select towpath.session_control(null, 'stop')")
}
