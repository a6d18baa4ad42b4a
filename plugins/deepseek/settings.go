package main

import (
	"slices"
	"strings"

	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/chat"
)

// settings is the profile's [config] table.
type settings struct {
	chat.Settings
	ReasoningEffort string `json:"reasoning_effort"` // "low", "high", "max", or the provider's default
	UserID          string `json:"user_id"`          // keeps caches, scheduling and moderation of several users of a key apart
}

func defaults() settings {
	s := settings{Settings: chat.Defaults()}
	s.BaseURL = "https://api.deepseek.com"
	s.Model = "deepseek-flash"
	return s
}

// input is what a submitter passes.
type input struct {
	chat.Input
	ReasoningEffort string `json:"reasoning_effort"`
	JSON            bool   `json:"json"` // the answer shall be a JSON object; the prompt must say so too
}

// maxUserID is the longest user_id that the provider takes, in bytes.
const maxUserID = 512

// read decodes and checks a turn's input and settings; the input's wishes overrule the settings.
func read(t *guest.Turn) (settings, input, error) {
	s, in := defaults(), input{}
	if err := t.Decode(&in, &s); err != nil {
		return s, in, err
	}
	chat.Override(map[*string]string{&s.ReasoningEffort: in.ReasoningEffort})
	if err := s.Take(&in.Input, "enabled", "disabled"); err != nil {
		return s, in, err
	}
	switch {
	case s.ReasoningEffort != "" && !slices.Contains([]string{"low", "high", "max"}, s.ReasoningEffort):
		return s, in, guest.Fail(guest.KindInvalid, `reasoning_effort is %q: use "low", "high" or "max"`, s.ReasoningEffort)
	case len(s.UserID) > maxUserID:
		return s, in, guest.Fail(guest.KindInvalid, "config: user_id has %d bytes, at most %d", len(s.UserID), maxUserID)
	case in.JSON && t.Request.Thread.Version == 0 && !saysJSON(s.System, in.Input):
		return s, in, guest.Fail(guest.KindInvalid, `json is wanted, but the prompt does not say so: the provider asks for the word "json" in it`)
	}
	return s, in, nil
}

func saysJSON(system string, in chat.Input) bool {
	said := []string{system, in.Text}
	for _, m := range in.Messages {
		said = append(said, m.Content)
	}
	return strings.Contains(strings.ToLower(strings.Join(said, "\n")), "json")
}
