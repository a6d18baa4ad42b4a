package chattest

import (
	"os"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/guesttest"
)

// PermitFile checks that the permit file beside a plugin permits what its manifest requests, and that the settings in it are
// known to the plugin: they make it ask at url with the manifest's first secret.
func PermitFile(t *testing.T, file string, manifest hostabi.Manifest, run guest.Run, url string) {
	t.Helper()
	text, err := os.ReadFile(file)
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
	if err := toml.Unmarshal(text, &permits); err != nil {
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
	h := guesttest.New(t, hostabi.TurnRequest{Input: Encode(t, map[string]any{"text": "hi"}), Config: Encode(t, permits.Config)})
	h.Server = func(x *guesttest.Exchange) {
		if x.Head.URL != url || x.Head.Headers["authorization"] != "Bearer {{secret:"+manifest.HTTP[0].Secrets[0]+"}}" {
			t.Errorf("request %+v", x.Head)
		}
		x.Respond(402, nil)
		x.End()
	}
	if o := Read(t, h.Run(run)); o.Kind != guest.KindBalance {
		t.Errorf("outcome %+v", o)
	}
}
