package chat

import (
	"fmt"
	"strings"

	"github.com/towpath/towpath/hostabi/guest"
)

// answer collects one response of the model while it streams.
type answer struct {
	stream     Stream
	id, model  string
	text       strings.Builder
	reasoning  strings.Builder
	reasoned   bool // the field was there, be it empty
	calls      []ToolCall
	finish     string // the finish reason, "" before it came
	counts     *Counts
	responding bool // something of the response has come
}

// maxDelta is the text of one event, in bytes of JSON.
const maxDelta = 512 << 10

// add takes in one chunk and emits what it brings.
func (a *answer) add(t *guest.Turn, c *Chunk) error {
	a.responding = true
	if c.ID != "" {
		a.id = c.ID
	}
	if c.Model != "" {
		a.model = c.Model
	}
	if c.Usage != nil {
		a.counts = c.Usage
	}
	if r := c.Reasoning; r != nil {
		a.reasoned = true
		a.reasoning.WriteString(*r)
		if err := emit(t, *r, func(s string) guest.Event { return guest.ReasoningDelta{Text: s} }); err != nil {
			return err
		}
	}
	if s := c.Content; s != nil {
		a.text.WriteString(*s)
		if err := emit(t, *s, func(s string) guest.Event { return guest.MessageDelta{Text: s} }); err != nil {
			return err
		}
	}
	for _, d := range c.Calls {
		if err := a.call(d); err != nil {
			return err
		}
	}
	if c.Finish != nil {
		a.finish = *c.Finish
	}
	return nil
}

// maxCalls bounds what an index in a chunk can make us allocate.
const maxCalls = 256

func (a *answer) call(d CallDelta) error {
	index := len(a.calls) - 1
	switch {
	case d.Index != nil:
		index = *d.Index
	case d.ID != "" && (index < 0 || a.calls[index].ID != d.ID):
		index++
	}
	if index < 0 || index >= maxCalls || index > len(a.calls) {
		return guest.Fail(guest.KindProtocol, "tool call with index %d after %d calls", index, len(a.calls))
	}
	if index == len(a.calls) {
		a.calls = append(a.calls, ToolCall{Type: "function"})
	}
	call := &a.calls[index]
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

// judge says what a response that ended well is worth. finishes are the finish reasons that only one provider has.
func (a *answer) judge(finishes map[string]guest.Kind) error {
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
	case "":
		return guest.Fail(guest.KindTruncated, "the stream ended without a finish reason")
	default:
		if kind, ok := finishes[a.finish]; ok {
			return guest.Fail(kind, "the provider ended the answer: %s", a.finish)
		}
		return guest.Fail(guest.KindProtocol, "unknown finish reason %q", a.finish)
	}
	for i := range a.calls {
		if a.calls[i].ID == "" {
			a.calls[i].ID = fmt.Sprintf("%s/%d", a.id, i)
		}
	}
	return nil
}

// message is the answer as the conversation keeps it.
func (a *answer) message() Message {
	m := Message{Role: "assistant", Content: a.text.String(), ToolCalls: a.calls}
	if a.reasoned {
		reasoning := a.reasoning.String()
		m.Reasoning = &reasoning
	}
	return m
}
