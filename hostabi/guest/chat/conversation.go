package chat

import (
	"context"
	"errors"

	"github.com/towpath/towpath/hostabi/guest"
)

// conversation is the session's messages with what this turn adds to them.
type conversation struct {
	turn     *guest.Turn
	provider *Provider
	settings *Settings
	inbox    *inbox

	messages  []Message
	kept      int // messages that the session has already
	usage     Usage
	responses int
}

// begin reads the session's history and adds the turn's input.
func begin(t *guest.Turn, p *Provider, in *Input) (*conversation, error) {
	messages, err := load(t)
	if err != nil {
		return nil, err
	}
	c := &conversation{turn: t, provider: p, settings: p.Settings, messages: messages, kept: len(messages)}
	if in.Text != "" {
		c.messages = append(c.messages, Message{Role: "user", Content: in.Text})
	}
	c.messages = append(c.messages, in.Messages...)
	c.inbox = newInbox(t)
	return c, nil
}

// maxEventText is the text of a whole message in one event, in bytes of JSON.
const maxEventText = 1<<20 - 1<<10

// converse asks until there is an answer that calls no tools and nobody steers any more. With an error it returns the
// partial answer, if one had begun.
func (c *conversation) converse(ctx context.Context) (*answer, error) {
	for range c.settings.MaxRequests {
		if err := c.steer(false); err != nil {
			return nil, err
		}
		a, err := c.ask(ctx)
		switch {
		case errors.Is(err, errSteered):
			if err := c.cut(a); err != nil {
				return a, err
			}
			if err := c.steer(a.text.Len() > 0); err != nil {
				return a, err
			}
			continue
		case isCancelled(err):
			return a, errors.Join(err, c.cut(a), c.steer(false), c.save())
		case err != nil:
			return a, err
		}
		m := a.message()
		a.stream.Complete(&m)
		if err := c.keep(m, a.text.String()); err != nil {
			return a, err
		}
		if len(a.calls) > 0 {
			if err := c.callTools(ctx, a.calls); err != nil {
				if isCancelled(err) {
					err = errors.Join(err, c.steer(false), c.save())
				}
				return a, err
			}
			continue
		}
		if c.inbox.steered() {
			continue
		}
		return a, c.save()
	}
	return nil, guest.Fail(guest.KindQuota, "the turn made %d requests: raise max_requests if that is meant", c.settings.MaxRequests)
}

func isCancelled(err error) bool {
	var cancelled *guest.Cancelled
	return errors.As(err, &cancelled)
}

// keep adds a message of the assistant; text is what it says to people.
func (c *conversation) keep(m Message, text string) error {
	c.messages = append(c.messages, m)
	if text == "" {
		return nil
	}
	text, clipped := guest.Clip(text, maxEventText)
	return c.turn.Emit(guest.Message{Text: text, Clipped: clipped})
}

// cut keeps the text of an answer that did not end. Its tool calls are dropped: they may be unfinished.
func (c *conversation) cut(a *answer) error {
	if a == nil || a.text.Len() == 0 {
		return nil
	}
	m := a.message()
	m.ToolCalls = nil
	return c.keep(m, m.Content)
}

// steer makes what clients sent meanwhile the user's next words.
func (c *conversation) steer(partial bool) error {
	for _, text := range c.inbox.takeSteers() {
		c.messages = append(c.messages, Message{Role: "user", Content: text})
		if err := c.turn.Emit(guest.SteerApplied{Text: text, Partial: partial}); err != nil {
			return err
		}
	}
	return nil
}

// save writes what the turn added. The session gets it when the turn finishes.
func (c *conversation) save() error { return save(c.turn, c.messages, c.kept) }

// callTools asks for the tools to be run and adds their outputs. When the turn is cancelled meanwhile, the calls that
// are not answered yet are answered so, because a conversation with open calls cannot go on.
func (c *conversation) callTools(ctx context.Context, calls []ToolCall) error {
	for _, call := range calls {
		event := guest.ToolCall{ID: call.ID, Name: call.Function.Name, Arguments: call.Function.Arguments}
		if err := c.turn.Emit(event); err != nil {
			return err
		}
	}
	var cancelled error
	for _, call := range calls {
		output, err := c.inbox.takeAnswer(ctx, call.ID)
		if err != nil {
			cancelled, output = err, "The turn was cancelled before the tool had answered."
		}
		c.messages = append(c.messages, Message{Role: "tool", Content: output, ToolCallID: call.ID})
		if err != nil {
			continue
		}
		text, clipped := guest.Clip(output, maxEventText)
		if err := c.turn.Emit(guest.ToolOutput{ID: call.ID, Output: text, Clipped: clipped}); err != nil {
			return err
		}
	}
	return cancelled
}
