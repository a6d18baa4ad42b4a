package guest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/towpath/towpath/hostabi"
)

// Run is a plugin's function. ctx ends when the turn is cancelled, with a *Cancelled as cause. Result describes what
// becomes of the two results.
type Run func(ctx context.Context, t *Turn) (result any, err error)

// registered is what the program's init gave to Handle.
var registered struct {
	manifest hostabi.Manifest
	run      Run
}

// Handle registers the plugin. Call it once, from init.
func Handle(manifest hostabi.Manifest, run Run) {
	if registered.run != nil {
		panic("guest: Handle was called twice")
	}
	registered.manifest, registered.run = manifest, run
	Warm(
		&hostabi.TurnRequest{Input: json.RawMessage(`{}`), Config: json.RawMessage(`{}`)},
		&hostabi.HTTPHead{Headers: map[string]string{"a": "b"}}, &hostabi.ProcSpec{Args: []string{"a"}}, &manifest,
		&Header{"a": {"b"}}, &Input{}, &Result{}, parseCancel([]byte(`{}`)),
		&TurnStarted{}, &MessageDelta{}, &Message{}, &ReasoningDelta{}, &ToolCall{}, &ToolOutput{}, &Usage{}, &Retry{},
		&SteerApplied{},
	)
	settle()
}

// Serve runs one turn of a plugin's function against a host and finishes it. Its error is the host's trouble, such as
// a refused `finish`; how the turn went is in what the host was given. Outside wasm the host must allow other calls
// during Wait, and run's goroutines may outlive Serve only as long as ctx.
func Serve(ctx context.Context, host hostabi.Host, run Run) error {
	root, over := context.WithCancelCause(ctx)
	turn, cancel := context.WithCancelCause(root)
	t := &Turn{host: host, pump: newPump(host, cancel), root: root, ctx: turn, Log: logger(host)}
	t.started.Go(func() { t.pump.run(root) })
	defer func() {
		close(t.pump.done)
		over(errOver)
		t.started.Wait()
	}()

	if err := json.Unmarshal(host.Request(), &t.Request); err != nil {
		return t.finish(nil, fmt.Errorf("turn request: %w", err))
	}
	return t.finish(run(turn, t))
}

var errOver = errors.New("the turn is over")

// serveManifest finishes with the manifest.
func serveManifest(host hostabi.Host, manifest hostabi.Manifest) error {
	encoded, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	return host.Finish(context.Background(), encoded)
}
