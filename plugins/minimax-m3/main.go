package main

import (
	"context"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/chat"
)

var manifest = hostabi.Manifest{
	Name:    "minimax-m3",
	Version: "1",
	HTTP: []hostabi.HTTPRequest{
		{Host: "api.minimax.io", Methods: []string{"POST"}, Secrets: []string{"MINIMAX_API_KEY"}},
		{Host: "api.minimaxi.com", Methods: []string{"POST"}, Secrets: []string{"MINIMAX_API_KEY"}},
	},
	MemoryMB: 64,
	TurnS:    600,
}

func init() {
	guest.Handle(manifest, run)
	chat.Warm(&settings{}, &body{Thinking: &chat.Typed{}}, &baseResp{}, &[]detail{{}})
}

func main() {}

func run(ctx context.Context, t *guest.Turn) (any, error) {
	s, in, err := read(t)
	if err != nil {
		return nil, err
	}
	return chat.Run(ctx, t, provider(&s), &in)
}
