package hostabi

// Limits that are part of the contract: a guest may rely on what is below them, and gets E2BIG above.
const (
	MaxModule  = 16 << 20 // bytes of a module
	MaxBody    = 1 << 20  // bytes of one function body
	MaxTable   = 64 << 10 // table entries
	MaxData    = 64 << 10 // payload of one DATA or STDERR record
	MaxEvent   = 1 << 20  // one event
	MaxRequest = 16 << 20 // body of one outgoing request
	MaxHead    = 64 << 10 // head of a request, spec of a child
	MaxKey     = 512      // a kv key
	MaxValue   = 1 << 20  // a kv value
	MaxResult  = 1 << 20  // what `finish` takes
	MaxLog     = 64 << 10 // one log line; the rest is cut
	MaxHandles = 64       // open at once
	StderrTail = 8 << 10  // kept for a trapped turn's error
)
