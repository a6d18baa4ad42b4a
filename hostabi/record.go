package hostabi

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Kind says what a Record is about.
type Kind uint32

const (
	KindHead   Kind = 1  // HTTP response began: Code is the status, Payload JSON headers (lower-case names, lists). Of a child: its broker got an answer of 400 or above
	KindData   Kind = 2  // body bytes as they came, or one stdout frame; at most MaxData
	KindStderr Kind = 3  // bytes of a child's standard error
	KindEnd    Kind = 4  // end of body (Code 0) or of the child (Code is the exit status)
	KindFailed Kind = 5  // Code is a negated Code, Payload a message
	KindInput  Kind = 16 // JSON with `type`: steer, answer, signal
	KindCancel Kind = 17 // JSON {reason, grace_ns}: the turn is killed after the grace
)

// RecordHeader is the number of bytes before a record's payload.
const RecordHeader = 16

// Record is one observation: what `wait` hands to the guest, and what a journal keeps of it.
// On the wire it is little-endian: u32 kind, u32 handle, i32 code, u32 flags (0), then the payload to the end.
type Record struct {
	Kind    Kind
	Handle  uint32 // 0 for what is addressed to the turn itself
	Code    int32
	Payload []byte
}

// ErrRecord reports bytes that are not a record.
var ErrRecord = errors.New("hostabi: malformed record")

// AppendTo appends the record's wire form to b.
func (r Record) AppendTo(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(r.Kind))
	b = binary.LittleEndian.AppendUint32(b, r.Handle)
	b = binary.LittleEndian.AppendUint32(b, uint32(r.Code))
	b = binary.LittleEndian.AppendUint32(b, 0)
	return append(b, r.Payload...)
}

// ParseRecord reads a record's wire form. Payload aliases b.
func ParseRecord(b []byte) (Record, error) {
	if len(b) < RecordHeader {
		return Record{}, fmt.Errorf("%w: %d bytes, want at least %d", ErrRecord, len(b), RecordHeader)
	}
	if flags := binary.LittleEndian.Uint32(b[12:]); flags != 0 {
		return Record{}, fmt.Errorf("%w: flags %#x are not of this version", ErrRecord, flags)
	}
	return Record{
		Kind:    Kind(binary.LittleEndian.Uint32(b)),
		Handle:  binary.LittleEndian.Uint32(b[4:]),
		Code:    int32(binary.LittleEndian.Uint32(b[8:])),
		Payload: b[RecordHeader:],
	}, nil
}
