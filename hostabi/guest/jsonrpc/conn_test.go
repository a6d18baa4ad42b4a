package jsonrpc_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/towpath/towpath/hostabi/guest/jsonrpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// child is the other end of a conversation.
type child struct {
	in  *bufio.Scanner // what it is told
	out *io.PipeWriter
}

func (c child) say(format string, args ...any) { fmt.Fprintf(c.out, format+"\n", args...) }

func (c child) hear(t *testing.T) jsonrpc.Message {
	t.Helper()
	if !c.in.Scan() {
		t.Fatal("nothing more was said to the child")
	}
	m, err := jsonrpc.Parse(c.in.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// talk runs a conversation with a child that is a function; what Run returned comes when both have ended.
func talk(t *testing.T, play func(child), use func(*jsonrpc.Conn)) error {
	t.Helper()
	toChild, in := io.Pipe()
	out, fromChild := io.Pipe()
	conn := jsonrpc.New(out, in)
	var group sync.WaitGroup
	var err error
	group.Go(func() {
		defer fromChild.Close()
		play(child{bufio.NewScanner(toChild), fromChild})
		go io.Copy(io.Discard, toChild)
	})
	group.Go(func() { err = conn.Run() })
	use(conn)
	group.Wait()
	in.Close()
	return err
}

func TestCallsAreAnsweredInAnyOrder(t *testing.T) {
	err := talk(t, func(c child) {
		first, second := c.hear(t), c.hear(t)
		if first.Method == "b" {
			first, second = second, first
		}
		c.say(`{"method":"note","params":{"n":1}}`)
		c.say(`{"id":99,"result":"to nobody"}`)
		c.say(`{"id":%s,"error":{"code":-32600,"message":"not so"}}`, second.ID)
		c.say(`{"id":0,"method":"may I"}`)
		c.say(`{"id":%s,"result":{"method":%q}}`, first.ID, first.Method)
		if answer := c.hear(t); !answer.IsResponse() || string(answer.ID) != "0" || string(answer.Result) != `"yes"` {
			t.Errorf("answer %+v", answer)
		}
	}, func(conn *jsonrpc.Conn) {
		var got struct{ Method string }
		var group sync.WaitGroup
		group.Go(func() {
			if err := conn.Call(t.Context(), "a", map[string]string{"x": "<&>"}, &got); err != nil || got.Method != "a" {
				t.Errorf("first call: %+v, %v", got, err)
			}
		})
		var refused *jsonrpc.Error
		group.Go(func() {
			if err := conn.Call(t.Context(), "b", nil, nil); !errors.As(err, &refused) || refused.Code != -32600 {
				t.Errorf("second call: %v", err)
			}
		})
		for _, want := range []string{"note", "may I"} {
			m, err := conn.Receive(t.Context())
			if err != nil || m.Method != want {
				t.Errorf("received %+v, %v, want %s", m, err, want)
			}
			if m.IsRequest() {
				if err := conn.Reply(m.ID, "yes"); err != nil {
					t.Error(err)
				}
			}
		}
		group.Wait()
	})
	if !errors.Is(err, io.EOF) {
		t.Errorf("run: %v", err)
	}
}

func TestTheEndOfTheChildEndsEveryCall(t *testing.T) {
	talk(t, func(c child) {
		c.hear(t)
		c.say(`{"method":"last words"}`)
	}, func(conn *jsonrpc.Conn) {
		if err := conn.Call(t.Context(), "x", nil, nil); !errors.Is(err, io.EOF) {
			t.Errorf("call: %v", err)
		}
		if m, err := conn.Receive(t.Context()); m.Method != "last words" || err != nil {
			t.Errorf("received %+v, %v", m, err)
		}
		if _, err := conn.Receive(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestACallEndsWithItsContext(t *testing.T) {
	enough := errors.New("enough")
	done := make(chan struct{})
	talk(t, func(c child) {
		asked := c.hear(t)
		<-done
		c.say(`{"id":%s,"result":1}`, asked.ID) // too late, and no harm
	}, func(conn *jsonrpc.Conn) {
		ctx, cancel := context.WithCancelCause(t.Context())
		go cancel(enough)
		if err := conn.Call(ctx, "x", nil, nil); !errors.Is(err, enough) {
			t.Errorf("call: %v", err)
		}
		if _, err := conn.Receive(ctx); !errors.Is(err, enough) {
			t.Errorf("receive: %v", err)
		}
		close(done)
	})
}

func TestAFewStrangeLinesArePassedOver(t *testing.T) {
	for lines, want := range map[int]error{jsonrpc.MaxStrange: io.EOF, jsonrpc.MaxStrange + 1: jsonrpc.ErrStrange} {
		told := 0
		out := strings.NewReader(strings.Repeat("warning: something\n", lines) + `{"method":"m"}`)
		conn := jsonrpc.New(out, io.Discard)
		conn.Strange = func(*jsonrpc.Malformed) { told++ }
		if err := conn.Run(); !errors.Is(err, want) || told != lines {
			t.Errorf("%d strange lines: told of %d, %v, want %v", lines, told, err, want)
		}
		if _, err := conn.Receive(t.Context()); (err == nil) != (want == io.EOF) {
			t.Errorf("%d strange lines, then a message: %v", lines, err)
		}
	}
}

func TestUnwantedNotesAreDropped(t *testing.T) {
	out := strings.NewReader(`{"method":"noise"}` + "\n" + `{"method":"noise","id":1}` + "\n" + `{"method":"news"}`)
	conn := jsonrpc.New(out, io.Discard)
	conn.Notes = func(method string) bool { return method == "news" }
	conn.Run()
	var got []string
	for {
		m, err := conn.Receive(t.Context())
		if err != nil {
			break
		}
		got = append(got, m.Method+string(m.ID))
	}
	if strings.Join(got, " ") != "noise1 news" {
		t.Errorf("received %q", got)
	}
}
