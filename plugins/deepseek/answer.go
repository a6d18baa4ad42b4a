package main

import (
	"fmt"
	"strings"

	"github.com/towpath/towpath/hostabi/guest"
)

// answer collects one response of the model while it streams.
type answer struct {
	id, model  string
	text       strings.Builder
	reasoning  strings.Builder
	reasoned   bool // the field was there, be it empty
	calls      []toolCall
	finish     string // the finish reason, "" before it came
	counts     *counts
	responding bool // something of the response has come
}

// maxDelta is the text of one event, in bytes of JSON.
const maxDelta = 512 << 10

// add takes in one chunk and emits what it brings.
func (a *answer) add(t *guest.Turn, c *chunk) error {
	a.responding = true
	if c.id != "" {
		a.id = c.id
	}
	if c.model != "" {
		a.model = c.model
	}
	if c.usage != nil {
		a.counts = c.usage
	}
	if r := c.reasoning; r != nil {
		a.reasoned = true
		a.reasoning.WriteString(*r)
		if err := emit(t, *r, func(s string) guest.Event { return guest.ReasoningDelta{Text: s} }); err != nil {
			return err
		}
	}
	if s := c.content; s != nil {
		a.text.WriteString(*s)
		if err := emit(t, *s, func(s string) guest.Event { return guest.MessageDelta{Text: s} }); err != nil {
			return err
		}
	}
	for _, d := range c.calls {
		if err := a.call(d); err != nil {
			return err
		}
	}
	if c.finish != nil {
		a.finish = *c.finish
	}
	return nil
}

// maxCalls bounds what an index in a chunk can make us allocate.
const maxCalls = 256

func (a *answer) call(d callDelta) error {
	if d.Index < 0 || d.Index >= maxCalls || d.Index > len(a.calls) {
		return guest.Fail(guest.KindProtocol, "tool call with index %d after %d calls", d.Index, len(a.calls))
	}
	if d.Index == len(a.calls) {
		a.calls = append(a.calls, toolCall{Type: "function"})
	}
	call := &a.calls[d.Index]
	if d.ID != "" {
		call.ID = d.ID
	}
	call.Function.Name += d.Function.Name
	call.Function.Arguments += d.Function.Arguments
	return nil
}

// emit sends a piece of text, in several events when it is above the limit of one.
func emit(t *guest.Turn, text string, event func(string) guest.Event) error {
	for text != "" {
		part, _ := guest.Clip(text, maxDelta)
		if err := t.Emit(event(part)); err != nil {
			return err
		}
		text = text[len(part):]
	}
	return nil
}

// judge says what a response that ended with the end marker is worth.
func (a *answer) judge() error {
	empty := a.text.Len() == 0 && len(a.calls) == 0
	switch a.finish {
	case "stop", "tool_calls":
		if empty {
			return guest.Fail(guest.KindEmpty, "the model finished (%s) without saying anything", a.finish)
		}
	case "length":
		if empty || len(a.calls) > 0 {
			return guest.Fail(guest.KindLength, "the limit of tokens was reached before there was an answer: raise max_tokens")
		}
	case "content_filter":
		return guest.Fail(guest.KindContentFilter, "the provider's content filter ended the answer")
	case "insufficient_system_resource":
		return guest.Fail(guest.KindOverloaded, "the provider ran short of resources and ended the answer")
	case "":
		return guest.Fail(guest.KindTruncated, "the stream ended without a finish reason")
	default:
		return guest.Fail(guest.KindProtocol, "unknown finish reason %q", a.finish)
	}
	for i := range a.calls {
		if a.calls[i].ID == "" {
			a.calls[i].ID = fmt.Sprintf("%s/%d", a.id, i)
		}
	}
	return nil
}

// message is the answer as the conversation keeps it. A tool call goes back with its reasoning, the empty one included,
// whenever the model may have been thinking.
func (a *answer) message(thinking bool) message {
	m := message{Role: "assistant", Content: a.text.String(), ToolCalls: a.calls}
	if a.reasoned || thinking && len(a.calls) > 0 {
		reasoning := a.reasoning.String()
		m.Reasoning = &reasoning
	}
	return m
}
