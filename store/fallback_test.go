package store_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/towpath/towpath/store"
)

// withFallback starts a turn of profile p that may go on with another one.
func (w *world) withFallback(session, profile string) (store.Owner, string) {
	w.Helper()
	id, err := w.store.Submit(w.Context(), store.Submission{Profile: "p", Input: []byte(`{"text": "hi", "model": "only-of-p"}`), Session: session,
		Options: []byte(`{"fallback": "` + profile + `", "timeout_s": 77}`)})
	w.ok(err)
	o, _ := w.run(id, node("n"))
	return o, id
}

// A used-up allowance is not waited for by who named another profile: it goes on there, through that one's gate.
func TestAFallbackGoesOnInANewSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.profile("q", 3)
	o, id := w.withFallback("s", "q")
	if got := w.goesBack(o, "usage_limit", time.Hour); got != "failed" {
		t.Fatalf("status %s", got)
	}
	w.log(id, "process.queued", "process.started", "process.fallback", "process.failed")
	var end struct {
		Fallback struct{ Profile, Session, Process string }
	}
	if err := json.Unmarshal(w.process(id).Outcome, &end); err != nil {
		t.Fatal(err)
	}
	next := end.Fallback.Process
	if got := get[string](w, `select concat_ws(' ', p.profile, s.metadata ->> 'fallback_of', p.spec::text, towpath.content_of(i)::text)
		from towpath.process p join towpath.session s on s.id = p.session_id join towpath.input i on i.process_no = p.no where p.id = $1`, next); got != `q s {"timeout_s": 77} {"text": "hi"}` {
		t.Errorf("went on as %s", got)
	}
	if got := get[string](w, "select profile from towpath.session where id = 's'"); got != "p" {
		t.Errorf("the old session is of profile %s", got)
	}
	w.gate("q", `{"hold_s": 60}`)
	if c := w.knock(next); c.Action != store.ActionLater {
		t.Errorf("past the gate: %+v", c)
	}
	w.sound()
}

// Other trouble is tried again as often as it may be, and only then goes elsewhere.
func TestAFallbackComesAfterTheAttempts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.profile("q", 3)
	o, id := w.withFallback("s", "q")
	for _, want := range []string{"backoff", "backoff", "failed"} {
		if got := w.goesBack(o, "overloaded", time.Second); got != want {
			t.Fatalf("status %s, want %s", got, want)
		}
		w.shift("1 minute")
		if want == "backoff" {
			o = w.again(id)
		}
	}
	if n := get[int](w, "select count(*) from towpath.process where profile = 'q'"); n != 1 {
		t.Errorf("%d turns of the fallback", n)
	}
	w.sound()
}

// A fallback that cannot be is told, and the turn fails for its own reason.
func TestAFallbackThatIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o, id := w.withFallback("s", "nobody")
	if got := w.goesBack(o, "usage_limit", time.Hour); got != "failed" {
		t.Fatalf("status %s", got)
	}
	if got := get[string](w, "select data ->> 'refused' from towpath.event where type = 'process.fallback'"); got != `unknown profile "nobody"` {
		t.Errorf("refused: %s", got)
	}
	if p := w.process(id); *p.FailureKind != "usage_limit" {
		t.Errorf("failed as %s", *p.FailureKind)
	}
	w.deny("TW400", "options.fallback", `select towpath.submit('p', '{"text": "a"}', null, null, '{"fallback": 7}')`)
	w.sound()
}
