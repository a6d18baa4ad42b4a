package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func joined(t interface{ Fatal(...any) }, pieces []string) (whole string, as reading) {
	f := fold{reading: &as}
	var all strings.Builder
	for _, p := range pieces {
		more, err := f.add(p)
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString(more)
	}
	all.WriteString(f.rest())
	if all.String() != f.text {
		t.Fatal("said", all.String(), "kept", f.text)
	}
	return f.text, as
}

func TestIncrementsAndSnapshotsAreToldApart(t *testing.T) {
	for _, c := range []struct {
		pieces []string
		whole  string
		as     reading
	}{
		{[]string{"a", "and", " so"}, "aand so", incremental},
		{[]string{"a", "an", "and"}, "and", cumulative},
		{[]string{"Hello", "Hello there"}, "Hello there", cumulative},
		{[]string{"The", " user"}, "The user", incremental},
		{[]string{"ha", "haha", "ha"}, "hahahaha", incremental},
		{[]string{"ha", "ha"}, "haha", incremental},
		{[]string{"a", "and"}, "aand", undecided},
		{[]string{"one piece"}, "one piece", undecided},
		{[]string{"", "Hello", "", "Hello you", "Hello you", "Hello"}, "Hello you", cumulative},
		{nil, "", undecided},
	} {
		if whole, as := joined(t, c.pieces); whole != c.whole || as != c.as {
			t.Errorf("%q: %q as %d, want %q as %d", c.pieces, whole, as, c.whole, c.as)
		}
	}
}

// A snapshot that takes back what was said cannot be shown.
func TestASnapshotThatChangesItsMind(t *testing.T) {
	as := cumulative
	f := fold{reading: &as}
	for piece, fine := range map[string]bool{"Hello there": true} {
		if _, err := f.add(piece); (err == nil) != fine {
			t.Errorf("%q: %v", piece, err)
		}
	}
	if _, err := f.add("Good bye"); err == nil {
		t.Error("another text was taken for a snapshot")
	}
}

// One field tells for all of a stream, also for what another one holds back.
func TestOneFieldTellsForAll(t *testing.T) {
	var as reading
	one, other := fold{reading: &as}, fold{reading: &as}
	for _, piece := range []string{"a", "an"} {
		if _, err := one.add(piece); err != nil {
			t.Fatal(err)
		}
	}
	for _, piece := range []string{"Hello", "Hello you"} {
		if _, err := other.add(piece); err != nil {
			t.Fatal(err)
		}
	}
	if more := one.rest(); more != "n" || one.text != "an" {
		t.Errorf("held %q, text %q", more, one.text)
	}
}

// Snapshots of any text that grows by words give that text.
func TestAnySnapshotsGiveTheirText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching(`[a-z]{1,6} `), 3, 20).Draw(t, "words")
		var pieces []string
		for i := range words {
			pieces = append(pieces, strings.Join(words[:i+1], ""))
		}
		if whole, as := joined(t, pieces); whole != strings.Join(words, "") || as != cumulative {
			t.Fatalf("%q: %q as %d", pieces, whole, as)
		}
	})
}

// Increments of any text whose second piece does not begin with its first give that text.
func TestAnyIncrementsGiveTheirText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching(` ?[a-z]{1,6}`), 1, 20).Draw(t, "words")
		if len(words) > 1 && strings.HasPrefix(words[1], words[0]) {
			words[1] = "-" + words[1]
		}
		if whole, _ := joined(t, words); whole != strings.Join(words, "") {
			t.Fatalf("%q: %q", words, whole)
		}
	})
}

// However a text is cut, thoughts and words are told apart the same.
func FuzzThoughtsAreToldApartHoweverTheTextIsCut(f *testing.F) {
	f.Add("<think>a</think>\n\nb", 3, 9)
	f.Add(" <mm:think>1 < 2</mm:think>", 5, 20)
	f.Add("<thinking is hard", 6, 7)
	f.Add("no <think>tags</think>", 0, 0)
	f.Fuzz(func(t *testing.T, text string, a, b int) {
		if !utf8.ValidString(text) {
			return
		}
		a = max(0, min(a, len(text)))
		b = max(a, min(b, len(text)))
		read := func(pieces ...string) (string, string) {
			var s splitter
			var reasoning, said string
			for _, p := range pieces {
				r, t := s.add(p)
				reasoning, said = reasoning+r, said+t
			}
			r, rest := s.rest()
			return reasoning + r, said + rest
		}
		r1, t1 := read(text)
		r2, t2 := read(text[:a], text[a:b], text[b:])
		if r1 != r2 || t1 != t2 {
			t.Errorf("whole: %q, %q; cut: %q, %q", r1, t1, r2, t2)
		}
	})
}

func TestAStrayTagBehindTheReasoningIsDropped(t *testing.T) {
	for _, c := range []struct {
		pieces []string
		want   string
	}{
		{[]string{"a", "</th", "ink>", "\n"}, "a"},
		{[]string{"a </think> b"}, "a </think> b"},
		{[]string{"a </think>", " b"}, "a </think> b"},
		{[]string{"1 <", " 2 </thin"}, "1 < 2 </thin"},
	} {
		var tr trail
		var got string
		for _, p := range c.pieces {
			got += tr.add(p)
		}
		if got += tr.rest(); got != c.want {
			t.Errorf("%q: %q, want %q", c.pieces, got, c.want)
		}
	}
}
