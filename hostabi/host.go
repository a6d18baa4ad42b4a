package hostabi

import (
	"context"
	"time"
)

// Host is the world of one turn: the engine decodes and bounds each call of the guest, and a Host gives it its
// meaning. One Host serves one instance and is called from one goroutine at a time. Slices passed in alias guest
// memory and are valid during the call only; a returned slice belongs to the engine.
//
// An *Error becomes the guest's result. Any other error ends the execution: it is the host's trouble (a lost
// lease, a database that is away) and must never make the turn `failed`.
//
// The context ends when the turn must stop at once; a blocked method then returns context.Cause.
type Host interface {
	// Request returns the turn request, JSON as in TurnRequest.
	Request() []byte
	// Now returns Unix time in nanoseconds on the turn's clock: the time of the last observation plus a little
	// for every reading, so that no reading needs a journal entry.
	Now() int64
	// Random fills p from the turn's stream.
	Random(p []byte)
	// Log writes one line to the worker's log, at level -1 debug, 0 info, 1 warn, 2 error.
	Log(level int32, message []byte)
	// Emit appends one event, a JSON object with a string `type`. It returns the event's number among those
	// that this turn emitted, from 1: other writers' events stand between them, so it is not the row's seq.
	Emit(ctx context.Context, event []byte) (uint32, error)
	// HTTPOpen begins a request. head is JSON as in HTTPHead.
	HTTPOpen(ctx context.Context, head, body []byte) (uint32, error)
	// ProcOpen begins a child. spec is JSON as in ProcSpec.
	ProcOpen(ctx context.Context, spec []byte) (uint32, error)
	// ProcWrite writes to a child's standard input, as it is; no bytes close it.
	ProcWrite(ctx context.Context, handle uint32, p []byte) error
	// ProcFill is ProcWrite of a text whose placeholders the host fills. It must hold no words of anybody but the
	// plugin's author: whoever can write a placeholder gets its value written to the child.
	ProcFill(ctx context.Context, handle uint32, p []byte) error
	// Wait returns the next record of a handle, or of any when handle is 0; nil when timeout ran out first.
	// A negative timeout waits for ever.
	Wait(ctx context.Context, handle uint32, timeout time.Duration) (*Record, error)
	// Sleep is the guest's clock-only poll_oneoff: a Wait that no record ends.
	Sleep(ctx context.Context, d time.Duration) error
	// Close cancels and forgets a handle; no later record comes from it.
	Close(ctx context.Context, handle uint32) error
	// KVGet reads a key of the session; ENOENT when it has none.
	KVGet(ctx context.Context, key string) ([]byte, error)
	// KVSet writes a key of the session, or deletes it when value is empty. This turn sees it at once, the
	// session only when the turn finishes.
	KVSet(ctx context.Context, key string, value []byte) error
	// Finish parks the turn's result, a JSON object, exactly once. It commits only when the turn returns 0.
	Finish(ctx context.Context, result []byte) error
}
