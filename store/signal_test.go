package store_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/towpath/towpath/store"
)

// hearing is an operation that takes signals go and stop.
func hearing(o *store.StartOptions) {
	o.EventTypes = map[string]json.RawMessage{
		"signal.go":   raw(`{"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}`),
		"signal.stop": raw(`{}`),
	}
}

func (w *world) signal(id, name, signalID, data string) int64 {
	w.Helper()
	seq, err := w.store.Signal(w.Context(), id, name, signalID, raw(data), "")
	w.ok(err)
	return seq
}

// feature: D26
func TestASignalIsSentOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.named("a", hearing)
	first := w.signal("a", "go", "1", `{"n": 1}`)
	if again := w.signal("a", "go", "1", `{"n": 1.0}`); again != first {
		t.Errorf("sent again it is event %d, not %d", again, first)
	}
	_, err := w.store.Signal(t.Context(), "a", "go", "1", raw(`{"n": 2}`), "")
	w.refused(err, store.ErrIdempotency, "another event")
	// Another name is another signal, and so is a long id.
	w.signal("a", "stop", "1", `{}`)
	w.signal("a", "stop", strings.Repeat("x", 900_000), `{}`)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if _, err := w.store.Signal(t.Context(), "a", "go", "2", raw(`{"n": 2}`), ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	w.log("a", "process.queued", "signal.go", "signal.stop", "signal.stop", "signal.go")
	w.sound()
}

// feature: D27 D31
func TestTheNthSignalAnswersTheNthWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.named("a", hearing)
	n := node("n")
	hear := func(o store.Owner, name string, ordinal int, want string) {
		t.Helper()
		got, err := w.store.WaitSignal(t.Context(), o, name, ordinal)
		w.ok(err)
		if got.Seq == nil && want != "" || got.Seq != nil && string(got.Data) != want {
			t.Errorf("%s %d: %+v %s, want %q", name, ordinal, got.Seq, got.Data, want)
		}
	}
	w.signal("a", "go", "x", `{"n": 1}`) // before anybody waits
	o := w.claimed("a", n)
	hear(o, "go", 1, `{"n": 1}`)
	hear(o, "go", 2, "")
	p := w.process("a")
	if p.Status != "waiting" || p.Node != nil {
		t.Errorf("%s on %v", p.Status, p.Node)
	}
	if wait := get[string](w, "select wait - 'since' from towpath.processes where id = 'a'"); wait != `{"kind": "signal", "name": "go", "type": "signal.go", "ordinal": 2}` {
		t.Errorf("waits for %s", wait)
	}
	if got := w.listed(map[string]any{"waiting": true}); !slices.Equal(got, []string{"a"}) {
		t.Errorf("waiting: %v", got)
	}
	// Others' signals and what was sent before wake nobody.
	w.signal("a", "stop", "x", `{}`)
	w.signal("a", "stop", "y", `{}`) // the second of its name, as the one waited for is
	w.signal("a", "go", "x", `{"n": 1}`)
	w.status("a", "waiting")
	w.signal("a", "go", "y", `{"n": 2}`)
	w.status("a", "queued")
	// Whoever goes on hears the same in the same order.
	o = w.claimed("a", node("m"))
	hear(o, "go", 1, `{"n": 1}`)
	hear(o, "go", 2, `{"n": 2}`)
	hear(o, "stop", 1, `{}`)
	// A wait for one that is further off is not answered by the next.
	hear(o, "go", 4, "")
	w.signal("a", "go", "z", `{"n": 3}`)
	w.status("a", "waiting")
	w.signal("a", "go", "zz", `{"n": 4}`)
	w.status("a", "queued")
	w.log("a", "process.queued", "signal.go", "process.started", "process.waiting", "signal.stop", "signal.stop", "signal.go", "process.resumed",
		"process.started", "process.waiting", "signal.go", "signal.go", "process.resumed")
	// The end clears a wait, and there is none after it.
	o = w.claimed("a", n)
	hear(o, "stop", 3, "")
	_, err := w.store.Cancel(t.Context(), "a", "enough", 0)
	w.ok(err)
	if wait := get[*string](w, "select wait::text from towpath.processes where id = 'a'"); wait != nil {
		t.Errorf("still waits for %s", *wait)
	}
	_, err = w.store.WaitSignal(t.Context(), o, "stop", 3)
	w.refused(err, store.ErrFence, "does not own")
	w.sound()
}

