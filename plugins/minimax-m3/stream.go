package main

import (
	"encoding/json"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/chat"
	"github.com/towpath/towpath/hostabi/guest/sse"
)

// baseResp is how the provider says that something went wrong although HTTP says otherwise.
type baseResp struct {
	Code    json.RawMessage `json:"status_code"`
	Message string          `json:"status_msg"`
}

func (b *baseResp) fault() *chat.APIError {
	if code := string(b.Code); code == "" || code == "0" || code == "null" {
		return nil
	}
	return &chat.APIError{Message: b.Message, Code: b.Code}
}

// detail is an entry of reasoning_details: a piece of the entry with its index.
type detail struct {
	Index int    `json:"index"`
	Text  string `json:"text"`
}

// entry is one of reasoning_details put together.
type entry struct {
	fields map[string]json.RawMessage // as they came first
	text   fold
}

// call is a tool call that comes in pieces.
type call struct {
	name      string
	arguments fold
}

// maxEntries bounds what an index in a chunk can make us allocate.
const maxEntries = 64

// stream reads an answer that ends behind its finish reason.
type stream struct {
	reading  reading
	finished bool

	content   fold
	split     splitter
	reasoning fold
	trail     trail
	entries   []*entry
	calls     []*call // by index
}

func newStream() *stream {
	s := &stream{}
	s.content.reading, s.reasoning.reading = &s.reading, &s.reading
	return s
}

// Event implements chat.Stream.
func (s *stream) Event(data []byte) (*chat.Chunk, sse.Verdict, error) {
	if string(data) == "[DONE]" {
		return nil, sse.Done, nil
	}
	var base baseResp
	sensitive := ""
	c, err := chat.Parse(data, func(key string, value gjson.Result) error {
		switch key {
		case "base_resp":
			if value.IsObject() {
				return json.Unmarshal([]byte(value.Raw), &base)
			}
		case "input_sensitive", "output_sensitive":
			if value.Bool() {
				sensitive = key
			}
		}
		return nil
	})
	if err != nil {
		return nil, sse.More, err
	}
	switch {
	case c.Fault != nil:
	case base.fault() != nil:
		c.Fault = base.fault()
	case sensitive != "":
		return nil, sse.More, guest.Fail(guest.KindContentFilter, "the provider calls the conversation sensitive: %s", sensitive)
	default:
		if err := s.take(c); err != nil {
			return nil, sse.More, err
		}
	}
	s.finished = s.finished || c.Finish != nil
	if s.finished {
		return c, sse.Complete, nil
	}
	return c, sse.More, nil
}

// take makes increments of what a chunk says, and tells thoughts from text.
func (s *stream) take(c *chat.Chunk) error {
	thought, thinks, err := s.thoughts(c)
	if err != nil {
		return err
	}
	if c.Content != nil {
		piece, err := s.content.add(*c.Content)
		if err != nil {
			return err
		}
		inside, text := s.split.add(piece)
		thinks = thinks || inside != ""
		if text != "" {
			thought += s.trail.rest()
		}
		thought += inside
		c.Content = &text
	}
	c.Reasoning = nil
	if thinks || thought != "" {
		c.Reasoning = &thought
	}
	for i := range c.Calls {
		if err := s.call(&c.Calls[i]); err != nil {
			return err
		}
	}
	return nil
}

// thoughts reads the reasoning that comes beside the text. Its two forms say the same; the plain one counts.
func (s *stream) thoughts(c *chat.Chunk) (thought string, thinks bool, err error) {
	var details []json.RawMessage
	if c.Details != nil {
		if err := json.Unmarshal(c.Details, &details); err != nil {
			return "", false, err
		}
	}
	var inDetails strings.Builder
	for _, raw := range details {
		piece, err := s.detail(raw)
		if err != nil {
			return "", false, err
		}
		inDetails.WriteString(piece)
	}
	if c.Reasoning != nil && (*c.Reasoning != "" || s.reasoning.text != "") || inDetails.Len() == 0 {
		if c.Reasoning == nil {
			return "", false, nil
		}
		piece, err := s.reasoning.add(*c.Reasoning)
		return s.trail.add(piece), true, err
	}
	return s.trail.add(inDetails.String()), true, nil
}

func (s *stream) detail(raw json.RawMessage) (string, error) {
	var d detail
	if err := json.Unmarshal(raw, &d); err != nil {
		return "", err
	}
	if d.Index < 0 || d.Index >= maxEntries || d.Index > len(s.entries) {
		return "", guest.Fail(guest.KindProtocol, "reasoning_details with index %d after %d entries", d.Index, len(s.entries))
	}
	if d.Index == len(s.entries) {
		e := &entry{text: fold{reading: &s.reading}}
		if err := json.Unmarshal(raw, &e.fields); err != nil {
			return "", err
		}
		s.entries = append(s.entries, e)
	}
	return s.entries[d.Index].text.add(d.Text)
}

// call makes increments of a tool call. One without an index comes whole.
func (s *stream) call(d *chat.CallDelta) error {
	if d.Index == nil || *d.Index < 0 || *d.Index > len(s.calls) {
		return nil // what is wrong with the index is said where calls are put together
	}
	if *d.Index == len(s.calls) {
		s.calls = append(s.calls, &call{arguments: fold{reading: &s.reading}})
	}
	c := s.calls[*d.Index]
	if d.Function.Name == c.name {
		d.Function.Name = "" // said before
	}
	c.name += d.Function.Name
	more, err := c.arguments.add(d.Function.Arguments)
	d.Function.Arguments = more
	return err
}

// Rest implements chat.Stream.
func (s *stream) Rest() *chat.Chunk {
	thought := s.trail.add(s.reasoning.rest())
	inside, text := s.split.add(s.content.rest())
	thought += inside
	inside, more := s.split.rest()
	thought, text = thought+inside+s.trail.rest(), text+more
	c := &chat.Chunk{}
	if thought != "" {
		c.Reasoning = &thought
	}
	if text != "" {
		c.Content = &text
	}
	for i, call := range s.calls {
		if more := call.arguments.rest(); more != "" {
			c.Calls = append(c.Calls, chat.CallDelta{Index: &i, Function: chat.Function{Arguments: more}})
		}
	}
	return c
}

// Complete implements chat.Stream: the provider wants to see again what it said, to the byte.
func (s *stream) Complete(m *chat.Message) {
	m.Content, m.Reasoning = s.content.text, nil
	if s.reasoning.text != "" {
		m.Reasoning = &s.reasoning.text
	}
	if len(s.entries) == 0 {
		return
	}
	var entries []map[string]json.RawMessage
	for _, e := range s.entries {
		e.text.rest()
		text, err := json.Marshal(e.text.text)
		if err != nil {
			return // no string does that
		}
		e.fields["text"] = text
		entries = append(entries, e.fields)
	}
	if details, err := json.Marshal(entries); err == nil {
		m.Details = details
	}
}
