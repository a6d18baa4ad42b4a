package standin

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"strings"
)

//go:embed fixtures
var fixtures embed.FS

// stream is a fixture made ready to be played: its events as bytes, the tokens among them marked.
type stream struct {
	events []event
}

type event struct {
	bytes []byte
	token bool
}

// load reads a fixture and fills in its marks; the event that holds @TOKEN@, or @SOFAR@ for all tokens up to it, is
// repeated for each token.
func load(name string, tokens []string, marks map[string]string) (stream, error) {
	content, err := fixtures.ReadFile("fixtures/" + name + ".sse")
	if err != nil {
		return stream{}, err
	}
	_, content, found := bytes.Cut(content, []byte("---\n"))
	if !found {
		return stream{}, fmt.Errorf("fixture %s has no line of dashes behind its note", name)
	}
	var replacements []string
	for mark, value := range marks {
		replacements = append(replacements, "@"+mark+"@", value)
	}
	filled := strings.NewReplacer(replacements...).Replace(string(content))
	var s stream
	for _, text := range strings.SplitAfter(filled, "\n\n") {
		if text == "" {
			continue
		}
		if !strings.Contains(text, "@TOKEN@") && !strings.Contains(text, "@SOFAR@") {
			s.events = append(s.events, event{bytes: []byte(text)})
			continue
		}
		for i, token := range tokens {
			quoted, err := json.Marshal(token)
			if err != nil {
				return stream{}, err
			}
			inner := string(quoted[1 : len(quoted)-1])
			filled, err := sofar([]byte(strings.ReplaceAll(text, "@TOKEN@", inner)), tokens[:i+1])
			if err != nil {
				return stream{}, err
			}
			s.events = append(s.events, event{filled, true})
		}
	}
	return s, nil
}

// dialect is what one provider does its own way.
type dialect struct {
	folder  string                               // of fixtures
	refuses func(*completion) string             // the body of a refusal, "" for none
	fixture func(c *completion, s script) string // that a good answer is played from
}

var deepseek = dialect{
	refuses: func(c *completion) string {
		for _, m := range c.Messages {
			if c.thinks() && len(m.ToolCalls) > 0 && m.Reasoning == nil {
				return "400_reasoning"
			}
		}
		return ""
	},
	fixture: func(c *completion, s script) string {
		switch {
		case s.tool != "" && s.fault == "unreasoned":
			return "tools_unreasoned"
		case s.tool != "":
			return "tools"
		case fixtureOf[s.fault] != "":
			return fixtureOf[s.fault]
		case c.thinks():
			return "thinking"
		}
		return "plain"
	},
}

// errorBody reads the body of an error answer; a status without a fixture has a made-up one.
func (d dialect) errorBody(name string) []byte {
	content, err := fixtures.ReadFile("fixtures/" + d.folder + "errors/" + name + ".json")
	if err != nil {
		return fmt.Appendf(nil, `{"error":{"message":"answer %s as scripted","type":"scripted","param":null,"code":null}}`, name)
	}
	return content
}
