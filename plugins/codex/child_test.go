package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/guesttest"
	"github.com/towpath/towpath/hostabi/guest/jsonrpc"
)

// fake is a child that plays codex by a script: what it says to each method. A line "exit N" ends it, one "shut" closes its
// standard input.
type fake map[string][]string

const (
	hello   = `{"id":%s,"result":{"userAgent":"towpath/0.169.0 (x)","codexHome":"/home/.codex"}}`
	thread  = `{"id":%s,"result":{"thread":{"id":"t1","path":"/home/.codex/sessions/r.jsonl"},"model":"m"}}`
	begun   = `{"id":%s,"result":{"turn":{"id":"u1"}}}`
	delta   = `{"method":"item/agentMessage/delta","params":{"threadId":"t1","turnId":"u1","itemId":"m1","delta":"half"}}`
	message = `{"method":"item/completed","params":{"threadId":"t1","turnId":"u1","item":{"type":"agentMessage","id":"m1","text":"whole"}}}`
	ended   = `{"method":"turn/completed","params":{"threadId":"t1","turn":{"id":"u1","status":"completed","items":[]}}}`
	ask     = `{"id":0,"method":"attestation/generate","params":{}}`
	clean   = `{"id":%s,"result":{}}`
	file    = `{"id":%s,"result":{"dataBase64":"eA=="}}`
)

// good is a codex that answers.
func good(change fake) fake {
	f := fake{"initialize": {hello}, "thread/start": {thread}, "turn/start": {begun, delta, message, ended},
		"thread/backgroundTerminals/clean": {clean}, "fs/readFile": {file}}
	for method, lines := range change {
		f[method] = lines
	}
	return f
}

func (f fake) play(c *guesttest.Child) {
	in := bufio.NewReaderSize(c.Stdin, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			if lines, scripted := f["EOF"]; !scripted || lines != nil {
				c.Exit(0)
			}
			return
		}
		m, err := jsonrpc.Parse(line)
		if err != nil {
			continue
		}
		for _, said := range f[m.Method] {
			if said == "shut" {
				c.CloseStdin()
				continue
			}
			var status int
			if n, _ := fmt.Sscanf(said, "exit %d", &status); n == 1 {
				c.Exit(status)
				return
			}
			c.Stdout([]byte(strings.ReplaceAll(said, "%s", string(m.ID)) + "\n"))
		}
	}
}

