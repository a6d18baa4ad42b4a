// Package sse reads server-sent events and tells an end from a cut.
//
// HTTP ends a body in the same way whether the provider was done or a proxy in between gave up. What a finished stream
// looks like differs by provider, so the reader states it as a Rule, and an end that the rule has not seen coming is
// ErrTruncated.
package sse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Event is one dispatched event. Its fields are valid until the next call of Next.
type Event struct {
	Name string // the field `event`, "" when absent
	Data []byte // the fields `data`, joined by newlines
}

// Verdict is what a Rule says after an event.
type Verdict int

const (
	More     Verdict = iota // the stream goes on; an end now is a cut
	Complete                // there may be more, but an end now is a good one
	Done                    // this event is the end marker: it is not delivered, nothing after it is read
)

// Rule judges each event before it is delivered. It also sees an event that the end of the body cut, in case that is the
// end marker without its newlines.
type Rule func(Event) Verdict

// DefaultMaxLine is the longest line accepted, and the most data in one event, unless Decoder.MaxLine says otherwise.
const DefaultMaxLine = 2 << 20

var (
	// ErrTruncated reports a body that ended before the rule was satisfied, or inside an event.
	ErrTruncated = errors.New("stream ended before its end")
	// ErrTooLong reports a line or an event above the limit.
	ErrTooLong = errors.New("line or event too long")
)

// Decoder reads events from a body. It belongs to one goroutine.
type Decoder struct {
	MaxLine int // bytes, DefaultMaxLine when 0

	r       io.Reader
	rule    Rule
	chunk   []byte // read and not yet looked at
	buffer  []byte
	line    []byte // the line so far
	skipLF  bool   // the last line ended in CR: a LF that follows belongs to it
	started bool   // the first line, which may begin with a byte order mark, is behind
	name    string
	data    []byte
	hasData bool
	verdict Verdict
	err     error // sticky
}

// NewDecoder makes a decoder whose rule decides which end is a good one.
func NewDecoder(r io.Reader, rule Rule) *Decoder {
	return &Decoder{r: r, rule: rule, buffer: make([]byte, 16<<10)}
}

// Next returns the next event that has data. Errors: io.EOF after a good end, ErrTruncated, ErrTooLong, or what the
// body's Read gave. Comments and fields that are not of this protocol are passed over.
func (d *Decoder) Next() (Event, error) {
	d.name, d.data, d.hasData = "", d.data[:0], false
	for d.err == nil {
		ended, err := d.readLine()
		switch {
		case err == io.EOF:
			return d.end()
		case err != nil:
			d.err = err
		case !ended:
			continue
		}
		if !d.started {
			d.started = true
			d.line = bytes.TrimPrefix(d.line, []byte("\xef\xbb\xbf"))
		}
		switch {
		case d.err != nil:
		case len(d.line) > 0:
			d.err = d.field()
		default:
			if event, ok := d.dispatch(); ok {
				return event, nil
			}
		}
		d.line = d.line[:0]
	}
	return Event{}, d.err
}

// dispatch judges the collected event; ok is false when there is none to deliver.
func (d *Decoder) dispatch() (Event, bool) {
	event, ok := Event{Name: d.name, Data: d.data}, d.hasData
	if ok {
		d.verdict = d.rule(event)
		if d.verdict == Done {
			d.err = io.EOF
			ok = false
		}
	}
	if !ok {
		d.name = ""
	}
	return event, ok
}

// end judges what the body ended with. An event whose last line is whole counts although the blank line is missing. An
// unfinished line counts only as the end marker, which cannot be mistaken.
func (d *Decoder) end() (Event, error) {
	whole := len(d.line) == 0
	if !whole {
		d.err = d.field()
		d.line = d.line[:0]
	}
	if d.err == nil {
		before := d.verdict
		event, ok := d.dispatch()
		switch {
		case ok && whole:
			d.name, d.hasData = "", false
			return event, nil
		case d.verdict == Done:
			d.err = io.EOF
		case before == Complete && whole:
			d.err = io.EOF
		default:
			d.err = ErrTruncated
		}
	}
	return Event{}, d.err
}

// readLine adds to d.line up to the end of the line; ended is false when the line goes on in the next chunk.
func (d *Decoder) readLine() (ended bool, err error) {
	for len(d.chunk) == 0 {
		n, err := d.r.Read(d.buffer)
		d.chunk = d.buffer[:n]
		if n == 0 && err != nil {
			return false, err
		}
	}
	if d.skipLF {
		d.skipLF = false
		if d.chunk[0] == '\n' {
			d.chunk = d.chunk[1:]
			if len(d.chunk) == 0 {
				return false, nil
			}
		}
	}
	end := bytes.IndexByte(d.chunk, '\n')
	if end < 0 {
		end = len(d.chunk)
	}
	if cr := bytes.IndexByte(d.chunk[:end], '\r'); cr >= 0 {
		end = cr
	}
	d.line = append(d.line, d.chunk[:end]...)
	if ended = end < len(d.chunk); ended {
		d.skipLF = d.chunk[end] == '\r'
		end++
	}
	d.chunk = d.chunk[end:]
	if limit := d.limit(); len(d.line) > limit {
		return false, fmt.Errorf("%w: more than %d bytes", ErrTooLong, limit)
	}
	return ended, nil
}

// field takes in one line that is not blank.
func (d *Decoder) field() error {
	name, value, _ := bytes.Cut(d.line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) {
	case "event":
		d.name = string(value)
	case "data":
		if d.hasData {
			d.data = append(d.data, '\n')
		}
		d.data = append(d.data, value...)
		d.hasData = true
		if limit := d.limit(); len(d.data) > limit {
			return fmt.Errorf("%w: more than %d bytes", ErrTooLong, limit)
		}
	}
	return nil
}

func (d *Decoder) limit() int {
	if d.MaxLine > 0 {
		return d.MaxLine
	}
	return DefaultMaxLine
}
