package abitest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/towpath/towpath/hostabi"
)

// Host is what is tested: something that runs the turn of a module in a world.
type Host interface {
	// Turn calls turn_v1 in a fresh instance of the module and returns what it returned. An error says that the host
	// ended the turn before that.
	Turn(ctx context.Context, world hostabi.Host) (code int32, err error)
}

const theEnd = "the host ended the turn\n"

// transcript runs one test and renders what became of it.
func (s Suite) transcript(ctx context.Context, n int, host Host) string {
	t, w := s.Tests[n], NewWorld(n)
	code, err := host.Turn(ctx, w)
	var b strings.Builder
	fmt.Fprintf(&b, "== %s\n", t.Name)
	said := w.saw
	if err == nil && len(said) > 0 {
		last := len(said) - 1 // the guest's own words: its notes, and its end unless it has finished before
		if strings.HasPrefix(said[last], "finish") && !t.finishes() {
			last--
		}
		said = said[:last]
	}
	for i, c := range t.Calls {
		fmt.Fprintf(&b, "%s(%s)", c.Function, s.arguments(c))
		if err != nil {
			b.WriteString("\n")
			dump(&b, "before", c.before(), nil)
			continue
		}
		if len(w.notes) < (i+1)*noteBytes {
			b.WriteString(" left no note\n")
			continue
		}
		note := w.notes[i*noteBytes:][:noteBytes]
		before, after := note[8:][:windowBytes], note[8+windowBytes:]
		fmt.Fprintf(&b, " = %s\n", outcome(int64(binary.LittleEndian.Uint64(note))))
		dump(&b, "before", before, nil)
		if !bytes.Equal(before, after) {
			dump(&b, "after ", after, before)
		}
	}
	for _, line := range said {
		fmt.Fprintf(&b, "host: %s\n", line)
	}
	if err != nil {
		b.WriteString(theEnd)
	} else {
		fmt.Fprintf(&b, "turn_v1 returned %d\n", code)
	}
	return b.String()
}

// finishes reports whether the turn's end is the test's own.
func (t Test) finishes() bool {
	for _, c := range t.Calls {
		if c.Function == "finish" {
			return true
		}
	}
	return false
}

// before is the window as the guest fills it: what can be told of a call that did not come back.
func (c Call) before() []byte {
	b := make([]byte, windowBytes)
	for _, p := range c.put {
		copy(b[p.at:], p.text)
	}
	return b
}

// arguments shows pointers and lengths that are large in hexadecimal.
func (s Suite) arguments(c Call) string {
	var all []string
	for _, a := range c.args {
		if a >= 0x1000 && a < 0x200000 {
			all = append(all, fmt.Sprintf("%#x", a))
		} else {
			all = append(all, fmt.Sprint(a))
		}
	}
	return strings.Join(all, ", ")
}

func outcome(n int64) string {
	if n < 0 && n >= -int64(hostabi.ESTATE) {
		return fmt.Sprintf("%d %v", n, hostabi.Code(-n))
	}
	return fmt.Sprint(n)
}

// dump shows the rows of a window that are not zero, or that are not as they were.
func dump(b *strings.Builder, when string, now, was []byte) {
	for at := 0; at < len(now); at += 16 {
		row := now[at:][:16]
		if was == nil && len(bytes.Trim(row, "\x00")) == 0 || was != nil && bytes.Equal(row, was[at:][:16]) {
			continue
		}
		text := bytes.Clone(row)
		for i, c := range text {
			if c < ' ' || c > '~' {
				text[i] = '.'
			}
		}
		fmt.Fprintf(b, "  %s %04x  % x  %s\n", when, window+at, row, text)
	}
}
