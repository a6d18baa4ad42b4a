// Command calls uses every function of the ABI once and says what came of each.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"time"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/guest"
)

func init() {
	guest.Handle(hostabi.Manifest{Name: "calls", Version: "1"}, run)
}

func main() {}

// said is an event that is named after a host function.
type said struct {
	function string
	Text     string `json:"text"`
}

func (s said) EventType() string { return s.function }

func run(ctx context.Context, t *guest.Turn) (any, error) {
	var failed error
	say := func(function string, text any) {
		if err := t.Emit(said{function, fmt.Sprint(text)}); err != nil && failed == nil {
			failed = err
		}
	}
	var input struct{ Test string }
	if err := t.Decode(&input, &struct{}{}); err != nil {
		return nil, err
	}
	say("request", input.Test)
	began := time.Now()
	say("now", time.Now().After(began))
	var one, two [8]byte
	rand.Read(one[:])
	rand.Read(two[:])
	say("random", one != two)
	t.Log.Info("hello")
	say("log", "hello")
	if _, found, err := t.Get("color"); err != nil || found {
		return nil, fmt.Errorf("get: %t, %w", found, err)
	}
	say("kv_get", "none")
	if err := t.Set("color", []byte("blue")); err != nil {
		return nil, err
	}
	color, _, err := t.Get("color")
	if err != nil {
		return nil, err
	}
	say("kv_set", string(color))

	resp, err := t.Do(ctx, &guest.Request{Method: "GET", URL: "https://a/"})
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	say("http_open", fmt.Sprint(resp.Status, string(bytes.TrimPrefix(body, []byte("\x00\xff")))))
	if err == nil {
		err = resp.Body.Close()
	}
	say("close", err == nil)

	child, err := t.Exec(ctx, "tool")
	if err != nil {
		return nil, err
	}
	say("proc_open", true)
	_, err = child.Write([]byte("line\n"))
	say("proc_write", err == nil)
	say("proc_fill", guest.CodeOf(child.Fill([]byte("{{secret:OTHER}}"))) == hostabi.EDENIED)
	_, err = child.ReadLine()
	_, lost := guest.Lost(err)
	say("wait", lost)
	return map[string]string{}, failed
}