// A child may be anything. Whatever it does, the turn ends, with a class.
func TestAChildThatIsNoGoodCodex(t *testing.T) {
	long := strings.Repeat("x", 10<<20)
	for name, c := range map[string]struct {
		fake
		kind guest.Kind // "": the turn completes
		says string
	}{
		"a good one":                        {good(nil), "", ""},
		"it warns on its output":            {good(fake{"initialize": {"warning: x", "", "[1]", hello}}), "", ""},
		"a line of 10 MB that is none":      {good(fake{"initialize": {long, hello}}), "", ""},
		"a delta of 10 MB":                  {good(fake{"turn/start": {begun, strings.Replace(delta, "half", long, 1), message, ended}}), "", ""},
		"a line that never ends":            {good(fake{"turn/start": {begun, long + long}}), guest.KindProtocol, "line too long"},
		"it prints something else":          {good(fake{"initialize": strings.Split(strings.Repeat("hello\n", 200), "\n")}), guest.KindProtocol, "does not speak"},
		"it never answers":                  {fake{}, guest.KindStalled, "within 30s"},
		"it never opens the thread":         {good(fake{"thread/start": nil}), guest.KindStalled, "within 30s"},
		"it never begins the turn":          {good(fake{"turn/start": nil}), guest.KindStalled, "said nothing for 10m"},
		"it falls silent":                   {good(fake{"turn/start": {begun, delta}}), guest.KindStalled, "said nothing for 10m"},
		"it ends at once":                   {fake{"initialize": {"exit 1"}}, guest.KindNetwork, "exit status 1"},
		"it ends on the way":                {good(fake{"turn/start": {begun, delta, "exit 0"}}), guest.KindNetwork, "exit status 0"},
		"it ends before the file is read":   {good(fake{"fs/readFile": {"exit 3"}}), guest.KindNetwork, "exit status 3"},
		"it shuts its input, and is silent": {good(fake{"thread/start": {"shut", thread}}), guest.KindStalled, "said nothing for 10m"},
		"it shuts its input, and goes on":   {good(fake{"turn/start": {"shut", begun, delta, message, ended}}), guest.KindStalled, "within 30s"},
		"it shuts its input, and ends":      {good(fake{"turn/start": {"shut", begun, delta, "exit 0"}}), guest.KindNetwork, "exit status 0"},
		"it shuts its input, and asks":      {good(fake{"turn/start": {"shut", begun, ask, ask, message, ended}}), guest.KindNetwork, "takes no input"},
		"it does not hand over the thread":  {good(fake{"fs/readFile": nil}), guest.KindStalled, "within 30s"},
		"it is another version":             {good(fake{"initialize": {strings.Replace(hello, "0.169.0", "0.170.0", 1)}}), guest.KindInvalid, "npm install @openai/codex@0.169.0"},
		"it refuses the thread":             {good(fake{"thread/start": {`{"id":%s,"error":{"code":-32600,"message":"no such model"}}`}}), guest.KindProtocol, "no such model"},
		"it refuses the turn":               {good(fake{"turn/start": {`{"id":%s,"error":{"code":-32600,"message":"too long"}}`}}), guest.KindInvalid, "too long"},
		"it answers what nobody asked":      {good(fake{"initialize": {`{"id":99,"result":{}}`, hello}}), "", ""},
		"it keeps the thread elsewhere":     {good(fake{"thread/start": {strings.Replace(thread, "/home/.codex/", "/etc/", 1)}}), guest.KindProtocol, "/etc/"},
		"its response is malformed":         {good(fake{"thread/start": {`{"id":%s,"result":[]}`}}), guest.KindInternal, "thread/start"},
		"its notification is malformed":     {good(fake{"turn/start": {begun, `{"method":"item/started","params":[]}`}}), guest.KindProtocol, "item/started"},
		"it fails without a reason":         {good(fake{"turn/start": {begun, strings.Replace(ended, "completed\",\"items", "failed\",\"items", 1)}}), guest.KindProtocol, "does not say why"},
		"it ends the turn in its own way":   {good(fake{"turn/start": {begun, strings.Replace(ended, "completed\",\"items", "melted\",\"items", 1)}}), guest.KindProtocol, "melted"},
		"it asks for what nobody knows":     {good(fake{"turn/start": {begun, ask, message, ended}}), "", ""},
		"another thread says something":     {good(fake{"turn/start": {begun, strings.Replace(ended, "t1", "t2", 1), message, ended}}), "", ""},
		"the end of another turn comes":     {good(fake{"turn/start": {begun, strings.Replace(ended, "u1", "u0", 1), message, ended}}), "", ""},
		"it does not listen to the end":     {good(fake{"EOF": nil}), "", ""},
		"its word for the error is new":     {good(fake{"turn/start": {begun, `{"method":"turn/completed","params":{"threadId":"t1","turn":{"id":"u1","status":"failed","items":[],"error":{"message":"what","codexErrorInfo":{"novel":{"x":1}},"additionalDetails":null}}}}`}}), guest.KindOverloaded, "what"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := guesttest.New(t, hostabi.TurnRequest{Process: "p", Session: "s", Input: json.RawMessage(`{"text":"hi"}`), Config: json.RawMessage(`{}`)})
				h.Child = c.play
				r := h.Run(run)
				if r.Kind != c.kind || !strings.Contains(r.Message, c.says) || (r.Status == "completed") != (c.kind == "") {
					t.Errorf("%.300s\n%.300s", r.JSON, h.Lines())
				}
				if c.kind == "" && !strings.Contains(string(r.JSON), `"text":"whole"`) {
					t.Errorf("%.300s", r.JSON)
				}
				if c.kind != "" && len(h.Session) > 0 {
					t.Error("a failed turn is in the thread")
				}
			})
		})
	}
}

