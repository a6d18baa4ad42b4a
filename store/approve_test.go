package store_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/towpath/towpath/store"
)

// waiting is a turn that runs and has asked for two approvals.
func waiting(w *world) (id string, o store.Owner) {
	w.Helper()
	id = w.submit("s")
	o, _ = w.run(id, node("n"))
	w.tell(o, "approval.requested", `{"id":"c1/0","of":"exec","command":"rm -r x","choices":["accept","decline","cancel"]}`)
	w.tell(o, "approval.requested", `{"id":"q1/1","of":"question","reason":"which","choices":[]}`)
	return id, o
}

// tell stores one event of a guest.
func (w *world) tell(o store.Owner, kind, data string) {
	w.Helper()
	_, err := w.store.Append(w.Context(), []store.Batch{{Owner: o, Types: []string{kind}, Data: []string{data}}})
	w.ok(err)
}

func TestAnApprovalIsAnsweredOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, o := waiting(w)
	list, err := w.store.Approvals(w.Context())
	w.ok(err)
	if len(list) != 2 || list[0].Approval != "c1/0" || list[0].Process != id || *list[0].Command != "rm -r x" || len(list[0].Choices) != 3 || list[1].Of != "question" {
		t.Fatalf("%+v", list)
	}
	w.deny("TW409", "name one of c1/0, q1/1", "select towpath.approve($1)", id)
	w.deny("TW400", "choices are accept, decline, cancel", "select towpath.approve($1, 'c1/0', 'perhaps')", id)
	w.deny("TW400", "no choice", "select towpath.approve($1, 'q1/1', '')", id)
	w.deny("TW404", "towpath.approvals", "select towpath.approve($1, 'c9/9')", id)
	w.deny("TW404", "unknown process", "select towpath.approve('nobody', 'c1/0')")
	first, err := w.store.Approve(w.Context(), id, "c1/0", "decline", "")
	w.ok(err)
	if again, err := w.store.Approve(w.Context(), id, "c1/0", "decline", "other"); err != nil || again != first {
		t.Errorf("the same again: %s, %v, want %s", again, err, first)
	}
	w.deny("TW409", "the first answer counts", "select towpath.approve($1, 'c1/0', 'accept')", id)
	if _, err := w.store.Approve(w.Context(), id, "q1/1", "the left one", ""); err != nil {
		t.Error(err)
	}
	words, err := w.store.Poll(w.Context(), []store.Owner{o})
	w.ok(err)
	if len(words) != 2 || words[0].Kind != "answer" || *words[0].ID != first {
		t.Fatalf("the guest hears %+v", words)
	}
	var said struct{ Type, To, Output string }
	if err := json.Unmarshal(words[0].Payload, &said); err != nil || said.Type != "answer" || said.To != "c1/0" || said.Output != "decline" {
		t.Errorf("the guest hears %s, %v", words[0].Payload, err)
	}
	// What the guest has said to be over waits no longer.
	w.tell(o, "approval.answered", `{"id":"c1/0","decision":"decline","by":"client"}`)
	if list, err = w.store.Approvals(w.Context()); err != nil || len(list) != 1 || list[0].Approval != "q1/1" {
		t.Errorf("%+v, %v", list, err)
	}
	w.complete(o)
	if list, err = w.store.Approvals(w.Context()); err != nil || len(list) > 0 {
		t.Errorf("a turn that has ended waits for %+v, %v", list, err)
	}
	w.deny("TW404", "does not wait", "select towpath.approve($1, 'never')", id)
}

func TestTheOnlyApprovalNeedsNoName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, o := waiting(w)
	seq := get[int64](w, "select seq from towpath.event e join towpath.process p on p.no = e.process_no where p.id = $1 and e.data ->> 'id' = 'c1/0'", id)
	w.tell(o, "approval.answered", `{"id":"q1/1","decision":"x","by":"nobody"}`)
	if _, err := w.store.Approve(w.Context(), id, "", "accept", ""); err != nil {
		t.Error(err)
	}
	// What was taken back waits no longer.
	w.tell(o, "process.retracted", fmt.Sprintf(`{"from_seq":%[1]d,"to_seq":%[1]d}`, seq))
	if list, err := w.store.Approvals(w.Context()); err != nil || len(list) > 0 {
		t.Errorf("%+v, %v", list, err)
	}
	other := w.submit("other")
	w.run(other, node("n"))
	w.deny("TW409", "waits for 0", "select towpath.approve($1)", other)
}
