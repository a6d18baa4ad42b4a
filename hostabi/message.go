package hostabi

import "encoding/json"

// TurnRequest is what `request` yields.
type TurnRequest struct {
	Process string          `json:"process"`
	Session string          `json:"session"`
	Profile string          `json:"profile"`
	Attempt int             `json:"attempt"`
	Input   json.RawMessage `json:"input"`  // what the submitter passed
	Config  json.RawMessage `json:"config"` // the profile's settings, from its permit file
	Thread  Thread          `json:"thread"`
}

// Thread names the session snapshot that this turn continues. Its parts are read by `kv_get`.
type Thread struct {
	Version int64  `json:"version"`
	Digest  string `json:"digest"`
}

// HTTPHead is the first argument of `http_open`. A header value may hold placeholders {{secret:NAME}}; the host
// fills them on the way out, only towards hosts to which the operator bound that secret.
type HTTPHead struct {
	Method    string            `json:"method"`
	URL       string            `json:"url"`
	Headers   map[string]string `json:"headers,omitempty"`
	TimeoutNS int64             `json:"timeout_ns,omitempty"` // whole exchange; 0 leaves it to the profile's limit
	RetryOf   uint32            `json:"retry_of,omitempty"`   // the ELOST handle that this request repeats
}

// Framings of a child's standard output.
const (
	FramingLines = "lines" // a DATA record per line, without its newline
	FramingRaw   = "raw"   // a DATA record per read
)

// ProcSpec is the argument of `proc_open`. Name is a key of the operator's table, never a path.
type ProcSpec struct {
	Name    string   `json:"name"`
	Args    []string `json:"args,omitempty"`
	Framing string   `json:"framing,omitempty"`  // FramingLines when empty
	RetryOf uint32   `json:"retry_of,omitempty"` // the ELOST child that this one replaces: what was emitted since it was opened is retracted
}

// Manifest is what `manifest_v1` finishes with. It requests; the operator permits; nothing is permitted by default.
type Manifest struct {
	Name     string        `json:"name"`
	Version  string        `json:"version"`
	HTTP     []HTTPRequest `json:"http,omitempty"`
	Proc     []ProcRequest `json:"proc,omitempty"`
	MemoryMB int           `json:"memory_mb,omitempty"`
	TurnS    int           `json:"turn_s,omitempty"`
}

// HTTPRequest asks for a host, a name without port or with `:port`.
type HTTPRequest struct {
	Host    string   `json:"host"`
	Methods []string `json:"methods,omitempty"`
	Secrets []string `json:"secrets,omitempty"`
}

// ProcRequest asks for a command by its name in the operator's table.
type ProcRequest struct {
	Name    string   `json:"name"`
	Secrets []string `json:"secrets,omitempty"`
}
