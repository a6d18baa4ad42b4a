package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/towpath/towpath/store"
)

const (
	// followPoll is how often a follower looks without being woken.
	followPoll       = 2 * time.Second
	followPollPooled = 250 * time.Millisecond
	// outage is how long a follower puts up with a database that went away.
	outage = time.Minute
)

// endError is the end of a followed process other than its completion.
type endError struct {
	status, kind, reason string
}

func (e *endError) Error() string {
	text := "the turn " + map[string]string{"failed": "failed", "cancelled": "was cancelled", "abandoned": "was abandoned"}[e.status]
	if e.kind != "" {
		text += " (" + e.kind + ")"
	}
	if e.reason != "" {
		text += ": " + e.reason
	}
	return text
}

func (e *endError) code() int {
	switch e.status {
	case "cancelled":
		return exitCancelled
	case "abandoned":
		return exitAbandoned
	}
	return exitOther
}

func (e *endError) hint() string {
	switch e.kind {
	case "auth":
		return "check the provider's key where the worker runs; the profile's permit file names its source"
	case "denied":
		return "the profile's permit file lists what it may reach"
	case "context_overflow":
		return "begin a new session"
	}
	return ""
}

// follow shows a process until it ends, and survives a database that goes away for a while.
// A *endError says that it ended, but not well.
func (c *cli) follow(ctx context.Context, s *session, id string, after int64, show display) error {
	v := newViewer(c.out, c.err, show)
	defer v.close()
	poll := followPoll
	if s.Pooled {
		poll = followPollPooled
	}
	var gone time.Time // since when the database has been away
	for {
		err := s.Follow(ctx, id, after, poll, !s.Pooled, func(e store.Event) error {
			after, gone = e.Seq, time.Time{}
			return v.show(e)
		})
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			v.close()
			fmt.Fprintf(c.err, "the turn goes on: `worker events %s --after %d --follow` shows the rest, `worker interrupt %[1]s` ends it\n", id, after)
			return fmt.Errorf("following was interrupted: %w", context.Canceled)
		case !passing(err):
			return err
		}
		if gone.IsZero() {
			gone = time.Now()
			v.note("the database went away, trying again: " + err.Error())
		}
		if time.Since(gone) > outage {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// viewer renders events as they come: the answer's text to out, everything else to log.
type viewer struct {
	out, log         io.Writer
	display          display
	dim, plain       string
	shared           bool // both are terminals, so a line of one breaks into the other's
	outOpen, logOpen bool // a line has begun
	said             bool // deltas since the last whole message
}

func newViewer(out, log io.Writer, show display) *viewer {
	v := &viewer{out: out, log: log, display: show, shared: terminal(out) && terminal(log)}
	if terminal(log) && os.Getenv("NO_COLOR") == "" {
		v.dim, v.plain = "\x1b[2m", "\x1b[0m"
	}
	return v
}

// payload is what a viewer looks at in an event.
type payload struct {
	Text, Kind, Message, Reason string
	From                        int64 `json:"from_seq"`
	To                          int64 `json:"to_seq"`
}

// show returns a *endError for a terminal event that is no completion.
func (v *viewer) show(e store.Event) error {
	var data payload
	_ = json.Unmarshal(e.Data, &data) // a plugin's own event may have any shape
	if err := v.render(e, data); err != nil {
		return err
	}
	if status, ok := strings.CutPrefix(e.Type, "process."); ok && e.Final() && status != "completed" {
		if status != "failed" {
			return &endError{status: status, reason: cmp.Or(data.Reason, data.Message)}
		}
		return &endError{status: status, kind: data.Kind, reason: cmp.Or(data.Message, data.Reason)}
	}
	return nil
}

func (v *viewer) render(e store.Event, data payload) error {
	if v.display.json {
		return v.display.line(v.out, e)
	}
	switch e.Type {
	case "message.delta":
		v.said = true
		return v.say(data.Text)
	case "message":
		whole := !v.said
		v.said = false
		if whole {
			if err := v.say(data.Text); err != nil {
				return err
			}
		}
		return v.endLine()
	case "reasoning.delta":
		v.think(data.Text)
		return nil
	case "process.retracted":
		v.said = false
		if err := v.endLine(); err != nil {
			return err
		}
		v.note(fmt.Sprintf("#%d what was said from #%d to #%d is taken back", e.Seq, data.From, data.To))
		return nil
	}
	v.note(fmt.Sprintf("#%d %s %s", e.Seq, e.Type, compact(e.Data)))
	return nil
}

// say writes the answer's text.
func (v *viewer) say(text string) error {
	if text == "" {
		return nil
	}
	if v.logOpen {
		fmt.Fprintln(v.log)
		v.logOpen = false
	}
	v.outOpen = !strings.HasSuffix(text, "\n")
	_, err := io.WriteString(v.out, text)
	return err
}

// think writes the model's reasoning, which comes in pieces too.
func (v *viewer) think(text string) {
	if text == "" {
		return
	}
	fmt.Fprint(v.log, v.dim, text, v.plain)
	v.logOpen = !strings.HasSuffix(text, "\n")
}

// note writes one line beside the answer.
func (v *viewer) note(line string) {
	if v.logOpen || v.shared && v.outOpen {
		fmt.Fprintln(v.log)
		v.logOpen = false
		v.outOpen = v.outOpen && !v.shared
	}
	fmt.Fprintln(v.log, v.dim+line+v.plain)
}

func (v *viewer) endLine() error {
	if !v.outOpen {
		return nil
	}
	v.outOpen = false
	_, err := fmt.Fprintln(v.out)
	return err
}

func (v *viewer) close() {
	if err := v.endLine(); err != nil && !errors.Is(err, os.ErrClosed) {
		fmt.Fprintln(v.log, "error:", err)
	}
	if v.logOpen {
		fmt.Fprintln(v.log)
		v.logOpen = false
	}
}
