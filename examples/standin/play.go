package standin

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// fixtureOf names the fixture that a fault plays. Other faults bend the stream of a good answer.
var fixtureOf = map[string]string{
	"no-finish": "unfinished", "empty": "empty", "length": "length", "content-filter": "content_filter",
	"no-resource": "insufficient_system_resource", "no-usage": "uncounted", "error": "error", "garbage": "garbage",
}

const keepAlive = ": keep-alive\n\n"

// player answers one request.
type player struct {
	server *Server
	w      http.ResponseWriter
	r      *http.Request
	script script
	dialect
	end string // what the event of the stream's end holds
}

func (p *player) play(make func() (stream, error)) {
	switch p.script.fault {
	case "refused":
		p.reset()
	case "hang":
		<-p.r.Context().Done()
		return
	case "json":
		p.body("application/json", string(p.errorBody("503")))
		return
	case "page":
		p.body("text/html", "<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>")
		return
	}
	if code(p.script.fault) != 0 && p.script.as == "" {
		p.body("application/json", fmt.Sprintf(`{"id":"","choices":null,"created":0,"model":"","object":"","usage":null,"base_resp":{"status_code":%s,"status_msg":%q}}`,
			p.script.fault, codeMessage(p.script.fault)))
		return
	}
	s, err := make()
	if err != nil {
		http.Error(p.w, err.Error(), http.StatusInternalServerError)
		return
	}
	p.w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	p.w.Header().Set("Cache-Control", "no-cache")
	p.w.WriteHeader(http.StatusOK)
	p.write([]byte(keepAlive))
	if p.script.fault == "keepalive" {
		p.comment(max(p.script.every, 10*time.Millisecond))
		return
	}
	sent := 0
	for _, e := range s.events {
		if e.token {
			if p.script.hold != "" && sent == p.script.holdAfter && !p.hold() {
				return
			}
			if sent == p.script.after && p.bend(e) {
				return
			}
			sent++
		}
		if p.script.fault == "no-done" && bytes.Contains(e.bytes, []byte(p.end)) {
			return
		}
		if !p.wait(p.script.pace) || !p.write(e.bytes) {
			return
		}
	}
}

// stream makes the events of the answer.
func (p *player) stream(c *completion, words string, number int) (stream, error) {
	name := p.fixture(c, p.script)
	pieces := tokens(words, p.script.tokens, p.script.bytes)
	if p.script.tool != "" {
		pieces = halves(p.script.args)
	}
	if name == "tools" && p.folder == minimax.folder {
		pieces = []string{p.script.args}
	}
	pieces = p.stretch(pieces)
	prompt, reasoning := 0, 0
	for _, m := range c.Messages {
		if m.Content != nil {
			prompt += len(strings.Fields(*m.Content))
		}
	}
	if name == "thinking" || name == "split" {
		reasoning = 5
	}
	cached := prompt / 2
	return load(p.folder+name, pieces, map[string]string{
		"ID": "standin-" + strconv.Itoa(number), "MODEL": c.Model, "TOOL": p.script.tool,
		"PROMPT": strconv.Itoa(prompt), "CACHED": strconv.Itoa(cached), "MISSED": strconv.Itoa(prompt - cached),
		"COMPLETION": strconv.Itoa(len(pieces) + reasoning), "REASONING": strconv.Itoa(reasoning),
		"CODE": p.script.fault, "MESSAGE": codeMessage(p.script.fault),
		"TOTAL": strconv.Itoa(prompt + len(pieces) + reasoning),
	})
}

// stretch makes an answer that has room for what the script wants to happen in it.
func (p *player) stretch(pieces []string) []string {
	switch p.script.fault {
	case "long-line":
		size := p.script.size
		if size == 0 {
			size = 1_000_000
		}
		pieces = []string{strings.Repeat("x", size)}
	case "cut", "stall":
		pieces = atLeast(p.script.after+1, pieces)
	case "cut-utf8":
		pieces = atLeast(p.script.after+1, pieces)
		pieces[p.script.after] = "größe "
	}
	if p.script.hold != "" {
		pieces = atLeast(p.script.holdAfter+1, pieces)
	}
	return pieces
}

// halves cuts a tool's arguments in two, as they come in pieces.
func halves(args string) []string {
	if args == "" {
		args = "{}"
	}
	return []string{args[:len(args)/2], args[len(args)/2:]}
}

// atLeast repeats a short answer, so that what happens after n tokens does happen.
func atLeast(n int, pieces []string) []string {
	for len(pieces) < n {
		pieces = append(pieces, pieces...)
	}
	return pieces
}

// bend does what the fault demands in place of a token; false when there is nothing to do.
func (p *player) bend(e event) (bent bool) {
	n := len(e.bytes) / 2
	switch p.script.fault {
	case "stall":
		if p.script.every > 0 {
			p.comment(p.script.every)
		} else {
			<-p.r.Context().Done()
		}
		return true
	case "cut-utf8":
		n = bytes.Index(e.bytes, []byte("ö")) + 1
	case "cut":
	default:
		return false
	}
	p.write(e.bytes[:n])
	if p.script.end != "eof" {
		p.reset()
	}
	return true
}

// hold waits at the script's gate; false when the client left.
func (p *player) hold() bool {
	g := p.server.gate(p.script.hold)
	g.hold()
	select {
	case <-g.open:
		return true
	case <-p.r.Context().Done():
		return false
	}
}

// comment sends comments until the client leaves.
func (p *player) comment(every time.Duration) {
	for p.wait(every) && p.write([]byte(keepAlive)) {
	}
}

// reset breaks the connection. It does not return.
func (p *player) reset() { panic(http.ErrAbortHandler) }

func (p *player) body(kind, content string) {
	p.w.Header().Set("Content-Type", kind)
	p.write([]byte(content))
}

// write sends bytes at once; false when the client left.
func (p *player) write(b []byte) bool {
	if _, err := p.w.Write(b); err != nil {
		return false
	}
	return http.NewResponseController(p.w).Flush() == nil
}

func (p *player) wait(d time.Duration) bool {
	if d <= 0 {
		return p.r.Context().Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.r.Context().Done():
		return false
	}
}
