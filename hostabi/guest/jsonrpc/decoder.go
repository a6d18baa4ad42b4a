package jsonrpc

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// DefaultMaxLine is the longest line accepted unless Decoder.MaxLine says otherwise, in bytes.
const DefaultMaxLine = 8 << 20

// ErrTooLong reports a line above the limit.
var ErrTooLong = errors.New("line too long")

// Malformed is a line that is no message. The decoder goes on behind it.
type Malformed struct {
	Line []byte // its beginning
}

func (m *Malformed) Error() string { return fmt.Sprintf("not a JSON-RPC message: %.100q", m.Line) }

// Message is what one line says: a request (Method and ID), a notification (Method), or a response (ID).
type Message struct {
	ID     json.RawMessage `json:"id,omitempty"` // a number or a string, as its sender wrote it
	Method string          `json:"method,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  *Error          `json:"error,omitempty"`
}

// Error is the error of a response.
type Error struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data,omitempty"`
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%d)", e.Message, e.Code) }

// IsRequest reports whether the sender waits for a response.
func (m Message) IsRequest() bool { return m.Method != "" && m.ID != nil }

// IsResponse reports whether the message answers a request.
func (m Message) IsResponse() bool { return m.Method == "" && m.ID != nil }

// Parse reads one line. The error is a *Malformed.
func Parse(line []byte) (Message, error) {
	var m Message
	if json.Unmarshal(line, &m) != nil || m.ID != nil && !identifies(m.ID) || m.Method == "" && m.ID == nil ||
		m.Method == "" && m.Result == nil && m.Error == nil {
		return Message{}, &Malformed{bytes.Clone(line[:min(len(line), 200)])}
	}
	return m, nil
}

// identifies reports whether a JSON value may be an id.
func identifies(id json.RawMessage) bool {
	return id[0] == '"' || id[0] == '-' || '0' <= id[0] && id[0] <= '9'
}

// Decoder reads messages. It belongs to one goroutine.
type Decoder struct {
	MaxLine int // bytes, DefaultMaxLine when 0

	r    *bufio.Reader
	line []byte
	err  error // sticky
}

// NewDecoder makes a decoder.
func NewDecoder(r io.Reader) *Decoder { return &Decoder{r: bufio.NewReaderSize(r, 64<<10)} }

// Next returns the next message; blank lines are passed over and the last line needs no newline. Errors: *Malformed,
// after which there may be more; io.EOF, ErrTooLong, or what the reader gave.
func (d *Decoder) Next() (Message, error) {
	for d.err == nil {
		line := d.read()
		if d.err != nil && !errors.Is(d.err, io.EOF) {
			break
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return Parse(line)
		}
	}
	return Message{}, d.err
}

// read returns the next line, valid until the next call.
func (d *Decoder) read() []byte {
	limit := d.MaxLine
	if limit == 0 {
		limit = DefaultMaxLine
	}
	// Messages point into what they were parsed from, and outlive this call.
	d.line = nil
	for {
		part, err := d.r.ReadSlice('\n')
		d.line = append(d.line, part...)
		if len(d.line) > limit+1 {
			d.line, d.err = nil, fmt.Errorf("%w: more than %d bytes", ErrTooLong, limit)
			return nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			d.err = err
			return d.line
		}
	}
}
