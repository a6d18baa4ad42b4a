package turn

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/worker/egress"
)

// framed is what a child's output becomes.
func framed(out string, chunk int, make func(func([]byte) error) framer) (all []string, err error) {
	from := iotest.DataErrReader(&pieces{text: out, size: chunk})
	err = frame(from, new(egress.Scrubber), make(func(p []byte) error { all = append(all, string(p)); return nil }))
	return all, err
}

// pieces reads a text in pieces of a size.
type pieces struct {
	text string
	size int
}

func (p *pieces) Read(b []byte) (int, error) {
	n, err := strings.NewReader(p.text).Read(b[:min(len(b), p.size)])
	p.text = p.text[n:]
	return n, err
}

func asLines(put func([]byte) error) framer { return &lines{put: put} }
func asRaw(put func([]byte) error) framer   { return raw(put) }

func FuzzOutputIsFramedAlikeInAnyPieces(f *testing.F) {
	f.Add("one\ntwo\n", 3)
	f.Add("\n\nlast", 1)
	f.Add(strings.Repeat("x", hostabi.MaxData)+"\n"+strings.Repeat("y", hostabi.MaxData+1), 1000)
	f.Fuzz(func(t *testing.T, out string, chunk int) {
		if chunk < 1 {
			return
		}
		all, err := framed(out, chunk, asRaw)
		if err != nil || strings.Join(all, "") != out {
			t.Errorf("raw: %q, %v", all, err)
		}
		for _, p := range all {
			if len(p) == 0 || len(p) > hostabi.MaxData {
				t.Errorf("raw: a payload of %d bytes", len(p))
			}
		}
		want := strings.Split(out, "\n")
		if want[len(want)-1] == "" {
			want = want[:len(want)-1]
		}
		long := slices.IndexFunc(want, func(l string) bool { return len(l) > hostabi.MaxData })
		all, err = framed(out, chunk, asLines)
		var refused *hostabi.Error
		switch {
		case long < 0 && (err != nil || !slices.Equal(all, want)):
			t.Errorf("lines: %q, %v, want %q", all, err, want)
		case long >= 0 && (!errors.As(err, &refused) || refused.Code != hostabi.E2BIG || !slices.Equal(all, want[:long])):
			t.Errorf("lines: %q, %v, want %q and E2BIG", all, err, want[:long])
		}
	})
}

func TestAPayloadThatScrubbingMadeLongIsSplit(t *testing.T) {
	var sizes []int
	f := raw(func(p []byte) error { sizes = append(sizes, len(p)); return nil })
	if err := f.write(bytes.Repeat([]byte("x"), 2*hostabi.MaxData+1)); err != nil || !slices.Equal(sizes, []int{hostabi.MaxData, hostabi.MaxData, 1}) {
		t.Errorf("payloads of %v bytes, %v", sizes, err)
	}
}
