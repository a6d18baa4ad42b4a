package main

import (
	"github.com/towpath/towpath/hostabi/guest"
	"github.com/towpath/towpath/hostabi/guest/chat"
)

// settings is the profile's [config] table.
type settings struct {
	chat.Settings
	Region         string   `json:"region"`          // of the key: "global", "china"; base_url overrules it
	ReasoningSplit *bool    `json:"reasoning_split"` // false leaves what the model thinks inside the text, between tags
	Temperature    *float64 `json:"temperature"`     // 0 to 2
	ServiceTier    string   `json:"service_tier"`    // "standard", "priority"
}

// regions are the doors of the provider's regions. A key of one is unknown in the other.
var regions = map[string]string{
	"global": "https://api.minimax.io/v1",
	"china":  "https://api.minimaxi.com/v1",
}

func defaults() settings {
	s := settings{Settings: chat.Defaults(), Region: "global"}
	s.Model = "MiniMax-M3"
	return s
}

// read decodes and checks a turn's input and settings; the input's wishes overrule the settings.
func read(t *guest.Turn) (settings, chat.Input, error) {
	s, in := defaults(), chat.Input{}
	if err := t.Decode(&in, &s); err != nil {
		return s, in, err
	}
	if s.BaseURL == "" {
		s.BaseURL = regions[s.Region]
	}
	switch {
	case s.BaseURL == "":
		return s, in, guest.Fail(guest.KindInvalid, `config: region is %q: use "global" or "china", or set base_url`, s.Region)
	case s.Temperature != nil && (*s.Temperature < 0 || *s.Temperature > 2):
		return s, in, guest.Fail(guest.KindInvalid, "config: temperature is %v: use 0 to 2", *s.Temperature)
	case s.ServiceTier != "" && s.ServiceTier != "standard" && s.ServiceTier != "priority":
		return s, in, guest.Fail(guest.KindInvalid, `config: service_tier is %q: use "standard" or "priority"`, s.ServiceTier)
	}
	return s, in, s.Take(&in, "adaptive", "disabled")
}
