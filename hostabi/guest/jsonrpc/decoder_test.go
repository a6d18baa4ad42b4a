package jsonrpc_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/towpath/towpath/hostabi/guest/jsonrpc"
)

func TestEachLineIsAMessageOrNone(t *testing.T) {
	for line, want := range map[string]string{
		`{"id":1,"method":"m","params":{"a":1}}`:           "request 1 m {\"a\":1}",
		`{"jsonrpc":"2.0","id":"x-1","method":"m"}`:        `request "x-1" m `,
		`{"method":"m","params":[],"emittedAtMs":5}`:       "notification m []",
		`{"id":7,"result":null}`:                           "response 7 null",
		`{"id":7,"result":{}}`:                             "response 7 {}",
		`{"id":-7,"error":{"code":-32600,"message":"no"}}`: "response -7 no (-32600)",
		"  {\"method\":\"m\"}\r":                           "notification m ",
		`{"id":7}`:                                         "none",
		`{}`:                                               "none",
		`{"id":null,"error":{"code":1,"message":"m"}}`:     "none",
		`{"id":{},"method":"m"}`:                           "none",
		`{"id":true,"method":"m"}`:                         "none",
		`[{"method":"m"}]`:                                 "none",
		`null`:                                             "none",
		`"method"`:                                         "none",
		`{"method":5}`:                                     "none",
		`{"method":"m"`:                                    "none",
		`{"method":"m"} {"method":"n"}`:                    "none",
		"panicked at 'x', src/main.rs:3":                   "none",
		"\x00\xff\xfe":                                     "none",
		strings.Repeat("[", 100_000) + strings.Repeat("]", 10): "none",
	} {
		m, err := jsonrpc.NewDecoder(strings.NewReader(line)).Next()
		got := "notification " + m.Method + " " + string(m.Params)
		var malformed *jsonrpc.Malformed
		switch {
		case errors.As(err, &malformed):
			got = "none"
		case err != nil:
			got = err.Error()
		case m.IsRequest():
			got = "request " + string(m.ID) + " " + m.Method + " " + string(m.Params)
		case m.IsResponse() && m.Error != nil:
			got = "response " + string(m.ID) + " " + m.Error.Error()
		case m.IsResponse():
			got = "response " + string(m.ID) + " " + string(m.Result)
		}
		if got != want {
			t.Errorf("%.100q is %q, want %q", line, got, want)
		}
	}
}

func TestALineHasALimit(t *testing.T) {
	line := `{"method":"m","params":"` + strings.Repeat("x", 100) + `"}`
	for limit, want := range map[int]error{len(line) - 1: jsonrpc.ErrTooLong, len(line): nil} {
		d := jsonrpc.NewDecoder(strings.NewReader(line + "\n" + line + "\n"))
		d.MaxLine = limit
		for range 2 {
			if _, err := d.Next(); !errors.Is(err, want) {
				t.Errorf("limit %d: %v, want %v", limit, err, want)
			}
		}
	}
	big := `{"method":"` + strings.Repeat("m", 10<<20) + `"}`
	if _, err := jsonrpc.NewDecoder(strings.NewReader(big)).Next(); !errors.Is(err, jsonrpc.ErrTooLong) {
		t.Errorf("a line of 10 MB: %v", err)
	}
}

func TestAReadersErrorComesThrough(t *testing.T) {
	broken := errors.New("broken")
	d := jsonrpc.NewDecoder(io.MultiReader(strings.NewReader("{\"method\":\"a\"}\n{\"meth"), iotest.ErrReader(broken)))
	if m, err := d.Next(); m.Method != "a" || err != nil {
		t.Errorf("first message %+v, %v", m, err)
	}
	for range 2 {
		if m, err := d.Next(); !errors.Is(err, broken) {
			t.Errorf("half a line became %+v, %v", m, err)
		}
	}
}

// However the bytes are cut, the same messages come; and a message that is written again is the same.
func FuzzDecoder(f *testing.F) {
	for _, s := range []string{
		"", "\n\r\n", `{"id":1,"method":"m"}`, "{\"id\":\"a\",\"result\":{\"x\":[1,2]}}\n{\"method\":\"n\",\"params\":null}\n",
		"garbage\n{\"method\":\"m\"}", `{"id":3,"error":{"code":-1,"message":"\ud800"}}`,
	} {
		f.Add([]byte(s))
	}
	read := func(r io.Reader) (all []string, err error) {
		d := jsonrpc.NewDecoder(r)
		d.MaxLine = 1000
		for {
			m, err := d.Next()
			var malformed *jsonrpc.Malformed
			switch {
			case errors.As(err, &malformed):
				all = append(all, "malformed "+string(malformed.Line))
				continue
			case err != nil:
				return all, err
			case m.IsRequest() == m.IsResponse() && m.ID != nil:
				return all, errors.New("a message with an id is neither request nor response")
			}
			text, err := json.Marshal(m)
			if err != nil {
				return all, err
			}
			again, err := jsonrpc.Parse(text)
			if err != nil {
				return all, err
			}
			if second, err := json.Marshal(again); err != nil || !bytes.Equal(text, second) {
				return all, errors.New("written again it differs")
			}
			all = append(all, string(text))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		whole, err := read(bytes.NewReader(b))
		if !errors.Is(err, io.EOF) && !errors.Is(err, jsonrpc.ErrTooLong) {
			t.Fatal(err)
		}
		bytewise, second := read(iotest.OneByteReader(bytes.NewReader(b)))
		if strings.Join(whole, "\n") != strings.Join(bytewise, "\n") || err.Error() != second.Error() {
			t.Errorf("whole: %q, %v\nbyte by byte: %q, %v", whole, err, bytewise, second)
		}
	})
}
