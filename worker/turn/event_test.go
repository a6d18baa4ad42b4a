package turn

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/towpath/towpath/hostabi"
)

func TestParseEvent(t *testing.T) {
	cases := []struct{ in, kind, data string }{
		{`{"type":"a"}`, "a", `{}`},
		{` {"text":"x<y","type":"a","n":1.50} `, "a", `{"text":"x<y","n":1.50}`},
		{`{"a":{"type":"in","b":[{}, "]}\"", -1.5e3]} , "type" : "a" ,"c":null, "type":"last"}`, "last", `{"a":{"type":"in","b":[{}, "]}\"", -1.5e3]},"c":null}`},
		{`{"a\"type":1,"type":"a\n","\\":[]}`, "a\n", `{"a\"type":1,"\\":[]}`},
		{`{"type":"a","v":"\u0000\ud800"}`, "a", "{\"v\":\"\uFFFD\uFFFD\"}"},
		{`{"type":"a","\u0000":1}`, "a", "{\"\uFFFD\":1}"},
		{"{\"type\":\"a\",\"v\":\"\xff\"}", "a", "{\"v\":\"\uFFFD\"}"},
		{`{"type":"a","v":"1e99999"}`, "a", `{"v":"1e99999"}`},
		{`{"type":"a","v":123456789012345678901234567890}`, "a", `{"v":123456789012345678901234567890}`},
	}
	for _, c := range cases {
		e, err := parseEvent([]byte(c.in))
		if e != (event{c.kind, c.data}) || err != nil {
			t.Errorf("%s: %s %v, want %s %s", c.in, e, err, c.kind, c.data)
		}
	}
	refused := []string{``, `x`, `[]`, `"type"`, `null`, `{}`, `{"type":1}`, `{"type":""}`, `{"type":"process.completed"}`,
		`{"type":"a"}{}`, `{"type":"a","v":1e99999}`, `{"type":"` + strings.Repeat("t", 201) + `"}`}
	for _, in := range refused {
		var e *hostabi.Error
		if _, err := parseEvent([]byte(in)); !errors.As(err, &e) {
			t.Errorf("%s: %v, want a refusal", in, err)
		}
	}
}

func FuzzParseEvent(f *testing.F) {
	f.Add([]byte(`{"type":"a","v":[1,"\u0000",{"x":"\ud800\udc00"}]}`))
	f.Add([]byte("{\"type\":\"a\",\"v\":\"\xed\xa0\x80\"}"))
	f.Fuzz(func(t *testing.T, in []byte) {
		e, err := parseEvent(in)
		if err != nil {
			return
		}
		kind, data := e.kind, e.data
		if kind == "" || strings.HasPrefix(kind, reserved) {
			t.Errorf("type %q", kind)
		}
		if !json.Valid([]byte(data)) || !utf8.ValidString(data) || !strings.HasPrefix(data, "{") {
			t.Errorf("stored form is not an object: %q", data)
		}
		// What is stored is what a decoder makes of the event, without its type.
		clean, _ := normalize(in)
		var want, got map[string]any
		json.Unmarshal(clean, &want)
		if want["type"] != kind {
			t.Errorf("type %q, want %q", kind, want["type"])
		}
		delete(want, "type")
		if json.Unmarshal([]byte(data), &got); !reflect.DeepEqual(got, want) {
			t.Errorf("stored %v, want %v", got, want)
		}
		if again, err := normalize([]byte(data)); err != nil || !bytes.Equal(again, []byte(data)) && !strings.Contains(data, `\u`) {
			t.Errorf("not stable: %q, %q, %v", data, again, err)
		}
	})
}
