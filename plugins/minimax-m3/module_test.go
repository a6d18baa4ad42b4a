//go:build !race

// The race detector sees nothing inside a module and makes loading one take minutes.

package main

import (
	"testing"

	"github.com/towpath/towpath/hostabi/guest/chat/chattest"
	"github.com/towpath/towpath/hostabi/guest/guesttest"
)

// The other tests run the plugin natively. As a module it does the same, event by event.
func TestTheModuleDoesWhatThePluginDoes(t *testing.T) {
	m := chattest.Module(t)
	if got := m.Manifest(); got.Name != "minimax-m3" || len(got.HTTP) != 2 {
		t.Errorf("manifest %+v", got)
	}
	for name, text := range map[string]string{
		"reasoning beside the answer": "nonce 4711 größe",
		"snapshots":                   "one two three four [[form:cumulative]]",
		"details":                     "one two [[form:details]]",
		"tags":                        "one two [[form:tags]]",
		"a long answer":               "x [[tokens:300 bytes=200]]",
		"a cut":                       "x [[fault:cut]]",
		"no finish":                   "x [[form:unfinished]]",
		"a code":                      "x [[fault:1002]]",
		"a code behind the finish":    "x [[fault:2056 as=last]]",
	} {
		t.Run(name, func(t *testing.T) {
			chattest.Same(t, run, m, func() *guesttest.Host {
				_, h := backend(t, nil)
				return chattest.Say(t, h, text)
			})
		})
	}
}
