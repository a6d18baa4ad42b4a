package turn

import (
	"bytes"
	"encoding/json"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/towpath/towpath/hostabi"
)

// reserved is the prefix of the event types that the database writes itself.
const reserved = "process."

// suspect finds exponents of four digits and more; jsonb holds numbers up to some 131,000 digits, nobody needs them.
var suspect = regexp.MustCompile(`[0-9][eE][+-]?0*[0-9]{4,}`)

// event is what is stored of one: its type, and an object without it.
type event struct{ kind, data string }

// parseEvent reads an event of a guest. What jsonb refuses although JSON allows it (NUL, unpaired surrogates) becomes
// U+FFFD, as do bytes that are not UTF-8.
func parseEvent(raw []byte) (event, error) {
	raw, err := normalize(raw)
	if err != nil {
		return event{}, err
	}
	var kind string
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil || object == nil {
		return event{}, hostabi.Errorf(hostabi.EINVAL, "an event is a JSON object with a string `type`")
	}
	if err := json.Unmarshal(object["type"], &kind); err != nil || kind == "" || len(kind) > 200 {
		return event{}, hostabi.Errorf(hostabi.EINVAL, "an event has a string `type` of 1 to 200 bytes")
	}
	if strings.HasPrefix(kind, reserved) {
		return event{}, hostabi.Errorf(hostabi.EDENIED, "event types that begin with %q are the worker's own", reserved)
	}
	delete(object, "type")
	rest, err := encode(object)
	return event{kind, string(rest)}, err
}

// normalize returns JSON that jsonb takes and that says the same, or EINVAL.
func normalize(text []byte) ([]byte, error) {
	if utf8.Valid(text) && !bytes.Contains(text, []byte(`\u`)) && !suspect.Match(text) {
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
		if suspect.MatchString(v.String()) {
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