// A process that waits has given its place back: executors with fewer places than there are parents get through them all.
//
// feature: D32
func TestMoreParentsThanSlotsFinish(t *testing.T) {
	t.Parallel()
	for _, slots := range []int{1, 3} {
		t.Run(fmt.Sprint(slots), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			const parents, children = 8, 2
			for i := range parents {
				w.named(fmt.Sprintf("p%d", i), func(o *store.StartOptions) {
					o.EventTypes = map[string]json.RawMessage{"signal.done": raw(`{}`)}
				})
			}
			// execute takes whatever is due and does one stretch of it.
			execute := func(id string) error {
				l, err := w.store.ClaimProcess(t.Context(), id, node("n"), ttl, 0)
				if err != nil || l.Action != store.ActionRun { // another has it
					return err
				}
				if parent, _, child := strings.Cut(id, "."); child {
					if _, err := w.store.Signal(t.Context(), parent, "done", id, raw(`{}`), ""); err != nil {
						return err
					}
				} else {
					for i := range children {
						p := operation()
						p.Options.ID, p.Options.Parent = fmt.Sprintf("%s.%d", id, i), id
						if _, err := w.store.Start(t.Context(), p); err != nil {
							return err
						}
					}
					for i := range children {
						if s, err := w.store.WaitSignal(t.Context(), l.Owner(), "done", i+1); err != nil || s.Seq == nil {
							return err // it waits, and this place is free
						}
					}
				}
				return w.store.Complete(t.Context(), l.Owner(), done("end"))
			}
			var executors sync.WaitGroup
			for range slots {
				executors.Go(func() {
					for {
						due := w.listed(map[string]any{"status": "queued"})
						if len(due) == 0 {
							return // who executes something still goes on with what that makes due
						}
						slices.SortFunc(due, func(a, b string) int { return len(a) - len(b) }) // parents first: all of them wait before a child begins
						if err := execute(due[0]); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			executors.Wait()
			if n := len(w.listed(map[string]any{"status": "completed"})); n != parents*(1+children) {
				t.Errorf("%d of %d processes completed", n, parents*(1+children))
			}
			w.sound()
		})
	}
}

// A wait and its signal meet: whichever is first, the process goes on.
//
// feature: D27
func TestASignalAndItsWaitMeet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 40 {
		id := w.named(fmt.Sprintf("p%d", i), hearing)
		o := w.claimed(id, node("n"))
		var wg sync.WaitGroup
		var got store.Signalled
		wg.Go(func() {
			var err error
			if got, err = w.store.WaitSignal(t.Context(), o, "stop", 1); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() { w.signal(id, "stop", "x", "{}") })
		wg.Wait()
		if status := w.process(id).Status; got.Seq == nil && status != "queued" || got.Seq != nil && status != "running" {
			t.Errorf("heard %v and is %s", got.Seq, status)
		}
	}
	w.sound()
}

// feature: D28 D29 D30
func TestWhatIsNoSignal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	w.named("a", hearing, with("session:s"))
	w.named("deaf")
	w.named("ended", hearing, with("session:s"))
	first := w.signal("ended", "go", "1", `{"n": 1}`)
	_, err := w.store.Cancel(t.Context(), "ended", "x", 0)
	w.ok(err)
	if seq, err := w.store.Signal(t.Context(), "a", "go", "1", raw(`{"n": 1}`), "session:s"); err != nil || seq != 2 {
		t.Errorf("from its session: %d, %v", seq, err)
	}
	if again := w.signal("ended", "go", "1", `{"n": 1}`); again != first {
		t.Errorf("the replay after the end is event %d, not %d", again, first)
	}
	o := w.claimed("a", node("n"))
	big := strings.Repeat("x", 1<<20)
	for name, c := range map[string]struct{ code, says, sql string }{
		"D28 no name":                   {"TW400", "name of a signal", "select towpath.signal('a', null, '1')"},
		"D28 a name with a dot":         {"TW400", "name of a signal", "select towpath.signal('a', 'go.now', '1')"},
		"D28 a long name":               {"TW400", "name of a signal", "select towpath.signal('a', '" + big + "', '1')"},
		"D28 undeclared":                {"TW400", "not declared", "select towpath.signal('a', 'jump', '1')"},
		"D28 undeclared by anybody":     {"TW400", "not declared", "select towpath.signal('deaf', 'go', '1')"},
		"D28 of another type":           {"TW400", "data.n is of type string", `select towpath.signal('a', 'go', '2', '{"n": "one"}')`},
		"D28 without what it requires":  {"TW400", "data.n is missing", `select towpath.signal('a', 'go', '2', '{}')`},
		"D28 a list":                    {"TW400", "not a JSON object", `select towpath.signal('a', 'stop', '2', '[]')`},
		"D28 null":                      {"TW400", "not a JSON object", `select towpath.signal('a', 'stop', '2', null)`},
		"D28 huge":                      {"TW413", "1048576", `select towpath.signal('a', 'stop', '2', jsonb_build_object('x', '` + big + `'))`},
		"D26 no id":                     {"TW400", "signal_id", "select towpath.signal('a', 'stop', null)"},
		"D26 an empty id":               {"TW400", "signal_id", "select towpath.signal('a', 'stop', '')"},
		"D29 a stranger":                {"TW403", "not shared", `select towpath.signal('a', 'stop', '2', '{}', 'session:r')`},
		"D29 a frame":                   {"TW403", "not shared", `select towpath.signal('a', 'stop', '2', '{}', 'session:s/frame:f')`},
		"D29 a stranger's replay":       {"TW403", "not shared", `select towpath.signal('a', 'go', '1', '{"n": 1}', 'session:r')`},
		"D29 no scope at all":           {"TW400", "not a scope", `select towpath.signal('a', 'stop', '2', '{}', 'me')`},
		"D30 after the end":             {"TW409", "is cancelled", `select towpath.signal('ended', 'go', '2', '{"n": 1}')`},
		"nobody":                        {"TW404", "unknown process", "select towpath.signal('none', 'go', '1')"},
		"past the wait":                 {"TW403", "towpath.signal sends one", "select towpath.append_event('a', 'signal.stop')"},
		"by its owner":                  {"TW403", "towpath.signal sends one", fmt.Sprintf("select towpath.append_owned(%d, %d, 'signal.stop')", o.No, o.Fence)},
		"a wait for what is undeclared": {"TW400", "declare event type", fmt.Sprintf("select towpath.wait_signal(%d, %d, 'jump')", o.No, o.Fence)},
		"wait number 0":                 {"TW400", "ordinal", fmt.Sprintf("select towpath.wait_signal(%d, %d, 'go', 0)", o.No, o.Fence)},
		"wait of no name":               {"TW400", "name of a signal", fmt.Sprintf("select towpath.wait_signal(%d, %d, null)", o.No, o.Fence)},
		"wait of a former owner":        {"TW40L", "does not own", fmt.Sprintf("select towpath.wait_signal(%d, %d, 'go')", o.No, o.Fence-1)},
	} {
		t.Run(name, func(*testing.T) { w.deny(c.code, c.says, c.sql) })
	}
	w.log("a", "process.queued", "signal.go", "process.started")
	// To one that was pruned.
	w.shift("1000 hours")
	w.pruned(store.Prune{})
	for _, scope := range []string{"", "session:s"} {
		_, err = w.store.Signal(t.Context(), "ended", "go", "1", raw(`{"n": 1}`), scope)
		w.refused(err, store.ErrPruned, "no longer retained")
	}
	w.sound()
}
