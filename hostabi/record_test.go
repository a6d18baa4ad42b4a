package hostabi

import (
	"bytes"
	"errors"
	"testing"
)

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte{})
	f.Add(Record{Kind: KindData, Handle: 7, Code: -9, Payload: []byte("payload")}.AppendTo(nil))
	f.Add(append(bytes.Repeat([]byte{0xff}, RecordHeader-4), 0, 0, 0, 0))
	f.Add(bytes.Repeat([]byte{1}, RecordHeader))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRecord(b)
		if err != nil {
			if !errors.Is(err, ErrRecord) {
				t.Errorf("error %v", err)
			}
			return
		}
		if again := r.AppendTo(nil); !bytes.Equal(again, b) {
			t.Errorf("%x became %x", b, again)
		}
	})
}
