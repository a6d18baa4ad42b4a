package sse

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

type event struct{ Name, Data string }

// doneRule is the rule of providers that end with a marker.
func doneRule(e Event) Verdict {
	if string(e.Data) == "[DONE]" {
		return Done
	}
	return More
}

// finishRule is the rule of providers that just close after a last word.
func finishRule() Rule {
	verdict := More
	return func(e Event) Verdict {
		if strings.Contains(string(e.Data), "finish") {
			verdict = Complete
		}
		return verdict
	}
}

func readAll(r io.Reader, rule Rule, maxLine int) (events []event, err error) {
	d := NewDecoder(r, rule)
	d.MaxLine = maxLine
	for {
		e, err := d.Next()
		if err != nil {
			return events, err
		}
		events = append(events, event{e.Name, string(e.Data)})
	}
}

func TestEventsOfAStream(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		rule Rule
		want []event
		err  error
	}{
		"ends with its marker":          {"data: a\n\ndata: [DONE]\n\n", doneRule, []event{{"", "a"}}, io.EOF},
		"marker without its blank line": {"data: a\n\ndata: [DONE]\n", doneRule, []event{{"", "a"}}, io.EOF},
		"marker without any newline":    {"data: a\n\ndata: [DONE]", doneRule, []event{{"", "a"}}, io.EOF},
		"nothing behind the marker":     {"data: [DONE]\n\ndata: b\n\n", doneRule, nil, io.EOF},
		"no marker":                     {"data: a\n\n", doneRule, []event{{"", "a"}}, ErrTruncated},
		"empty body":                    {"", doneRule, nil, ErrTruncated},
		"cut inside a line":             {"data: a\n\ndata: b", doneRule, []event{{"", "a"}}, ErrTruncated},
		"cut inside the marker":         {"data: [DON", doneRule, nil, ErrTruncated},
		"cut before the blank line":     {"data: a\n", doneRule, []event{{"", "a"}}, ErrTruncated},
		"closes after its last word":    {"data: a\n\ndata: finish\n\n", finishRule(), []event{{"", "a"}, {"", "finish"}}, io.EOF},
		"more after the last word":      {"data: finish\n\ndata: u\n\n", finishRule(), []event{{"", "finish"}, {"", "u"}}, io.EOF},
		"last word without blank line":  {"data: finish\n", finishRule(), []event{{"", "finish"}}, io.EOF},
		"last word cut":                 {"data: finish", finishRule(), nil, ErrTruncated},
		"cut after the last word":       {"data: finish\n\ndata: {\"us", finishRule(), []event{{"", "finish"}}, ErrTruncated},
		"comments are nothing":          {": keep-alive\n\n: keep-alive\n\ndata: a\n\ndata: [DONE]\n\n", doneRule, []event{{"", "a"}}, io.EOF},
		"carriage returns":              {"data: a\r\rdata: b\r\n\r\ndata: [DONE]\r\n\r\n", doneRule, []event{{"", "a"}, {"", "b"}}, io.EOF},
		"several lines of data":         {"data: a\ndata: b\ndata\n\ndata: [DONE]\n\n", doneRule, []event{{"", "a\nb\n"}}, io.EOF},
		"one blank after the colon":     {"data:  a\ndata:b\n\ndata: [DONE]\n\n", doneRule, []event{{"", " a\nb"}}, io.EOF},
		"names last for one event":      {"event: x\ndata: a\n\ndata: b\n\nevent: y\n\ndata: c\n\ndata: [DONE]\n\n", doneRule, []event{{"x", "a"}, {"", "b"}, {"", "c"}}, io.EOF},
		"other fields are nothing":      {"id: 1\nretry: 5\nnonsense\ndata: a\n\ndata: [DONE]\n\n", doneRule, []event{{"", "a"}}, io.EOF},
		"byte order mark":               {"\xef\xbb\xbfdata: a\n\ndata: [DONE]\n\n", doneRule, []event{{"", "a"}}, io.EOF},
		"empty data is an event":        {"data:\n\ndata: [DONE]\n\n", doneRule, []event{{"", ""}}, io.EOF},
		"bytes that are no text pass":   {"data: \xff\xfe\n\ndata: [DONE]\n\n", doneRule, []event{{"", "\xff\xfe"}}, io.EOF},
		"line at the limit":             {"data: " + strings.Repeat("x", 94) + "\n\ndata: [DONE]\n\n", doneRule, []event{{"", strings.Repeat("x", 94)}}, io.EOF},
		"line above the limit":          {"data: " + strings.Repeat("x", 95) + "\n\ndata: [DONE]\n\n", doneRule, nil, ErrTooLong},
		"many lines above the limit":    {strings.Repeat("data: xxxxxxxxx\n", 11) + "\ndata: [DONE]\n\n", doneRule, nil, ErrTooLong},
		"comment above the limit":       {":" + strings.Repeat("x", 100) + "\n\ndata: [DONE]\n\n", doneRule, nil, ErrTooLong},
		"many comments":                 {strings.Repeat(": keep-alive\n\n", 50) + "data: [DONE]\n\n", doneRule, nil, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			events, err := readAll(iotest.OneByteReader(strings.NewReader(c.body)), c.rule, 100)
			if !reflect.DeepEqual(events, c.want) {
				t.Errorf("events %q, want %q", events, c.want)
			}
			if !errors.Is(err, c.err) {
				t.Errorf("error %v, want %v", err, c.err)
			}
		})
	}
}