// What a user, a model's tool or an operator wrote opens no placeholder, in the message that is filled least of all.
func TestNobodysWordsAreFilled(t *testing.T) {
	const trap = `{{broker:token}} {{secret:KEY}} {{{{broker:url}}}} "config":"@config@"`
	var said strings.Builder
	h := guesttest.New(t, hostabi.TurnRequest{Process: "p", Session: "s", Config: json.RawMessage(`{}`)})
	h.Turn.Input = json.RawMessage(fmt.Sprintf(`{"text":%[1]q,"instructions":%[1]q,"model":%[1]q,"tools":[{"name":%[1]q,"inputSchema":{"config":"@config@"}}]}`, trap))
	h.Fill = map[string]string{"broker:token": "TOKEN", "broker:url": "URL", "secret:KEY": "SECRET"}
	h.Child = func(c *guesttest.Child) {
		c.Stdin = io.TeeReader(c.Stdin, &said)
		good(nil).play(c)
	}
	if r := h.Run(run); r.Status != "completed" {
		t.Fatalf("%s", r.JSON)
	}
	if n := strings.Count(said.String(), "TOKEN"); n != 1 || strings.Contains(said.String(), "SECRET") || strings.Count(said.String(), "URL") != 1 {
		t.Errorf("%d tokens in\n%s", n, said.String())
	}
	found := 0
	for line := range strings.Lines(said.String()) {
		var m struct {
			Params struct {
				Model        string
				Instructions string                  `json:"developerInstructions"`
				Tools        []struct{ Name string } `json:"dynamicTools"`
				Input        []struct{ Text string }
			}
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		for _, text := range []string{m.Params.Model, m.Params.Instructions} {
			if text == trap {
				found++
			}
		}
		for _, tool := range m.Params.Tools {
			if tool.Name == trap {
				found++
			}
		}
		for _, in := range m.Params.Input {
			if in.Text == trap {
				found++
			}
		}
	}
	if found != 4 {
		t.Errorf("%d of 4 texts came as they were\n%s", found, said.String())
	}
}

func TestSettingsAndInputAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		input, config string
		kind          guest.Kind
		says          string
	}{
		"no text":            {`{}`, `{}`, guest.KindInvalid, "text is missing"},
		"an unknown word":    {`{"text":"x","txt":1}`, `{}`, guest.KindInvalid, "txt"},
		"a wider sandbox":    {`{"text":"x","sandbox":"danger-full-access"}`, `{}`, guest.KindDenied, "wider"},
		"no sandbox":         {`{"text":"x","sandbox":"none"}`, `{}`, guest.KindInvalid, "sandbox"},
		"no such approvals":  {`{"text":"x","approvals":"maybe"}`, `{}`, guest.KindInvalid, "never, decline or ask"},
		"no tool":            {`{"text":"x","tools":[{}]}`, `{}`, guest.KindInvalid, "tools[0]"},
		"tools of no list":   {`{"text":"x","tools":{}}`, `{}`, guest.KindInvalid, "tools"},
		"a relative place":   {`{"text":"x"}`, `{"workspace":"here"}`, guest.KindInvalid, "absolute"},
		"no such setting":    {`{"text":"x"}`, `{"sandbox":"wide"}`, guest.KindInvalid, "config: sandbox"},
		"no approval policy": {`{"text":"x"}`, `{"approval_policy":"never"}`, guest.KindInvalid, "approval_policy"},
	} {
		h := guesttest.New(t, hostabi.TurnRequest{Input: json.RawMessage(c.input), Config: json.RawMessage(c.config)})
		if r := h.Run(run); r.Kind != c.kind || !strings.Contains(r.Message, c.says) {
			t.Errorf("%s: %s", name, r.JSON)
		}
	}
}
