package standin

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// response is what the stand-in reads of a request to the Responses API.
type response struct {
	Model  string `json:"model"`
	Stream bool   `json:"stream"`
	Input  []item `json:"input"`
	Tools  []struct {
		Name string `json:"name"`
	} `json:"tools"`
}

// item is a message, or a tool call or its output.
type item struct {
	Type    string          `json:"type"`
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
	Output  json.RawMessage `json:"output"`
}

// text joins the parts of a content or output, or is the string that it is.
func text(content json.RawMessage) string {
	var whole string
	if json.Unmarshal(content, &whole) == nil {
		return whole
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if json.Unmarshal(content, &parts) != nil {
		return ""
	}
	for _, p := range parts {
		whole += p.Text
	}
	return whole
}

// last is the newest thing that the model is told, and by whom: the user, or a tool. What stands before the user's own
// words in tags is the client's account of its machine.
func (r *response) last() (said, role string) {
	for i := len(r.Input) - 1; i >= 0; i-- {
		switch in := r.Input[i]; {
		case strings.HasSuffix(in.Type, "_call_output"):
			return text(in.Output), "tool"
		case in.Type == "message" && in.Role == "user" && !strings.HasPrefix(text(in.Content), "<"):
			return text(in.Content), "user"
		}
	}
	return "", "user"
}

// openai is the dialect of errors that goes with the Responses API.
var openai = dialect{folder: "responses/"}

// respond answers POST /responses of who is known.
func (s *Server) respond(w http.ResponseWriter, r *http.Request, known bool) {
	content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return // the client left
	}
	number := s.note(w, r, content)
	var c response
	switch {
	case !known:
		openai.refuse(w, 401, "401")
		return
	case json.Unmarshal(content, &c) != nil || len(c.Input) == 0 || !c.Stream:
		openai.refuse(w, 400, "400")
		return
	}
	said, role := c.last()
	script, words, err := s.script(said, role)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if openai.scripted(w, script) {
		return
	}
	p := &player{server: s, w: w, r: r, script: script, dialect: openai, end: "event: response.completed"}
	p.play(func() (stream, error) { return p.response(&c, words, number) })
}

// response makes the events of an answer of the Responses API.
func (p *player) response(c *response, words string, number int) (stream, error) {
	name := "plain"
	pieces := tokens(words, p.script.tokens, p.script.bytes)
	reasoning := 0
	switch {
	case p.script.tool != "":
		name = "tool"
		pieces = halves(p.script.args)
	case p.script.fault == "failed", p.script.fault == "incomplete":
		name = p.script.fault
	case p.script.fault == "garbage", p.script.fault == "no-usage":
		name = fixtureOf[p.script.fault]
	case p.script.fault == "reasoned":
		name, reasoning = "reasoned", 5
	}
	pieces = p.stretch(pieces)
	prompt := 0
	for _, in := range c.Input {
		prompt += len(strings.Fields(text(in.Content))) + len(strings.Fields(text(in.Output)))
	}
	cached := prompt / 2
	quoted, err := json.Marshal(strings.Join(pieces, ""))
	if err != nil {
		return stream{}, err
	}
	return load("responses/"+name, pieces, map[string]string{
		"ID": "standin-" + strconv.Itoa(number), "MODEL": c.Model, "TOOL": p.script.tool, "CODE": p.script.body,
		"TEXT": string(quoted[1 : len(quoted)-1]), "PROMPT": strconv.Itoa(prompt), "CACHED": strconv.Itoa(cached),
		"COMPLETION": strconv.Itoa(len(pieces) + reasoning), "REASONING": strconv.Itoa(reasoning),
		"TOTAL": strconv.Itoa(prompt + len(pieces) + reasoning),
	})
}
