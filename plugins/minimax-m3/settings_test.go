package main

import (
	"os"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/chat/chattest"
	"github.com/towpath/towpath/hostabi/guest/guesttest"
)

// The permit file beside the plugin permits what its manifest requests, and its settings are known to the plugin.
func TestThePermitFileFitsThePlugin(t *testing.T) {
	file, err := os.ReadFile("minimax-m3.toml")
	if err != nil {
		t.Fatal(err)
	}
	var permits struct {
		HTTP []struct {
			Host    string
			Methods []string
			Secrets []string
		}
		Secrets map[string]map[string]string
		Config  map[string]any
	}
	if err := toml.Unmarshal(file, &permits); err != nil {
		t.Fatal(err)
	}
	if len(permits.HTTP) != len(manifest.HTTP) {
		t.Fatalf("%d hosts permitted, %d requested", len(permits.HTTP), len(manifest.HTTP))
	}
	for i, request := range manifest.HTTP {
		permit := permits.HTTP[i]
		if permit.Host != request.Host || strings.Join(permit.Methods, " ") != strings.Join(request.Methods, " ") ||
			strings.Join(permit.Secrets, " ") != strings.Join(request.Secrets, " ") {
			t.Errorf("permitted %+v, requested %+v", permit, request)
		}
		for _, secret := range request.Secrets {
			if len(permits.Secrets[secret]) != 1 {
				t.Errorf("secret %s has no source", secret)
			}
		}
	}
	h := guesttest.New(t, hostabi.TurnRequest{Input: chattest.Encode(t, map[string]any{"text": "hi"}), Config: chattest.Encode(t, permits.Config)})
	h.Server = func(x *guesttest.Exchange) {
		if x.Head.URL != "https://api.minimax.io/v1/chat/completions" || x.Head.Headers["authorization"] != "Bearer {{secret:MINIMAX_API_KEY}}" {
			t.Errorf("request %+v", x.Head)
		}
		x.Respond(402, nil)
		x.End()
	}
	if o := finish(t, h); o.Kind != guest.KindBalance {
		t.Errorf("outcome %+v", o)
	}
}
