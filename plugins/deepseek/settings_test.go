package main

import (
	"testing"

	"github.com/towpath/towpath/hostabi/guest/chat/chattest"
)

func TestThePermitFileFitsThePlugin(t *testing.T) {
	chattest.PermitFile(t, "deepseek.toml", manifest, run, "https://api.deepseek.com/chat/completions")
}
