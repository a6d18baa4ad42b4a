package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/towpath/towpath/hostabi/guest"
)

// item is the union of what a turn consists of.
type item struct {
	Type     string `json:"type"`
	ID       string `json:"id"`
	ClientID string `json:"clientId"`
	Status   string `json:"status"`

	Text  string `json:"text"` // of an agentMessage
	Phase string `json:"phase"`

	Command  string `json:"command"` // of a commandExecution
	CWD      string `json:"cwd"`
	ExitCode *int   `json:"exitCode"`
	Output   string `json:"aggregatedOutput"`

	Changes []struct { // of a fileChange
		Path string `json:"path"`
		Kind struct {
			Type    string `json:"type"`
			MovedTo string `json:"move_path"`
		} `json:"kind"`
		Diff string `json:"diff"`
	} `json:"changes"`

	Server    string          `json:"server"` // of an mcpToolCall
	Tool      string          `json:"tool"`
	Arguments json.RawMessage `json:"arguments"`
	Result    json.RawMessage `json:"result"`
	Error     json.RawMessage `json:"error"`
	Query     string          `json:"query"` // of a webSearch
}

// How much of a text stands in one event, in bytes of JSON.
const (
	maxDelta = 512 << 10
	maxWhole = 768 << 10
)

// emit sends a piece of text, in several events when it is above the limit of one.
func (r *round) emit(text string, event func(string) guest.Event) error {
	for text != "" {
		part, _ := guest.Clip(text, maxDelta)
		if err := r.turn.Emit(event(part)); err != nil {
			return err
		}
		text = text[len(part):]
	}
	return nil
}

func (r *round) messageDelta(n *note) error {
	if !r.streaming[n.ItemID] {
		// A second message begins while the first has no end: a steer has cut that one, and codex has dropped it.
		if err := r.retract("cut by a newer message"); err != nil {
			return err
		}
		r.streaming[n.ItemID] = true
	}
	return r.emit(n.Delta, func(s string) guest.Event { return guest.MessageDelta{ID: n.ItemID, Text: s} })
}

func (r *round) reasoningDelta(n *note) error {
	return r.emit(n.Delta, func(s string) guest.Event { return guest.ReasoningDelta{ID: n.ItemID, Text: s} })
}

func (r *round) outputDelta(n *note) error {
	return r.emit(n.Delta, func(s string) guest.Event { return guest.ExecOutput{ID: n.ItemID, Text: s} })
}

// retract takes back the messages that have no end.
func (r *round) retract(reason string) error {
	for _, id := range slices.Sorted(maps.Keys(r.streaming)) {
		delete(r.streaming, id)
		if err := r.turn.Emit(guest.MessageRetracted{ID: id, Reason: reason}); err != nil {
			return err
		}
	}
	return nil
}

func (r *round) itemStarted(n *note) error {
	it := n.Item
	switch it.Type {
	case "commandExecution":
		r.running[it.ID] = it
		return r.turn.Emit(guest.ExecStarted{ID: it.ID, Command: it.Command, CWD: it.CWD})
	case "fileChange":
		r.running[it.ID] = it
	case "mcpToolCall":
		r.running[it.ID] = it
		return r.turn.Emit(guest.ToolCall{ID: it.ID, Name: it.Server + "/" + it.Tool, Arguments: string(it.Arguments), Runner: guest.RunnerBackend})
	case "webSearch":
		r.running[it.ID] = it
	}
	return nil
}

func (r *round) itemCompleted(n *note) error {
	it := n.Item
	delete(r.running, it.ID)
	switch it.Type {
	case "agentMessage":
		delete(r.streaming, it.ID)
		r.answer = it.Text
		phase := ""
		switch it.Phase {
		case "commentary":
			phase = guest.PhaseCommentary
		case "final_answer":
			phase = guest.PhaseAnswer
		}
		text, clipped := guest.Clip(it.Text, maxWhole)
		return r.turn.Emit(guest.Message{ID: it.ID, Text: text, Phase: phase, Clipped: clipped})
	case "commandExecution":
		return r.execEnded(it, it.Status)
	case "fileChange":
		return r.fileChanged(it, it.Status)
	case "mcpToolCall":
		said := it.Result
		failed := it.Status == "failed"
		if failed {
			said = it.Error
		}
		text, clipped := guest.Clip(string(said), maxWhole)
		return r.turn.Emit(guest.ToolOutput{ID: it.ID, Output: text, Failed: failed, Clipped: clipped})
	case "webSearch":
		query, err := json.Marshal(map[string]string{"query": it.Query})
		if err != nil {
			return err
		}
		if err := r.turn.Emit(guest.ToolCall{ID: it.ID, Name: "web_search", Arguments: string(query), Runner: guest.RunnerBackend}); err != nil {
			return err
		}
		return r.turn.Emit(guest.ToolOutput{ID: it.ID})
	case "contextCompaction":
		return r.turn.Emit(guest.ContextCompacted{})
	}
	return nil
}

func (r *round) execEnded(it item, status string) error {
	if status != guest.ExecCompleted && status != guest.ExecDeclined && status != guest.ExecInterrupted {
		status = guest.ExecFailed
	}
	text, clipped := guest.Clip(it.Output, maxWhole)
	return r.turn.Emit(guest.ExecEnded{ID: it.ID, Status: status, ExitCode: it.ExitCode, Output: text, Clipped: clipped})
}

func (r *round) fileChanged(it item, status string) error {
	switch status {
	case "completed":
		status = guest.FileApplied
	case guest.FileDeclined, guest.FileInterrupted:
	default:
		status = guest.FileFailed
	}
	event := guest.FileChange{ID: it.ID, Status: status, Changes: []guest.ChangedFile{}}
	left := maxWhole
	for _, c := range it.Changes {
		change := guest.ChangedFile{Path: c.Path, Change: strings.TrimSuffix(c.Kind.Type, "e") + "ed", MovedTo: c.Kind.MovedTo}
		if change.Path == "" {
			continue
		}
		var clipped bool
		change.Diff, clipped = guest.Clip(c.Diff, max(left, 2))
		if left -= 6*len(change.Path) + len(change.Diff) + 200; left <= 0 || clipped {
			event.Clipped = true
		}
		if left <= 0 {
			break
		}
		event.Changes = append(event.Changes, change)
	}
	return r.turn.Emit(event)
}

// close ends what the turn's end has left open.
func (r *round) close(status string) error {
	if err := r.retract("the turn is " + status); err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(r.running)) {
		it := r.running[id]
		var err error
		switch it.Type {
		case "commandExecution":
			err = r.execEnded(it, guest.ExecInterrupted)
		case "fileChange":
			err = r.fileChanged(it, guest.FileInterrupted)
		case "mcpToolCall":
			err = r.turn.Emit(guest.ToolOutput{ID: it.ID, Output: "interrupted", Failed: true})
		}
		if err != nil {
			return err
		}
	}
	return nil
}
