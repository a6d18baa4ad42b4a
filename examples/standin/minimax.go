package standin

import (
	"bytes"
	"cmp"
	"encoding/json"
	"strconv"
)

// minimax plays MiniMax: other refusals, another form of errors, and streams that end without a marker.
var minimax = dialect{
	folder: "minimax/",
	refuses: func(c *completion) string {
		if c.Thinking != nil && c.Thinking.Type != "adaptive" && c.Thinking.Type != "disabled" {
			return "400_thinking"
		}
		return ""
	},
	fixture: func(c *completion, s script) string {
		switch {
		case s.form != "":
			return s.form
		case s.tool != "":
			return "tools"
		case code(s.fault) != 0:
			return map[string]string{"sse": "fault", "mid": "fault_mid", "last": "fault_last", "error": "error"}[s.as]
		case !c.thinks():
			return "plain"
		case c.Split:
			return "split"
		}
		return "tags"
	},
}

// code is the number of a fault that is one of the provider's codes, which are not HTTP's.
func code(fault string) int {
	if n, err := strconv.Atoi(fault); err == nil && n >= 1000 {
		return n
	}
	return 0
}

// codeMessage is what the provider says beside a code.
func codeMessage(fault string) string {
	var messages map[string]string
	content, err := fixtures.ReadFile("fixtures/minimax/codes.json")
	if err == nil && json.Unmarshal(content, &messages) == nil {
		return cmp.Or(messages[fault], "unknown")
	}
	return "unknown"
}

// sofar replaces the marks in an event that repeats all that was said before it.
func sofar(text []byte, tokens []string) ([]byte, error) {
	var all string
	for _, t := range tokens {
		all += t
	}
	quoted, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	return bytes.ReplaceAll(text, []byte("@SOFAR@"), quoted[1:len(quoted)-1]), nil
}