func TestDefaultLimitTakesAMegabyteAndRefusesFour(t *testing.T) {
	for size, want := range map[int]error{1 << 20: io.EOF, 4 << 20: ErrTooLong} {
		body := "data: " + strings.Repeat("x", size) + "\n\ndata: [DONE]\n\n"
		events, err := readAll(strings.NewReader(body), doneRule, 0)
		if !errors.Is(err, want) {
			t.Errorf("%d bytes: error %v, want %v", size, err, want)
		}
		if want == io.EOF && (len(events) != 1 || len(events[0].Data) != size) {
			t.Errorf("%d bytes: %d events", size, len(events))
		}
	}
}

func TestErrorOfTheBodyIsReturnedAgain(t *testing.T) {
	broken := errors.New("connection reset")
	d := NewDecoder(io.MultiReader(strings.NewReader("data: a\n\ndata: b"), iotest.ErrReader(broken)), doneRule)
	if e, err := d.Next(); err != nil || string(e.Data) != "a" {
		t.Fatalf("first event %q, %v", e.Data, err)
	}
	for range 2 {
		if _, err := d.Next(); !errors.Is(err, broken) {
			t.Fatalf("error %v, want %v", err, broken)
		}
	}
}

// chunks yields body in pieces whose sizes the fuzzer chooses.
type chunks struct {
	body  []byte
	sizes []byte
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.body) == 0 {
		return 0, io.EOF
	}
	n := len(c.body)
	if len(c.sizes) > 0 {
		n = min(n, 1+int(c.sizes[0]))
		c.sizes = c.sizes[1:]
	}
	n = copy(p, c.body[:n])
	c.body = c.body[n:]
	return n, nil
}

// Any split of a body into chunks gives the same events and the same end.
func FuzzSSE(f *testing.F) {
	f.Add([]byte("data: a\n\n: c\r\n\r\ndata: [DONE]\n\n"), []byte{0, 1, 2})
	f.Add([]byte("\xef\xbb\xbfevent: x\rdata: a\rdata: b\r\rdata: finish"), []byte{0, 0, 0, 9})
	f.Add([]byte("data: finish\n\ndata: gr\xc3\xbc\xc3\x9fe\r\n\r"), []byte{14, 0})
	f.Fuzz(func(t *testing.T, body, sizes []byte) {
		for name, rule := range map[string]func() Rule{"done": func() Rule { return doneRule }, "finish": finishRule} {
			whole, wholeErr := readAll(bytes.NewReader(body), rule(), 64)
			split, splitErr := readAll(&chunks{body, sizes}, rule(), 64)
			single, singleErr := readAll(iotest.OneByteReader(bytes.NewReader(body)), rule(), 64)
			if splitErr.Error() != wholeErr.Error() || singleErr.Error() != wholeErr.Error() {
				t.Fatalf("%s: end %v whole, %v in chunks, %v in bytes", name, wholeErr, splitErr, singleErr)
			}
			if !reflect.DeepEqual(whole, split) || !reflect.DeepEqual(whole, single) {
				t.Fatalf("%s: whole %q, chunks %q, bytes %q", name, whole, split, single)
			}
		}
	})
}
