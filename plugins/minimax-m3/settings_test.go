package main

import (
	"testing"

	"github.com/towpath/towpath/hostabi/guest/chat/chattest"
)

func TestThePermitFileFitsThePlugin(t *testing.T) {
	chattest.PermitFile(t, "minimax-m3.toml", manifest, run, "https://api.minimax.io/v1/chat/completions")
}
