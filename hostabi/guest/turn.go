package guest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/towpath/towpath/hostabi"
)

// Turn is the running turn. Its methods may be called from any goroutine.
type Turn struct {
	Request hostabi.TurnRequest // what the submitter asked for
	Log     *slog.Logger        // the worker's log

	host hostabi.Host
	pump *pump
	root context.Context // of host calls, which a cancelled turn may still make
	ctx  context.Context // ends with the cancellation, what run gets

	emitting sync.Mutex
	event    encoder // guarded by emitting

	inputsOnce sync.Once
	inputs     chan Input
	started    sync.WaitGroup
}

// Decode reads the turn's input and the profile's settings into what the arguments point to; a nil one is not read. A
// key that the plugin does not know is an error, KindInvalid, that names it.
func (t *Turn) Decode(input, config any) error {
	for _, part := range []struct {
		name string
		raw  json.RawMessage
		into any
	}{{"input", t.Request.Input, input}, {"config", t.Request.Config, config}} {
		if part.into == nil || len(part.raw) == 0 || string(part.raw) == "null" {
			continue
		}
		d := json.NewDecoder(bytes.NewReader(part.raw))
		d.DisallowUnknownFields()
		if err := d.Decode(part.into); err != nil {
			return Fail(KindInvalid, "%s: %w", part.name, err)
		}
	}
	return nil
}

// Emit appends one event to the turn's stream. Errors: E2BIG above hostabi.MaxEvent bytes, EQUOTA.
func (t *Turn) Emit(e Event) error {
	t.emitting.Lock()
	defer t.emitting.Unlock()
	encoded, err := t.event.encode(e)
	if err != nil {
		return fmt.Errorf("emit %s: %w", e.EventType(), err)
	}
	_, err = t.host.Emit(t.root, encoded)
	return called("emit", 0, err)
}

// Get reads a key of the session. found is false when it has none.
func (t *Turn) Get(key string) (value []byte, found bool, err error) {
	value, err = t.host.KVGet(t.root, key)
	var refusal *hostabi.Error
	if errors.As(err, &refusal) && refusal.Code == hostabi.ENOENT {
		return nil, false, nil
	}
	return value, err == nil, called("kv_get", 0, err)
}

// Set writes a key of the session, at most hostabi.MaxValue bytes; no bytes delete it. This turn sees it at once, the
// session when the turn ends with a result, failed ones included.
func (t *Turn) Set(key string, value []byte) error {
	return called("kv_set", 0, t.host.KVSet(t.root, key, value))
}
