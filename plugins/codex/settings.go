package main

import (
	"encoding/json"
	"path"
	"slices"
	"time"

	"github.com/towpath/towpath/hostabi/guest"
)

// settings is the profile's [config] table.
type settings struct {
	Model          string          `json:"model"`
	Effort         string          `json:"effort"`          // of reasoning: "low", "medium", "high", … or the model's default
	Instructions   string          `json:"instructions"`    // the developer's, of new threads
	Workspace      string          `json:"workspace"`       // absolute; where commands run. Empty: a folder that goes with the turn
	Sandbox        string          `json:"sandbox"`         // the least strict that a turn may ask for
	Approvals      string          `json:"approvals"`       // of turns that ask for none
	ApprovalPolicy string          `json:"approval_policy"` // when codex asks: "on-request" or "untrusted"
	ApprovalWait   guest.Duration  `json:"approval_wait"`   // for an answer; then it is declined
	Tools          json.RawMessage `json:"tools"`           // of new threads, in codex's form: [{"name","description","inputSchema"}]
	StreamIdle     guest.Duration  `json:"stream_idle"`     // the provider sends nothing
	Idle           guest.Duration  `json:"idle"`            // codex says nothing, and waits for nobody
}

func defaults() settings {
	return settings{
		Model:          "gpt-5.2-codex",
		Sandbox:        "workspace-write",
		Approvals:      approveNever,
		ApprovalPolicy: "on-request",
		ApprovalWait:   guest.Duration(30 * time.Minute),
		StreamIdle:     guest.Duration(5 * time.Minute),
		Idle:           guest.Duration(10 * time.Minute),
	}
}

// Values of approvals.
const (
	approveNever   = "never"   // codex does not ask: the sandbox decides
	approveDecline = "decline" // what codex asks is declined
	approveAsk     = "ask"     // somebody answers, out of band
)

// sandboxes, the strictest first.
var sandboxes = []string{"read-only", "workspace-write", "danger-full-access"}

// input is what a submitter passes.
type input struct {
	Text         string          `json:"text"`
	Model        string          `json:"model"`
	Effort       string          `json:"effort"`
	Approvals    string          `json:"approvals"`
	Sandbox      string          `json:"sandbox"`
	OutputSchema json.RawMessage `json:"output_schema"`
	Instructions string          `json:"instructions"`
	Tools        json.RawMessage `json:"tools"`
}

// read decodes and checks a turn's input and settings; the input's wishes overrule the settings.
func read(t *guest.Turn) (settings, input, error) {
	s, in := defaults(), input{}
	if err := t.Decode(&in, &s); err != nil {
		return s, in, err
	}
	switch {
	case in.Text == "":
		return s, in, guest.Fail(guest.KindInvalid, `input: text is missing, as in {"text":"…"}`)
	case s.Workspace != "" && !path.IsAbs(s.Workspace):
		return s, in, guest.Fail(guest.KindInvalid, "config: workspace %q is not an absolute path", s.Workspace)
	case s.ApprovalPolicy != "on-request" && s.ApprovalPolicy != "untrusted":
		return s, in, guest.Fail(guest.KindInvalid, "config: approval_policy %q: use on-request or untrusted", s.ApprovalPolicy)
	}
	widest := slices.Index(sandboxes, s.Sandbox)
	if widest < 0 {
		return s, in, guest.Fail(guest.KindInvalid, "config: sandbox %q: use read-only, workspace-write or danger-full-access", s.Sandbox)
	}
	for _, o := range []struct {
		wish string
		into *string
	}{{in.Model, &s.Model}, {in.Effort, &s.Effort}, {in.Approvals, &s.Approvals}, {in.Sandbox, &s.Sandbox}, {in.Instructions, &s.Instructions}} {
		if o.wish != "" {
			*o.into = o.wish
		}
	}
	if len(in.Tools) > 0 {
		s.Tools = in.Tools
	}
	switch wish := slices.Index(sandboxes, s.Sandbox); {
	case wish < 0:
		return s, in, guest.Fail(guest.KindInvalid, "input: sandbox %q: use read-only, workspace-write or danger-full-access", s.Sandbox)
	case wish > widest:
		return s, in, guest.Fail(guest.KindDenied, "input: sandbox %s is wider than the profile's %s", s.Sandbox, sandboxes[widest])
	}
	if !slices.Contains([]string{approveNever, approveDecline, approveAsk}, s.Approvals) {
		return s, in, guest.Fail(guest.KindInvalid, "approvals %q: use never, decline or ask", s.Approvals)
	}
	return s, in, s.checkTools()
}

func (s *settings) checkTools() error {
	if len(s.Tools) == 0 {
		return nil
	}
	var tools []map[string]json.RawMessage
	if err := json.Unmarshal(s.Tools, &tools); err != nil {
		return guest.Fail(guest.KindInvalid, "tools: %w", err)
	}
	for i, tool := range tools {
		if tool["name"] == nil || tool["inputSchema"] == nil {
			return guest.Fail(guest.KindInvalid, "tools[%d] needs name and inputSchema", i)
		}
		if tool["type"] == nil {
			tool["type"] = json.RawMessage(`"function"`)
		}
		if tool["description"] == nil {
			tool["description"] = json.RawMessage(`""`)
		}
	}
	var err error
	s.Tools, err = json.Marshal(tools)
	return err
}

// asks is codex's own word for when it asks for an approval.
func (s *settings) asks() string {
	if s.Approvals == approveNever {
		return "never"
	}
	return s.ApprovalPolicy
}
