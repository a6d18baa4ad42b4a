package turn

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"

	"github.com/towpath/towpath/hostabi"
)

// semantics is the version of what a replay does with a journal. A journal of another version is not replayed.
const semantics = 1

// maxJournal is how many bytes of journal one turn may make whose profile says nothing.
const maxJournal = 256 << 20

// op is a host call as the journal numbers it. Numbers are stored: they never change.
type op uint8

const (
	opHead op = iota // not a call: what the turn began with
	opEmit
	opHTTPOpen
	opProcOpen
	opProcWrite
	opWait
	opSleep
	opClose
	opKVGet
	opKVSet
	opFinish
	opProcFill
)

var opNames = [...]string{"head", "emit", "http_open", "proc_open", "proc_write", "wait", "sleep", "close", "kv_get", "kv_set", "finish", "proc_fill"}

func (o op) String() string {
	if int(o) < len(opNames) {
		return opNames[o]
	}
	return fmt.Sprintf("op %d", uint8(o))
}

// entry is one host call: what was asked, as a digest, and what the guest was told.
type entry struct {
	op     op
	digest [16]byte // of op and arguments
	ret    int64    // a handle, an ordinal, a length; negative: a refusal, whose message is data
	at     int64    // the turn's clock, Unix ns
	data   []byte
}

// refusal is the error that the guest was told, if it was one.
func (e entry) refusal() error {
	if e.ret >= 0 {
		return nil
	}
	return &hostabi.Error{Code: hostabi.Code(-e.ret), Message: string(e.data)}
}

// errJournal reports bytes that are not a journal of ours.
var errJournal = errors.New("turn: malformed journal")

// appendTo packs an entry: op, digest, ret and at as varints, data with its length.
func (e entry) appendTo(b []byte) []byte {
	b = append(b, byte(e.op))
	b = append(b, e.digest[:]...)
	b = binary.AppendVarint(b, e.ret)
	b = binary.AppendVarint(b, e.at)
	b = binary.AppendUvarint(b, uint64(len(e.data)))
	return append(b, e.data...)
}

// parseEntry unpacks one entry and returns what follows it. The entry's data aliases b.
func parseEntry(b []byte) (entry, []byte, error) {
	var e entry
	if len(b) < 1+len(e.digest) {
		return e, nil, errJournal
	}
	e.op = op(b[0])
	b = b[1+copy(e.digest[:], b[1:]):]
	var n int
	if e.ret, n = binary.Varint(b); n <= 0 {
		return e, nil, errJournal
	}
	b = b[n:]
	if e.at, n = binary.Varint(b); n <= 0 {
		return e, nil, errJournal
	}
	b = b[n:]
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return e, nil, errJournal
	}
	b = b[n:]
	e.data = b[:size:size]
	return e, b[size:], nil
}

// head is what a turn began with: the first entry of its journal. A replay begins with the same.
type head struct {
	Semantics int             `json:"semantics"`
	Module    string          `json:"module"` // Backend.Digest
	Request   json.RawMessage `json:"request"`
}

// digester makes the digests of one turn's calls. They are keyed, so that they tell nothing of what they are of.
// It belongs to one goroutine.
type digester struct{ hash.Hash }

func newDigester(key []byte) digester { return digester{hmac.New(sha256.New, key)} }

func (h digester) of(o op, parts ...[]byte) (sum [16]byte) {
	h.Reset()
	var size [9]byte
	size[0] = byte(o)
	for _, p := range parts {
		binary.LittleEndian.PutUint64(size[1:], uint64(len(p)))
		h.Write(size[:])
		h.Write(p)
	}
	if len(parts) == 0 {
		h.Write(size[:])
	}
	var full [sha256.Size]byte
	copy(sum[:], h.Sum(full[:0]))
	return sum
}

func number(n int64) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(n)) }

// divergence ends a replay at the first call that is not the recorded one.
func divergence(n int, want entry, got op) error {
	text := fmt.Sprintf("divergence at call %d: the journal has %s, the guest called %s", n, want.op, got)
	if want.op == got {
		text = fmt.Sprintf("divergence at call %d: %s was called with other arguments than the journal has", n, got)
	}
	return &Exceeded{Limit: "divergence", Text: text}
}
