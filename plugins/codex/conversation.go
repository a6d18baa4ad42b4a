package main

import (
	"context"
	"time"

	"github.com/towpath/towpath/hostabi/guest"
)

// conversation is one turn of ours: a turn of codex, and one more for each steer that came too late for it.
type conversation struct {
	turn     *guest.Turn
	settings settings
	input    input
	stored   *rollout // the session's thread, nil for a new one
	box      *box
	words    []string // what the user has said in this turn, steers included
	lost     uint32   // the child of an execution that died

	// Of this attempt.
	said                int // of words
	thread, model, file string
	answer              string
	usage               usage
	billed              map[string]bool // responses
}

// attempt runs the turn in a child of its own.
func (c *conversation) attempt(ctx context.Context) error {
	// The child outlives a cancellation: it is interrupted, and what it did is kept.
	life, kill := context.WithCancelCause(context.WithoutCancel(ctx))
	defer kill(nil)
	c.said, c.answer, c.usage, c.billed = 0, "", usage{}, map[string]bool{}
	s, greeted, err := c.start(life)
	if err != nil {
		return err
	}
	defer s.stop()
	if c.lost != 0 {
		c.lost = 0
		if err := c.turn.Emit(guest.Retry{Reason: "the worker that had codex was lost"}); err != nil {
			return err
		}
	}
	slow := c.turn.AfterFunc(patience, func() {
		kill(guest.Fail(guest.KindStalled, "codex has not opened the thread within %v", patience))
	})
	stop := context.AfterFunc(ctx, func() { kill(context.Cause(ctx)) }) // until there is something to keep
	err = c.open(life, s, greeted)
	slow.Stop()
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return s.broken(err)
	}
	if err := c.turn.Emit(guest.TurnStarted{Model: c.model, Thread: c.thread}); err != nil {
		return err
	}
	for {
		end, err := c.converse(ctx, life, kill, s)
		if err != nil {
			return s.broken(err)
		}
		late := c.box.takeSteers()
		if len(late) == 0 || end.Status != "completed" || ctx.Err() != nil {
			return c.settle(ctx, life, kill, s, end)
		}
		for _, text := range late {
			c.words = append(c.words, text)
			if err := c.turn.Emit(guest.SteerApplied{Text: text}); err != nil {
				return err
			}
		}
	}
}

// converse runs one turn of codex with what the user has said since the last, and returns its end.
func (c *conversation) converse(ctx, life context.Context, kill context.CancelCauseFunc, s *server) (turn, error) {
	r := &round{conversation: c, server: s, life: life, streaming: map[string]bool{}, running: map[string]item{}, waits: map[string]*wait{}}
	idle := time.Duration(c.settings.Idle)
	r.idle = c.turn.AfterFunc(idle, func() { kill(guest.Fail(guest.KindStalled, "codex said nothing for %v", idle)) })
	defer r.idle.Stop()
	defer r.forget()
	if err := r.begin(); err != nil {
		return turn{}, err
	}
	c.box.follow(r.hear)
	defer c.box.follow(nil)
	defer context.AfterFunc(ctx, func() { r.interrupt(kill, context.Cause(ctx)) })()
	for {
		m, err := s.Receive(life)
		if err != nil {
			return turn{}, err
		}
		if !r.waiting() {
			r.idle.Reset(idle)
		}
		if end, err := r.take(m); err != nil || end != nil {
			if err != nil {
				return turn{}, err
			}
			return *end, r.close(end.Status)
		}
	}
}

// settle ends our turn as codex's ended.
func (c *conversation) settle(ctx, life context.Context, kill context.CancelCauseFunc, s *server, end turn) error {
	slow := c.turn.AfterFunc(patience, func() {
		kill(guest.Fail(guest.KindStalled, "codex has not handed over the thread within %v", patience))
	})
	defer slow.Stop()
	// What the model left running in the background would die with the child; so codex notes it.
	err := s.Call(life, "thread/backgroundTerminals/clean", map[string]any{"threadId": c.thread}, nil)
	switch {
	case life.Err() != nil:
		return context.Cause(life)
	case err != nil:
		c.turn.Log.Warn("background terminals were not cleaned", "error", err)
	}
	r, added, err := c.read(life, s)
	if err != nil {
		return s.broken(err)
	}
	if err := c.bill(added); err != nil {
		return err
	}
	switch end.Status {
	case "completed", "interrupted":
		if len(r.content) > maxThread {
			return guest.Fail(guest.KindContextOverflow, "the thread's file has %d bytes, at most %d are kept: begin a new session", len(r.content), maxThread)
		}
		if err := c.save(r); err != nil {
			return err
		}
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case end.Status == "interrupted":
			return guest.Fail(guest.KindCancelled, "an approval was answered with cancel")
		}
		return nil
	case "failed":
		return end.Error.failure(s.refusal)
	}
	return guest.Fail(guest.KindProtocol, "codex ended the turn as %q", end.Status)
}
