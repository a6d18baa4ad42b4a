// Command hello is the smallest useful plugin: it greets, and counts the turns of its session.
package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/guest"
)

func init() {
	guest.Handle(hostabi.Manifest{Name: "hello", Version: "1"}, run)
	guest.Warm(&input{}, &config{}, &greeting{})
}

func main() {}

// input is what a submitter passes: {"text":"Ada"}.
type input struct {
	Text string `json:"text"`
}

// config is the [config] table of hello.toml.
type config struct {
	Greeting string `json:"greeting"`
}

// greeting is the turn's result.
type greeting struct {
	Text string `json:"text"`
	Turn int    `json:"turn"`
}

func run(ctx context.Context, t *guest.Turn) (any, error) {
	in, conf := input{}, config{Greeting: "Hello"}
	if err := t.Decode(&in, &conf); err != nil {
		return nil, err
	}
	if in.Text == "" {
		return nil, guest.Fail(guest.KindInvalid, `input has no "text": pass {"text":"your name"}`)
	}

	// The session's keys outlive the turn. What Set writes is kept when the turn ends.
	turn := 1
	value, found, err := t.Get("turns")
	if err != nil {
		return nil, err
	}
	if found {
		before, err := strconv.Atoi(string(value))
		if err != nil {
			return nil, fmt.Errorf("key turns: %w", err)
		}
		turn = before + 1
	}
	if err := t.Set("turns", []byte(strconv.Itoa(turn))); err != nil {
		return nil, err
	}

	// Followers of the process see each event as soon as it is stored.
	text := fmt.Sprintf("%s, %s!", conf.Greeting, in.Text)
	if err := t.Emit(guest.TurnStarted{}); err != nil {
		return nil, err
	}
	if err := t.Emit(guest.Message{Text: text}); err != nil {
		return nil, err
	}
	return greeting{Text: text, Turn: turn}, nil
}
