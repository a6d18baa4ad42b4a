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

// load reads a fixture and fills in its marks; the event that holds @TOKEN@ is repeated for each token.
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
		if !strings.Contains(text, "@TOKEN@") {
			s.events = append(s.events, event{bytes: []byte(text)})
			continue
		}
		for _, token := range tokens {
			quoted, err := json.Marshal(token)
			if err != nil {
				return stream{}, err
			}
			inner := string(quoted[1 : len(quoted)-1])
			s.events = append(s.events, event{[]byte(strings.ReplaceAll(text, "@TOKEN@", inner)), true})
		}
	}
	return s, nil
}

// errorBody reads the body of an error answer; a status without a fixture has a made-up one.
func errorBody(name string) []byte {
	content, err := fixtures.ReadFile("fixtures/errors/" + name + ".json")
	if err != nil {
		return fmt.Appendf(nil, `{"error":{"message":"answer %s as scripted","type":"scripted","param":null,"code":null}}`, name)
	}
	return content
}
