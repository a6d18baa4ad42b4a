package jsonrpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
)

// MaxStrange is how many lines that are no message a child may write.
const MaxStrange = 100

// ErrStrange ends a conversation with a child that writes something else.
var ErrStrange = errors.New("the child does not speak JSON-RPC")

// Conn is a conversation with a child. Its methods may be called from any goroutine once its fields are set.
type Conn struct {
	MaxLine int               // bytes, DefaultMaxLine when 0
	Strange func(*Malformed)  // is told of lines that are no message; nil: nobody is
	Notes   func(string) bool // tells which notifications to keep, by method; nil: all

	r io.Reader

	writing sync.Mutex
	w       io.Writer

	mu      sync.Mutex
	last    int64
	waiting map[int64]chan Message // calls without a response
	queue   []Message
	more    chan struct{} // holds a token while there may be something new
	err     error         // why there will be no more
	ended   chan struct{}
}

// New makes a conversation; Run reads what the child says.
func New(r io.Reader, w io.Writer) *Conn {
	return &Conn{r: r, w: w, waiting: map[int64]chan Message{}, more: make(chan struct{}, 1), ended: make(chan struct{})}
}

// Run reads until the child's output ends and returns why: io.EOF, ErrTooLong, ErrStrange, or what the reader gave. All
// waiting calls then fail with the same. Call it once.
func (c *Conn) Run() error {
	d := NewDecoder(c.r)
	d.MaxLine = c.MaxLine
	strange := 0
	for {
		m, err := d.Next()
		var malformed *Malformed
		switch {
		case errors.As(err, &malformed):
			if c.Strange != nil {
				c.Strange(malformed)
			}
			if strange++; strange <= MaxStrange {
				continue
			}
			err = fmt.Errorf("%w: %d lines are none, such as %.100q", ErrStrange, strange, malformed.Line)
		case err == nil:
			c.dispatch(m)
			continue
		}
		c.mu.Lock()
		c.err = err
		c.mu.Unlock()
		close(c.ended)
		return err
	}
}

func (c *Conn) dispatch(m Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.IsResponse() {
		id, err := strconv.ParseInt(string(m.ID), 10, 64)
		if wait := c.waiting[id]; err == nil && wait != nil {
			delete(c.waiting, id)
			wait <- m
		}
		return // nobody waits for it any more
	}
	if !m.IsRequest() && c.Notes != nil && !c.Notes(m.Method) {
		return
	}
	c.queue = append(c.queue, m)
	c.wake()
}

func (c *Conn) wake() {
	select {
	case c.more <- struct{}{}:
	default:
	}
}

// Receive returns the child's next notification or request. Errors: the cause of ctx, or what Run returned, after
// everything that came before it. It belongs to one goroutine.
func (c *Conn) Receive(ctx context.Context) (Message, error) {
	for {
		c.mu.Lock()
		if len(c.queue) > 0 {
			m := c.queue[0]
			c.queue[0] = Message{}
			c.queue = c.queue[1:]
			c.mu.Unlock()
			return m, nil
		}
		err := c.err
		c.mu.Unlock()
		if err != nil {
			return Message{}, err
		}
		select {
		case <-c.more:
		case <-c.ended:
		case <-ctx.Done():
			return Message{}, context.Cause(ctx)
		}
	}
}

// Encode is the line that asks for a method under an id, or that notifies when the id is 0.
func Encode(id int64, method string, params any) ([]byte, error) {
	m := Message{Method: method}
	if id != 0 {
		m.ID = strconv.AppendInt(nil, id, 10)
	}
	return encode(&m, params)
}

func encode(m *Message, params any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if params != nil {
		if err := e.Encode(params); err != nil {
			return nil, fmt.Errorf("%s: %w", m.Method, err)
		}
		m.Params = bytes.Clone(b.Bytes())
		b.Reset()
	}
	err := e.Encode(m)
	return b.Bytes(), err
}

// Call asks the child for a method and waits for the response, which it decodes into result unless that is nil.
// Errors: *Error for what the child refused, the cause of ctx, what Run returned, or what the writer gave.
func (c *Conn) Call(ctx context.Context, method string, params, result any) error {
	return c.Send(method, params, nil)(ctx, result)
}

// Send asks for a method and returns the function that waits for the response, so that more can be asked meanwhile.
// write, unless it is nil, writes the line in place of the conversation's writer.
func (c *Conn) Send(method string, params any, write func([]byte) error) (wait func(ctx context.Context, result any) error) {
	if write == nil {
		write = c.write
	}
	answer := make(chan Message, 1)
	c.mu.Lock()
	c.last++
	id := c.last
	c.waiting[id] = answer
	c.mu.Unlock()
	forget := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.waiting, id)
	}
	line, err := Encode(id, method, params)
	if err == nil {
		err = write(line)
	}
	return func(ctx context.Context, result any) error {
		if err != nil {
			forget()
			return err
		}
		select {
		case m := <-answer:
			return m.decode(method, result)
		case <-ctx.Done():
			forget()
			return context.Cause(ctx)
		case <-c.ended:
		}
		select {
		case m := <-answer: // the last that it said
			return m.decode(method, result)
		default:
			c.mu.Lock()
			defer c.mu.Unlock()
			return fmt.Errorf("%s: %w", method, c.err)
		}
	}
}

func (m Message) decode(method string, result any) error {
	if m.Error != nil {
		return fmt.Errorf("%s: %w", method, m.Error)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(m.Result, result); err != nil {
		return fmt.Errorf("%s: response: %w", method, err)
	}
	return nil
}

// Notify tells the child something that it does not answer.
func (c *Conn) Notify(method string, params any) error {
	line, err := Encode(0, method, params)
	if err != nil {
		return err
	}
	return c.write(line)
}

// Reply answers a request of the child.
func (c *Conn) Reply(id json.RawMessage, result any) error {
	text, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("reply: %w", err)
	}
	line, err := encode(&Message{ID: id, Result: text}, nil)
	if err != nil {
		return err
	}
	return c.write(line)
}

// Refuse answers a request of the child with an error. -32601 says that there is no such method.
func (c *Conn) Refuse(id json.RawMessage, code int, message string) error {
	line, err := encode(&Message{ID: id, Error: &Error{Code: code, Message: message}}, nil)
	if err != nil {
		return err
	}
	return c.write(line)
}

// write writes a whole line: a message stands in one write, whoever writes beside it.
func (c *Conn) write(line []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_, err := c.w.Write(line)
	return err
}
