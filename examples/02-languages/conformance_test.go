package languages

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/abitest"
	"github.com/towpath/towpath/hostabi/engine"
)

// heard is the world of the conformance kit, and keeps what is emitted.
type heard struct {
	*abitest.World
	events []string
	result string
}

func (h *heard) Emit(ctx context.Context, event []byte) (uint32, error) {
	var said struct{ Type, Text string }
	if json.Unmarshal(event, &said) == nil {
		h.events = append(h.events, said.Type+" "+said.Text)
	}
	return h.World.Emit(ctx, event)
}

func (h *heard) Finish(ctx context.Context, result []byte) error {
	h.result = string(result)
	return h.World.Finish(ctx, result)
}

// Every SDK has every function of the ABI, and all say the same of each.
func TestEveryLanguageHasEveryHostFunction(t *testing.T) {
	want := []string{
		"request 042", "now true", "random true", "log hello", "kv_get none", "kv_set blue", "http_open 200 pong", "close true",
		"proc_open true", "proc_write true", "proc_fill true", "wait true",
	}
	for _, f := range abitest.Turn.Functions() {
		implied := f.Name == "take" || f.Name == "emit" || f.Name == "finish" // without them nothing is heard
		if !implied && !slices.ContainsFunc(want, func(line string) bool { return strings.HasPrefix(line, f.Name+" ") }) {
			t.Errorf("nothing is said of %s", f.Name)
		}
	}
	each(t, "calls", func(t *testing.T, m *engine.Module) {
		h := &heard{World: abitest.NewWorld(42)}
		if err := m.Run(t.Context(), h); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(h.events, want) {
			t.Errorf("said %q\nwant %q", h.events, want)
		}
		var outcome struct{ Status string }
		if err := json.Unmarshal([]byte(h.result), &outcome); err != nil || outcome.Status != "completed" {
			t.Errorf("result %s: %v", h.result, err)
		}
		_, language, _ := strings.Cut(t.Name(), "/")
		wasm, err := os.ReadFile(filepath.Join(built, language+"-calls.wasm"))
		if err != nil {
			t.Fatal(err)
		}
		imports := func(module, name string) bool { // as its import section has it
			return bytes.Contains(wasm, fmt.Appendf(nil, "%c%s%c%s\x00", len(module), module, len(name), name))
		}
		// The runtimes of Go and others read the turn's clock and its random stream through WASI.
		wasi := map[string]string{"now": "clock_time_get", "random": "random_get"}
		for _, f := range abitest.Turn.Functions() {
			if !imports(hostabi.Module, f.Name) && !imports("wasi_snapshot_preview1", wasi[f.Name]) {
				t.Errorf("%s is not imported", f.Name)
			}
		}
	})
}
