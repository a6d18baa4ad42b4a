package main

import (
	"context"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/chat"
)

var manifest = hostabi.Manifest{
	Name:     "deepseek",
	Version:  "1",
	HTTP:     []hostabi.HTTPRequest{{Host: "api.deepseek.com", Methods: []string{"POST"}, Secrets: []string{"DEEPSEEK_API_KEY"}}},
	MemoryMB: 64,
	TurnS:    600,
}

func init() {
	guest.Handle(manifest, run)
	chat.Warm(&input{}, &settings{}, &body{Thinking: &chat.Typed{}, ResponseFormat: &chat.Typed{}})
}

func main() {}

func run(ctx context.Context, t *guest.Turn) (any, error) {
	s, in, err := read(t)
	if err != nil {
		return nil, err
	}
	return chat.Run(ctx, t, provider(&s, &in), &in.Input)
}
