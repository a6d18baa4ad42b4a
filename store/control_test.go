package store_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/store"
)

// in brings a turn of a session of its own into a state.
func (w *world) in(state string) (string, store.Owner) {
	w.Helper()
	id := w.submit("")
	if state == "queued" {
		return id, store.Owner{}
	}
	o, _ := w.run(id, node("n"))
	end := completed(o)
	switch state {
	case "running":
	case "backoff":
		_, err := w.store.Retry(w.Context(), o, "again", time.Minute, false, []byte("{}"), "", false)
		w.ok(err)
	case "waiting":
		w.ok(w.store.Park(w.Context(), o, []byte(`{"kind": "signal", "name": "x"}`)))
	default:
		if end.Status = state; state == "failed" {
			end.Kind = "provider"
		}
		w.ok(w.store.Finish(w.Context(), end))
	}
	w.status(id, state)
	return id, o
}

var (
	live  = []string{"queued", "running", "waiting", "backoff"}
	ended = []string{"completed", "failed", "cancelled", "abandoned"}
)

func TestSayingSomethingToATurnInEachState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, state := range slices.Concat(live, ended) {
		id, _ := w.in(state)
		seq := w.process(id).LastSeq
		for kind, say := range map[string]func(key string) (string, error){
			"steer":  func(key string) (string, error) { return w.store.Steer(t.Context(), id, []byte(`{"text": "x"}`), key) },
			"answer": func(key string) (string, error) { return w.store.Answer(t.Context(), id, []byte(`{"text": "x"}`), key) },
		} {
			input, err := say(kind)
			if slices.Contains(ended, state) {
				w.refused(err, store.ErrConflict, "takes no "+kind)
				continue
			}
			w.ok(err)
			if again, err := say(kind); again != input || err != nil {
				t.Errorf("%s again while %s: %q, %v", kind, state, again, err)
			}
			if phase := get[string](w, "select kind || ' ' || phase from towpath.input where id = $1", input); phase != kind+" queued" {
				t.Errorf("%s while %s is %s", kind, state, phase)
			}
		}
		w.status(id, state)
		if after := w.process(id).LastSeq; after != seq {
			t.Errorf("%d events more", after-seq)
		}
	}
	w.sound()
}

func TestAReplayedSteerIsAnsweredAfterTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, o := w.in("running")
	input, err := w.store.Steer(t.Context(), id, []byte(`{"text": "x"}`), "k")
	w.ok(err)
	w.complete(o)
	if again, err := w.store.Steer(t.Context(), id, []byte(`{"text": "x"}`), "k"); again != input || err != nil {
		t.Errorf("%q, %v", again, err)
	}
	_, err = w.store.Steer(t.Context(), id, []byte(`{"text": "y"}`), "k")
	w.refused(err, store.ErrIdempotency, "used for another input")
	_, err = w.store.Answer(t.Context(), id, []byte(`{"text": "x"}`), "k")
	w.refused(err, store.ErrIdempotency, "used for another input")
}

func TestSayingWhatCannotBeSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("")
	for content, c := range map[string]struct {
		want error
		says string
	}{
		"":       {store.ErrInvalid, "not a JSON object"},
		`null`:   {store.ErrInvalid, "not a JSON object"},
		`"text"`: {store.ErrInvalid, "not a JSON object"},
		`{"text": "` + strings.Repeat("x", 1<<20) + `"}`:                       {store.ErrTooLarge, "limit is 1048576"},
		`{"a": ` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`: {store.ErrTooLarge, "nested"},
		"{\"text\": \"\xff\"}": {store.ErrInvalid, "UTF8"},
		`{"text": "\u0000"}`:   {store.ErrInvalid, "u0000"},
	} {
		var raw json.RawMessage
		if content != "" {
			raw = json.RawMessage(content)
		}
		_, err := w.store.Steer(t.Context(), id, raw, "")
		w.refused(err, c.want, c.says)
	}
	_, err := w.store.Steer(t.Context(), "p_none", []byte("{}"), "")
	w.refused(err, store.ErrNotFound, `unknown process "p_none"`)
	_, err = w.pool.Exec(t.Context(), "select towpath.steer($1, '{}', '')", id)
	if err == nil || !strings.Contains(err.Error(), "idempotency_key is empty") {
		t.Errorf("empty key: %v", err)
	}
}

func TestCancelInEachState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, state := range slices.Concat(live, ended) {
		id, o := w.in(state)
		before := w.types(id)
		status, err := w.store.Cancel(t.Context(), id, "enough", time.Minute)
		w.ok(err)
		p := w.process(id)
		switch {
		case slices.Contains(ended, state):
			if status != state || !slices.Equal(w.types(id), before) {
				t.Errorf("cancel of a %s turn: %s, %v", state, status, w.types(id))
			}
			continue
		case state == "running":
			if status != "running" || p.CancelRequestedAt == nil || *p.CancelReason != "enough" {
				t.Errorf("cancel of a running turn: %s, %+v", status, p)
			}
			w.log(id, append(before, "process.cancel_requested")...)
			if words, err := w.store.Poll(t.Context(), []store.Owner{o}); err != nil || len(words) != 1 || words[0].Kind != "cancel" {
				t.Errorf("its owner hears %+v, %v", words, err)
			}
		default:
			if status != "cancelled" || p.CancelRequestedAt == nil || string(p.Outcome) != `{"reason": "enough"}` {
				t.Errorf("cancel of a %s turn: %s, %+v", state, status, p)
			}
			w.log(id, append(before, "process.cancel_requested", "process.cancelled")...)
			if jobs := w.live(id); jobs != 0 {
				t.Errorf("%d River jobs of a cancelled turn that was %s", jobs, state)
			}
		}
		// Asking again changes nothing.
		before = w.types(id)
		if again, err := w.store.Cancel(t.Context(), id, "really", time.Minute); again != status || err != nil || !slices.Equal(w.types(id), before) {
			t.Errorf("cancel again: %s, %v, %v", again, err, w.types(id))
		}
	}
	w.sound()
}

func TestAnInterruptBringsTheEndNearer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, o := w.in("running")
	grace := func() int {
		words, err := w.store.Poll(t.Context(), []store.Owner{o})
		w.ok(err)
		var cancel struct {
			Reason string `json:"reason"`
			Grace  int    `json:"grace_ms"`
		}
		w.ok(json.Unmarshal(words[0].Payload, &cancel))
		if cancel.Reason != "first" {
			t.Errorf("reason %q", cancel.Reason)
		}
		return cancel.Grace
	}
	_, err := w.store.Cancel(t.Context(), id, "first", time.Hour)
	w.ok(err)
	if g := grace(); g < 3_500_000 {
		t.Errorf("grace %d ms", g)
	}
	status, err := w.store.Interrupt(t.Context(), id, "second")
	w.ok(err)
	if g := grace(); status != "running" || g > 700 {
		t.Errorf("%s, grace %d ms", status, g)
	}
	_, err = w.store.Cancel(t.Context(), id, "third", time.Hour)
	w.ok(err)
	if g := grace(); g > 700 {
		t.Errorf("a later deadline moved it back to %d ms", g)
	}
	w.log(id, "process.queued", "process.started", "process.cancel_requested")
	// Interrupting what has not begun ends it at once.
	queued := w.submit("")
	if status, err := w.store.Interrupt(t.Context(), queued, "no"); status != "cancelled" || err != nil {
		t.Errorf("%s, %v", status, err)
	}
	w.sound()
}

func TestBadCancels(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.submit("")
	_, err := w.store.Cancel(t.Context(), "p_none", "x", 0)
	w.refused(err, store.ErrNotFound, `unknown process "p_none"`)
	_, err = w.store.Interrupt(t.Context(), "", "x")
	w.refused(err, store.ErrNotFound, `unknown process ""`)
	_, err = w.store.Cancel(t.Context(), id, "", 0)
	w.refused(err, store.ErrInvalid, "reason is missing")
	_, err = w.store.Cancel(t.Context(), id, "x", -time.Second)
	w.refused(err, store.ErrInvalid, "grace")
	_, err = w.store.Cancel(t.Context(), id, "x", 2*time.Hour)
	w.refused(err, store.ErrInvalid, "grace")
	w.status(id, "queued")
}

func TestAnInputComesUntilItIsApplied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, o := w.in("running")
	other, oo := w.in("running")
	first, err := w.store.Steer(t.Context(), id, []byte(`{"text": "1"}`), "")
	w.ok(err)
	second, err := w.store.Answer(t.Context(), id, []byte(`{"text": "2", "id": "forged"}`), "")
	w.ok(err)
	third, err := w.store.Steer(t.Context(), other, []byte(`{"text": "3"}`), "")
	w.ok(err)
	hear := func(owners ...store.Owner) []string {
		words, err := w.store.Poll(t.Context(), owners)
		w.ok(err)
		var ids []string
		for _, word := range words {
			var payload map[string]string
			w.ok(json.Unmarshal(word.Payload, &payload))
			if payload["id"] != *word.ID || payload["type"] != word.Kind {
				t.Errorf("word %s: %s", *word.ID, word.Payload)
			}
			ids = append(ids, *word.ID)
		}
		slices.Sort(ids)
		return ids
	}
	all := []string{first, second, third}
	slices.Sort(all)
	for range 2 {
		if got := hear(o, oo); !slices.Equal(got, all) {
			t.Errorf("heard %v, want %v", got, all)
		}
	}
	if staged := get[int](w, "select count(*) from towpath.input where phase = 'staged' and kind <> 'turn'"); staged != 3 {
		t.Errorf("%d are staged", staged)
	}
	stored, err := w.store.Append(t.Context(), []store.Batch{{Owner: o, Applied: []string{first, third}}})
	w.ok(err)
	if stored[o.No] != 2 {
		t.Errorf("stored %v", stored)
	}
	// Another turn's input is not ours to apply.
	if got, want := hear(o, oo), []string{second, third}; !slices.Equal(got, sorted(want)) {
		t.Errorf("heard %v, want %v", got, want)
	}
	// A zombie hears nothing.
	if got := hear(store.Owner{No: o.No, Fence: o.Fence - 1}); got != nil {
		t.Errorf("a stale fence heard %v", got)
	}
	if got := hear(); got != nil {
		t.Errorf("nobody heard %v", got)
	}
	w.sound()
}

func sorted(s []string) []string { slices.Sort(s); return s }
