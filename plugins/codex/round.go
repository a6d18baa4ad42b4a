package main

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/jsonrpc"
)

// round is one turn of codex.
type round struct {
	*conversation
	server *server
	life   context.Context
	id     string
	idle   *guest.Timer

	streaming map[string]bool // messages of which deltas came and no end
	running   map[string]item // commands, changes and tools that have begun

	mu    sync.Mutex
	waits map[string]*wait // by the id of their event
}

// turn is codex's account of one of its turns.
type turn struct {
	ID     string     `json:"id"`
	Status string     `json:"status"` // completed, interrupted, failed, inProgress
	Error  *turnError `json:"error"`
	Items  []item     `json:"items"`
}

// begin starts the turn; its id comes with the response, before any notification of it.
func (r *round) begin() error {
	params := map[string]any{"threadId": r.thread, "input": texts(r.words[r.said:]), "clientUserMessageId": r.turn.Request.Process}
	if r.settings.Effort != "" {
		params["effort"] = r.settings.Effort
	}
	if len(r.input.OutputSchema) > 0 {
		params["outputSchema"] = r.input.OutputSchema
	}
	var started struct {
		Turn turn `json:"turn"`
	}
	err := r.server.Call(r.life, "turn/start", params, &started)
	var refused *jsonrpc.Error
	if errors.As(err, &refused) {
		return guest.Fail(guest.KindInvalid, "codex refused %w", err)
	}
	r.id, r.said = started.Turn.ID, len(r.words)
	return err
}

func texts(words []string) []map[string]any {
	var all []map[string]any
	for _, text := range words {
		all = append(all, map[string]any{"type": "text", "text": text, "text_elements": []any{}})
	}
	return all
}

// hear takes what clients have said meanwhile: steers go to codex at once, answers to who waits for them.
func (r *round) hear() {
	for {
		text, ok := r.box.takeSteer()
		if !ok {
			break
		}
		err := r.server.Call(r.life, "turn/steer", map[string]any{"threadId": r.thread, "expectedTurnId": r.id, "input": texts([]string{text})}, nil)
		if err == nil {
			r.words = append(r.words, text)
			r.said++
			err = r.turn.Emit(guest.SteerApplied{Text: text})
		} else {
			r.box.putBack(text) // the turn has ended; the next one begins with it
		}
		if err != nil {
			r.turn.Log.Info("a steer waits", "error", err)
			break
		}
	}
	r.answers()
}

// interrupt ends the turn because ours is cancelled. Codex that does not end it in half of the grace is ended.
func (r *round) interrupt(kill context.CancelCauseFunc, cause error) {
	var cancelled *guest.Cancelled
	grace := time.Duration(0)
	if errors.As(cause, &cancelled) {
		grace = min(cancelled.Grace/2, patience)
	}
	late := r.turn.AfterFunc(grace, func() { kill(cause) })
	go func() {
		<-r.life.Done()
		late.Stop()
	}()
	if err := r.server.Call(r.life, "turn/interrupt", map[string]any{"threadId": r.thread, "turnId": r.id}, nil); err != nil {
		r.turn.Log.Info("not interrupted", "error", err)
	}
}

// note is the union of the params of notifications.
type note struct {
	ThreadID   string     `json:"threadId"`
	TurnID     string     `json:"turnId"`
	ItemID     string     `json:"itemId"`
	Delta      string     `json:"delta"`
	Item       item       `json:"item"`
	Turn       turn       `json:"turn"`
	Error      *turnError `json:"error"`
	WillRetry  bool       `json:"willRetry"`
	ResponseID string     `json:"responseId"`
	Usage      *tokens    `json:"usage"`
	Message    string     `json:"message"`
	Summary    string     `json:"summary"`
}

// notes are the notifications that mean something here; the others are dropped unread.
var notes = map[string]func(*round, *note) error{
	"item/started":                      (*round).itemStarted,
	"item/completed":                    (*round).itemCompleted,
	"item/agentMessage/delta":           (*round).messageDelta,
	"item/reasoning/summaryTextDelta":   (*round).reasoningDelta,
	"item/reasoning/textDelta":          (*round).reasoningDelta,
	"item/commandExecution/outputDelta": (*round).outputDelta,
	"rawResponse/completed":             (*round).responseCompleted,
	"error":                             (*round).errorReported,
	"turn/completed":                    nil,
	"warning":                           (*round).warned,
	"configWarning":                     (*round).warned,
}

// take gives a message of codex its meaning; end is set by the last of the turn.
func (r *round) take(m jsonrpc.Message) (end *turn, err error) {
	if m.IsRequest() {
		return nil, r.asked(m)
	}
	var n note
	if err := json.Unmarshal(m.Params, &n); err != nil {
		return nil, guest.Fail(guest.KindProtocol, "codex: %s: %w", m.Method, err)
	}
	if n.ThreadID != "" && n.ThreadID != r.thread {
		return nil, nil // of an agent that the model has started
	}
	if m.Method == "turn/completed" {
		if n.Turn.ID != r.id {
			return nil, nil
		}
		for _, it := range n.Turn.Items {
			if it.Type == "agentMessage" {
				r.answer = it.Text
			}
		}
		return &n.Turn, nil
	}
	if take := notes[m.Method]; take != nil {
		return nil, take(r, &n)
	}
	return nil, nil
}

func (r *round) warned(n *note) error {
	r.turn.Log.Info("codex warns", "text", n.Message+n.Summary)
	return nil
}

// errorReported notes a failed request. What codex means to ask again, against its configuration, is taken back here.
func (r *round) errorReported(n *note) error {
	if !n.WillRetry {
		return nil // turn/completed says the same
	}
	return r.retract("codex asks again: " + n.Error.Message)
}
