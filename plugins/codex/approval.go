package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/jsonrpc"
)

// wait is a request of codex that waits for a client.
type wait struct {
	answer func(output json.RawMessage) error // a client has answered
	giveUp func() error                       // nobody will; nil for what may wait for ever
	timer  *guest.Timer
}

// approval is the union of the params of codex's requests.
type approval struct {
	ItemID     string            `json:"itemId"`
	CallID     string            `json:"callId"`
	Tool       string            `json:"tool"`
	Arguments  json.RawMessage   `json:"arguments"`
	Command    string            `json:"command"`
	CWD        string            `json:"cwd"`
	Reason     string            `json:"reason"`
	GrantRoot  string            `json:"grantRoot"`
	Decisions  []json.RawMessage `json:"availableDecisions"`
	Questions  []question        `json:"questions"`
	Permission json.RawMessage   `json:"permissions"`
}

type question struct {
	ID       string `json:"id"`
	Question string `json:"question"`
}

const noMethod = -32601

// asked answers a request of codex, or has a client answer it. One that is not known is refused, which codex takes as
// a no.
func (r *round) asked(m jsonrpc.Message) error {
	var a approval
	if err := json.Unmarshal(m.Params, &a); err != nil {
		return guest.Fail(guest.KindProtocol, "codex: %s: %w", m.Method, err)
	}
	switch m.Method {
	case "item/tool/call":
		return r.toolCalled(m.ID, a)
	case "item/commandExecution/requestApproval":
		return r.approve(m, a, guest.ApprovalExec, a.choices())
	case "item/fileChange/requestApproval":
		return r.approve(m, a, guest.ApprovalFileChange, []string{"accept", "acceptForSession", "decline", "cancel"})
	case "item/permissions/requestApproval":
		return r.server.Reply(m.ID, map[string]any{"permissions": map[string]any{}, "scope": "turn"})
	case "item/tool/requestUserInput":
		return r.approve(m, a, guest.ApprovalQuestion, []string{})
	case "mcpServer/elicitation/request":
		return r.server.Reply(m.ID, map[string]any{"action": "decline", "content": nil, "_meta": nil})
	}
	r.turn.Log.Warn("codex asks for what this plugin does not know", "method", m.Method)
	return r.server.Refuse(m.ID, noMethod, "this client has no "+m.Method)
}

// choices are the decisions that are plain words; the others change codex's own rules, which go with the child.
func (a approval) choices() []string {
	all := []string{}
	for _, d := range a.Decisions {
		var word string
		if json.Unmarshal(d, &word) == nil {
			all = append(all, word)
		}
	}
	for _, word := range []string{"accept", "decline", "cancel"} {
		if len(a.Decisions) == 0 || word != "accept" && !slices.Contains(all, word) {
			all = append(all, word)
		}
	}
	return all
}

// approve has a client decide, or the policy that the turn was submitted with.
func (r *round) approve(m jsonrpc.Message, a approval, of string, choices []string) error {
	id := a.ItemID + "/" + string(bytes.Trim(m.ID, `"`))
	if err := r.turn.Emit(guest.ApprovalRequested{
		ID: id, Of: of, Item: a.ItemID, Command: a.Command, CWD: a.CWD, Reason: a.Reason, Choices: choices, Detail: m.Params,
	}); err != nil {
		return err
	}
	decide := func(decision, by string) error {
		answer := any(map[string]any{"decision": decision})
		if of == guest.ApprovalQuestion {
			answer = a.replies(decision, by)
		}
		if err := r.turn.Emit(guest.ApprovalAnswered{ID: id, Decision: decision, By: by}); err != nil {
			return err
		}
		return r.server.Reply(m.ID, answer)
	}
	if r.settings.Approvals != approveAsk {
		return decide("decline", guest.ByPolicy)
	}
	r.await(id, &wait{
		answer: func(output json.RawMessage) error {
			var decision string
			if json.Unmarshal(output, &decision) != nil || decision == "" || of != guest.ApprovalQuestion && !slices.Contains(choices, decision) {
				r.turn.Log.Warn("an approval was answered with what is no choice: it counts as a no", "approval", id)
				decision = "decline"
			}
			return decide(decision, guest.ByClient)
		},
		giveUp: func() error { return decide("decline", guest.ByNobody) },
	}, time.Duration(r.settings.ApprovalWait))
	return nil
}

// replies is the answer to a question: the client's words for each, none when nobody gave any.
func (a approval) replies(words, by string) any {
	answers := map[string]any{}
	if by == guest.ByClient {
		for _, q := range a.Questions {
			answers[q.ID] = map[string]any{"answers": []string{words}}
		}
	}
	return map[string]any{"answers": answers}
}

// toolCalled has a client run a tool.
func (r *round) toolCalled(id json.RawMessage, a approval) error {
	if err := r.turn.Emit(guest.ToolCall{ID: a.CallID, Name: a.Tool, Arguments: string(a.Arguments)}); err != nil {
		return err
	}
	r.await(a.CallID, &wait{answer: func(output json.RawMessage) error {
		var text string
		if json.Unmarshal(output, &text) != nil {
			text = string(output)
		}
		whole, clipped := guest.Clip(text, maxWhole)
		if err := r.turn.Emit(guest.ToolOutput{ID: a.CallID, Output: whole, Clipped: clipped}); err != nil {
			return err
		}
		return r.server.Reply(id, map[string]any{"contentItems": []any{map[string]any{"type": "inputText", "text": text}}, "success": true})
	}}, 0)
	return nil
}

// await waits for a client, for as long as patience, unless that is 0, and without minding codex's silence.
func (r *round) await(id string, w *wait, patience time.Duration) {
	r.mu.Lock()
	r.waits[id] = w
	r.idle.Reset(forever)
	if patience > 0 {
		w.timer = r.turn.AfterFunc(patience, func() {
			if w := r.waited(id); w != nil {
				r.log(w.giveUp())
				r.idle.Reset(time.Duration(r.settings.Idle))
			}
		})
	}
	r.mu.Unlock()
	r.answers() // it may be there already
}

// waited takes a wait out; nil when it is over.
func (r *round) waited(id string) *wait {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.waits[id]
	delete(r.waits, id)
	return w
}

func (r *round) waiting() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.waits) > 0
}

// answers gives what clients have answered to who waits for it.
func (r *round) answers() {
	r.mu.Lock()
	ids := slices.Sorted(maps.Keys(r.waits))
	r.mu.Unlock()
	for _, id := range ids {
		output, ok := r.box.takeAnswer(id)
		if !ok {
			continue
		}
		if w := r.waited(id); w != nil {
			if w.timer != nil {
				w.timer.Stop()
			}
			r.log(w.answer(output))
		}
	}
	if len(ids) > 0 && !r.waiting() {
		r.idle.Reset(time.Duration(r.settings.Idle))
	}
}

// forever is longer than any turn.
const forever = 10_000 * time.Hour

// log notes an answer that did not reach codex: its end says more.
func (r *round) log(err error) {
	if err != nil {
		r.turn.Log.Warn("an answer did not reach codex", "error", err)
	}
}

// forget ends the waits of a turn that has ended.
func (r *round) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.waits {
		if w.timer != nil {
			w.timer.Stop()
		}
	}
	clear(r.waits)
}
