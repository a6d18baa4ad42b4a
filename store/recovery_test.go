package store_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/towpath/towpath/store"
)

// feature: D88
func TestRecoveryGoesByTheReceipt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o, ids := staging(w)
	w.exec(apply, o.No, o.Fence, 1, ids, 0, []string{"k"}, [][]byte{[]byte("1")})
	applied := w.accept("s", "message", `{"n": "observed, in no boundary"}`, "", `{}`).ID
	staged := w.accept("s", "message", `{"n": "staged"}`, "", `{}`).ID
	w.exec("select towpath.stage_inputs($1, $2)", o.No, o.Fence)
	_, err := w.store.Append(t.Context(), []store.Batch{{Owner: o, Applied: []string{applied}}})
	w.ok(err)
	// While somebody executes it, it is his.
	if got := get[string](w, "select towpath.recover('s')"); got != "sound" {
		t.Errorf("with a live owner: %s", got)
	}
	w.shift("31 seconds")
	if got := get[string](w, "select towpath.recover('s')"); got != "recovered" {
		t.Errorf("recover: %s", got)
	}
	for _, id := range ids {
		w.phase(id, "consumed")
	}
	w.phase(applied, "queued")
	w.phase(staged, "queued")
	if got := get[string](w, "select towpath.recover('s')"); got != "sound" {
		t.Errorf("again: %s", got)
	}
	w.deny("TW404", "unknown session", "select towpath.recover('nobody')")
}

// feature: D95
func TestADamagedSessionIsQuarantinedAlone(t *testing.T) {
	t.Parallel()
	damages := map[string]struct{ sql, says string }{
		"content":  {`delete from towpath.input_content where input_id in (select id from towpath.input where session_id = 'bad')`, "has lost its content"},
		"payload":  {`update towpath.input set payload = '{"n": 666}' where session_id = 'bad' and topic = 'event'`, "is not what was accepted"},
		"state":    {`update towpath.session set runtime_state = 'stopped' where id = 'bad'`, "is open in a session that is stopped"},
		"snapshot": {`update towpath.session set version = 0 where id = 'bad'`, "the snapshot is at 0"},
		"receipt":  {`update towpath.input set boundary_seq = 7 where session_id = 'bad' and phase = 'consumed'`, "names receipt 7"},
	}
	for name, d := range damages {
		t.Run("D95 "+name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var waiting []string
			for _, s := range []string{"also good", "bad", "good"} {
				o, c := w.run(w.submit(s), node("n"))
				end := completed(o)
				end.Base, end.Keys, end.Values = c.Version, []string{"k"}, [][]byte{[]byte("v")}
				w.ok(w.store.Finish(t.Context(), end))
				w.accept(s, "event", fmt.Sprintf(`{"text": %q}`, strings.Repeat("x", 70_000)), "", `{}`)
				waiting = append(waiting, w.accept(s, "event", `{"n": 1}`, "", `{"durability": "ephemeral"}`).ID)
			}
			w.exec("begin; alter table towpath.input disable trigger user; alter table towpath.session disable trigger user; " + d.sql +
				"; alter table towpath.input enable trigger user; alter table towpath.session enable trigger user; commit")
			before := get[string](w, "select string_agg(i::text, ',' order by id) from towpath.input i where session_id = 'bad'")
			if got := get[string](w, "select concat_ws(' ', recovered, quarantined) from towpath.recover_all()"); got != "2 1" {
				t.Errorf("recovered and quarantined: %s", got)
			}
			if why := get[string](w, "select quarantine from towpath.sessions where id = 'bad'"); !strings.Contains(why, d.says) {
				t.Errorf("quarantined because %q", why)
			}
			if after := get[string](w, "select string_agg(i::text, ',' order by id) from towpath.input i where session_id = 'bad'"); after != before {
				t.Error("its rows were changed")
			}
			w.phase(waiting[0], "abandoned: ephemeral")
			w.phase(waiting[2], "abandoned: ephemeral")
			// Nothing new comes in, and the count is on view.
			w.deny("TW423", "quarantined", "select towpath.accept_input('bad', 'event', '{}')")
			w.deny("TW423", "quarantined", "select towpath.kv_put('bad', 'a', '1', 1)")
			w.deny("TW423", "quarantined", "select towpath.submit('p', '{}', 'bad')")
			if h := w.store.Health(t.Context()); !h.Ready || h.QuarantinedSessions != 1 || !strings.Contains(h.Message, "1 session") {
				t.Errorf("health %+v", h)
			}
			w.deny("TW409", d.says, "select towpath.release_quarantine('bad')")
			w.submit("good")
		})
	}
}

func TestARepairedSessionIsReleased(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	a := w.accept("s", "event", `{"n": 1}`, "", `{}`)
	damage := func(payload string) {
		w.exec("begin; alter table towpath.input disable trigger user; update towpath.input set payload = '" + payload + "'; alter table towpath.input enable trigger user; commit")
	}
	damage(`{"n": 2}`)
	w.exec("select towpath.recover_all()")
	if again := get[string](w, "select towpath.recover('s')"); again != "quarantined" {
		t.Errorf("again: %s", again)
	}
	damage(`{"n": 1}`)
	if got := get[string](w, "select towpath.release_quarantine('s')"); got != "sound" {
		t.Errorf("released: %s", got)
	}
	w.phase(a.ID, "queued")
	w.submit("s")
	w.sound()
	w.deny("TW404", "unknown session", "select towpath.release_quarantine('nobody')")
}
