package turn

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/towpath/towpath/hostabi"
)

// reserved is the prefix of the event types that the database writes itself.
const reserved = "process."

// hasFarExponent finds exponents of four digits and more; jsonb holds numbers up to some 131,000 digits, nobody needs them.
func hasFarExponent[T string | []byte](text T) bool {
	for i := 1; i < len(text); i++ {
		if text[i]|0x20 != 'e' || text[i-1] < '0' || text[i-1] > '9' {
			continue
		}
		digits, j := 0, i+1
		if j < len(text) && (text[j] == '+' || text[j] == '-') {
			j++
		}
		for ; j < len(text) && text[j] >= '0' && text[j] <= '9'; j++ {
			if digits > 0 || text[j] != '0' {
				digits++
			}
		}
		if digits >= 4 {
			return true
		}
	}
	return false
}

// event is what is stored of one: its type, and an object without it.
type event struct{ kind, data string }

// parseEvent reads an event of a guest. What jsonb refuses although JSON allows it (NUL, unpaired surrogates) becomes
// U+FFFD, as do bytes that are not UTF-8.
func parseEvent(raw []byte) (event, error) {
	raw, err := normalize(raw)
	if err != nil {
		return event{}, err
	}
	value, data, ok := cutType(raw)
	if !ok {
		return event{}, hostabi.Errorf(hostabi.EINVAL, "an event is a JSON object with a string `type`")
	}
	var kind string
	if err := json.Unmarshal(value, &kind); err != nil || kind == "" || len(kind) > 200 {
		return event{}, hostabi.Errorf(hostabi.EINVAL, "an event has a string `type` of 1 to 200 bytes")
	}
	if strings.HasPrefix(kind, reserved) {
		return event{}, hostabi.Errorf(hostabi.EDENIED, "event types that begin with %q are the worker's own", reserved)
	}
	return event{kind, data}, nil
}

// cutType takes the member "type" out of a normalized object, without reading the rest: a stream is mostly events, and
// decoding each to a map and back was a third of what a turn cost. Of several the last counts, as in jsonb.
func cutType(text []byte) (value []byte, rest string, ok bool) {
	i := space(text, 0)
	if i == len(text) || text[i] != '{' {
		return nil, "", false
	}
	var b strings.Builder
	b.Grow(len(text))
	b.WriteByte('{')
	for i = space(text, i+1); text[i] != '}'; {
		start := i
		i = end(text, i)
		key := text[start:i]
		i = space(text, i)       // to the colon
		from := space(text, i+1) // to the value
		i = end(text, from)
		if string(key) == `"type"` {
			value = text[from:i]
		} else {
			if b.Len() > 1 {
				b.WriteByte(',')
			}
			b.Write(text[start:i])
		}
		if i = space(text, i); text[i] == ',' {
			i = space(text, i+1)
		}
	}
	b.WriteByte('}')
	return value, b.String(), true
}

// space returns the next place from i in valid JSON that is not white space.
func space(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\t' || text[i] == '\n' || text[i] == '\r') {
		i++
	}
	return i
}

// end returns the place behind the value that begins at i in valid JSON.
func end(text []byte, i int) int {
	for depth := 0; ; {
		switch text[i] {
		case '"':
			for i++; text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
			i++
		case '{', '[':
			depth++
			i++
			continue
		case '}', ']':
			depth--
			i++
		case ',', ':', ' ', '\t', '\n', '\r':
			i++
			continue
		default: // a number or a word
			for i < len(text) && !strings.ContainsRune(",:]} \t\n\r", rune(text[i])) {
				i++
			}
		}
		if depth == 0 {
			return i
		}
	}
}

// normalize returns JSON that jsonb takes and that says the same, or EINVAL.
func normalize(text []byte) ([]byte, error) {
	if utf8.Valid(text) && !bytes.Contains(text, []byte(`\u`)) && !hasFarExponent(text) {
		if !json.Valid(text) {
			return nil, hostabi.Errorf(hostabi.EINVAL, "not one JSON value")
		}
		return text, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, hostabi.Errorf(hostabi.EINVAL, "not one JSON value")
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, hostabi.Errorf(hostabi.EINVAL, "not one JSON value")
	}
	v, err := storable(v)
	if err != nil {
		return nil, err
	}
	return encode(v)
}

// storable replaces NUL, and refuses numbers that jsonb cannot hold. The decoder has replaced unpaired surrogates.
func storable(v any) (any, error) {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, "\x00", "\uFFFD"), nil
	case json.Number:
		if hasFarExponent(v.String()) {
			return nil, hostabi.Errorf(hostabi.EINVAL, "the number %.40s is beyond what the database stores", v)
		}
	case []any:
		for i := range v {
			var err error
			if v[i], err = storable(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		clean := make(map[string]any, len(v))
		for key, value := range v {
			value, err := storable(value)
			if err != nil {
				return nil, err
			}
			clean[strings.ReplaceAll(key, "\x00", "\uFFFD")] = value
		}
		return clean, nil
	}
	return v, nil
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
