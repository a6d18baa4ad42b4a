package chat

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestChunksThatAreNone(t *testing.T) {
	for data, says := range map[string]string{
		``:                                      "no JSON object",
		`[]`:                                    "no JSON object",
		`{"id":`:                                "no JSON object",
		`{"choices":{}}`:                        "{} is no array",
		`{"choices":[7]}`:                       "7 is no object",
		`{"choices":[{"delta":{"content":7}}]}`: "content is no string",
		`{"choices":[{"delta":[]}]}`:            "[] is no object",
		`{"choices":[{"finish_reason":false}]}`: "finish_reason is no string",
		`{"choices":[{"delta":{"tool_calls":"x"}}]}`:       "cannot unmarshal",
		`{"usage":{"prompt_tokens":"many"}}`:               "cannot unmarshal",
		"{\"choices\":[{\"delta\":{\"content\":\"\n\"}}]}": "no JSON object",
	} {
		if _, err := Parse([]byte(data), nil); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", data, err, says)
		}
	}
}

func TestOnlyTheFirstChoiceCounts(t *testing.T) {
	c, err := Parse([]byte(`{"choices":[{"index":1,"delta":{"content":"b"}},{"index":0,"delta":{"content":"a"}},{"index":2,"finish_reason":"x"}]}`), nil)
	if err != nil || c.Content == nil || *c.Content != "a" || c.Finish != nil {
		t.Errorf("%+v, %v", c, err)
	}
}

// Whatever text is in it, a chunk reads as encoding/json reads it.
func FuzzChunk(f *testing.F) {
	f.Add(`"content":"gr\u00fc\ud83d\ude00\ud83d\\"`)
	f.Add(`"content":"\ud800\u0000"`)
	f.Add("\"content\":\"a\xff\xffb\",\"reasoning_content\":null")
	f.Add(`"tool_calls":[{"index":1,"id":"c","function":{"name":"n","arguments":"{"}}]`)
	f.Fuzz(func(t *testing.T, delta string) {
		data := []byte(`{"choices":[{"index":0,"delta":{` + delta + `}}]}`)
		c, err := Parse(data, nil)
		if json.Valid(data) != (err == nil) && err == errNoChunk {
			t.Fatalf("%s: %v, but valid is %v", data, err, json.Valid(data))
		}
		var keys map[string]any
		if json.Unmarshal([]byte("{"+delta+"}"), &keys) != nil || err != nil {
			return
		}
		var want struct {
			Choices []struct {
				Delta struct {
					Content   *string `json:"content"`
					Reasoning *string `json:"reasoning_content"`
				} `json:"delta"`
			} `json:"choices"`
		}
		for key := range keys {
			if key != strings.ToLower(key) {
				return // encoding/json takes keys in any case, we do not
			}
		}
		if err := json.Unmarshal(data, &want); err != nil || len(want.Choices) != 1 {
			return
		}
		d := want.Choices[0].Delta
		for what, pair := range map[string][2]*string{"content": {c.Content, d.Content}, "reasoning": {c.Reasoning, d.Reasoning}} {
			if (pair[0] == nil) != (pair[1] == nil) || pair[0] != nil && *pair[0] != *pair[1] {
				t.Errorf("%s: %s is %v, want %v", data, what, show(pair[0]), show(pair[1]))
			}
		}
	})
}

func show(s *string) string {
	if s == nil {
		return "nil"
	}
	return *s
}
