package egress

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"sort"
	"strings"
	"testing"
)

func scrubberFor(values map[string][]string) *Scrubber { return &Scrubber{matcher: newMatcher(values)} }

// whole is what Scrub must give, written in the plain way: find every occurrence, join those that overlap.
func whole(text string, values map[string][]string) string {
	type hit struct {
		from, to int
		name     string
	}
	var hits []hit
	for name, all := range values {
		for _, v := range all {
			for _, form := range forms(v) {
				for at := 0; ; at++ {
					i := strings.Index(text[at:], form)
					if i < 0 {
						break
					}
					at += i
					hits = append(hits, hit{at, at + len(form), name})
				}
			}
		}
	}
	// The first to begin names a run; of those the longest; of those the first name.
	sort.Slice(hits, func(i, j int) bool {
		a, b := hits[i], hits[j]
		if a.from != b.from {
			return a.from < b.from
		}
		if a.to != b.to {
			return a.to > b.to
		}
		return a.name < b.name
	})
	var out strings.Builder
	at := 0
	for _, h := range hits {
		if h.from >= at {
			out.WriteString(text[at:h.from])
			fmt.Fprintf(&out, "[redacted:%s]", h.name)
			at = h.to
		}
		at = max(at, h.to)
	}
	out.WriteString(text[at:])
	return out.String()
}

func TestEveryFormIsScrubbed(t *testing.T) {
	for _, secret := range []string{canary, `quote"back\slash/<tag>&`, "spaced out value", "plainplain", "ünïcödé-secret", "line\nbreak\ttab"} {
		values := map[string][]string{"KEY": {secret}}
		quoted, _ := json.Marshal(secret)
		var noHTML bytes.Buffer
		encoder := json.NewEncoder(&noHTML)
		encoder.SetEscapeHTML(false)
		encoder.Encode(secret)
		texts := []string{
			secret, string(quoted), noHTML.String(), strings.ReplaceAll(string(quoted), "/", `\/`),
			url.QueryEscape(secret), url.PathEscape(secret), strings.ToLower(url.QueryEscape("/")) + url.PathEscape(secret),
		}
		for _, around := range []string{"", "a", "ab", "user:", "abcd"} {
			for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
				texts = append(texts, encoding.EncodeToString([]byte(around+secret)), encoding.EncodeToString([]byte(around+secret+around)))
			}
		}
		for _, text := range texts {
			got := string(scrubberFor(values).Scrub([]byte("before "+text+" after"), true))
			if !strings.Contains(got, "[redacted:KEY]") || strings.Contains(got, text) {
				t.Errorf("%q becomes %q", text, got)
			}
			if !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " after") {
				t.Errorf("%q lost what stands around it: %q", text, got)
			}
		}
	}
}

func TestOverlapsAndNeighbours(t *testing.T) {
	values := map[string][]string{"A": {"aaaabbbb"}, "B": {"bbbbcccc"}, "LONG": {"aaaabbbbdddd"}, "MIDDLE": {"abbbbd-xx"}, "OUTER": {"--bbbbcccc--"}}
	for text, want := range map[string]string{
		"aaaabbbbcccc":          "[redacted:A]",
		"aaaabbbbaaaabbbb":      "[redacted:A][redacted:A]",
		"aaaabbbbddddx":         "[redacted:LONG]x",
		"aaaabbbbdddx":          "[redacted:A]dddx",
		"aaaaabbbbd-xx":         "a[redacted:A]",
		"aaaabbb":               "aaaabbb",
		"xaaaabbbbccccx":        "x[redacted:A]x",
		"--bbbbcccc-x":          "--[redacted:B]-x",
		"--bbbbcccc--":          "[redacted:OUTER]",
		"":                      "",
		"[redacted:A] aaaabbbb": "[redacted:A] [redacted:A]",
	} {
		if got := string(scrubberFor(values).Scrub([]byte(text), true)); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

func TestOnlyTheBeginningOfASecretIsHeldBack(t *testing.T) {
	s := scrubberFor(map[string][]string{"KEY": {"secret-value"}})
	for _, step := range []struct{ in, out string }{
		{"data: hello", "data: hello"},
		{" se", " "},
		{"cr", ""},
		{"x", "secrx"},
		{"secret-valu", ""},
		{"e", "[redacted:KEY]"},
		{"s", ""},
		{"sec", "s"},
	} {
		if got := string(s.Scrub([]byte(step.in), false)); got != step.out {
			t.Errorf("after %q came %q, want %q", step.in, got, step.out)
		}
	}
	if got := string(s.Scrub(nil, true)); got != "sec" {
		t.Errorf("the end gives %q", got)
	}
	if got := string(s.Scrub([]byte("ret-value"), true)); got != "ret-value" {
		t.Errorf("another stream begins with %q", got)
	}
}

// Any division into chunks gives what the plain way gives for the whole.
func FuzzScrubber(f *testing.F) {
	f.Add("before aaaabbbbcccc after", "aaaabbbb", "bbbbcccc", []byte{1, 2, 3})
	f.Add("abababababab", "abababab", "babababa", []byte{1})
	f.Add("x"+base64.StdEncoding.EncodeToString([]byte("u:aaaabbbb")), "aaaabbbb", "aaaabbbb", []byte{5, 0, 7})
	f.Add("aaaaaaaaaaaaaaaaaaaaaa", "aaaaaaaa", "aaaaaaaaaaaa", []byte{3})
	f.Add("--aaaabbbb-x--aaaabbbb--", "aaaabbbb", "--aaaabbbb--", []byte{4})
	f.Add("%2Faaa%2Faaa\\/aaa", "/aaa/aaa", "aaa/aaa\"", []byte{1, 1, 2})
	f.Fuzz(func(t *testing.T, text, a, b string, cuts []byte) {
		if len(a) < minSecret || len(b) < minSecret || len(text) > 4<<10 || len(a)+len(b) > 256 {
			return
		}
		values := map[string][]string{"A": {a}, "B": {b}}
		want := whole(text, values)
		s := scrubberFor(values)
		for round := range 2 { // the second on the Scrubber that the first left behind
			var got strings.Builder
			rest := []byte(text)
			for i := 0; len(cuts) > 0 && len(rest) > 0 && i < len(text)+len(cuts); i++ {
				n := min(int(cuts[i%len(cuts)]), len(rest))
				got.Write(s.Scrub(bytes.Clone(rest[:n]), false))
				rest = rest[n:]
			}
			got.Write(s.Scrub(rest, true))
			if got.String() != want {
				t.Fatalf("round %d: %q with secrets %q and %q becomes\n%q, want\n%q", round, text, a, b, got.String(), want)
			}
		}
	})
}

func BenchmarkScrub(b *testing.B) {
	m := newMatcher(map[string][]string{"KEY": {"sk-0123456789abcdef0123456789abcdef"}})
	line := []byte(`data: {"choices":[{"delta":{"content":"some words of an answer, as they come"}}]}` + "\n\n")
	text := bytes.Repeat(line, 200)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		s := Scrubber{matcher: m}
		s.Scrub(text, true)
	}
}
