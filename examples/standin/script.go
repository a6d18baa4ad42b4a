package standin

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// script is what one request is answered by.
type script struct {
	pace          time.Duration
	tokens, bytes int
	tool, args    string
	hold          string
	holdAfter     int

	form, as   string
	fault      string
	after      int
	leak       bool
	times      int
	every      time.Duration
	end        string
	size       int
	retryAfter string
	body       string
}

// parse takes the directives out of a text.
func parse(text string, pace time.Duration) (s script, rest string, err error) {
	s = script{pace: pace, after: 2}
	for {
		before, behind, found := strings.Cut(text, "[[")
		rest += before
		if !found {
			return s, strings.TrimSpace(rest), nil
		}
		directive, behind, found := strings.Cut(behind, "]]")
		if !found {
			return s, "", fmt.Errorf("directive without its end: [[%s", directive)
		}
		if err := s.set(directive); err != nil {
			return s, "", fmt.Errorf("directive [[%s]]: %w", directive, err)
		}
		text = behind
	}
}

func (s *script) set(directive string) error {
	name, rest, _ := strings.Cut(directive, ":")
	value, keys, _ := strings.Cut(rest, " ")
	var err error
	switch name {
	case "pace":
		s.pace, err = time.ParseDuration(value)
	case "tokens":
		s.tokens, err = strconv.Atoi(value)
	case "tool":
		s.tool, s.args = value, strings.TrimSpace(keys)
		return nil
	case "hold":
		s.hold = value
	case "form":
		s.form = value
	case "fault":
		s.fault = value
	case "leak":
		s.leak = true
	default:
		return fmt.Errorf("unknown name %q", name)
	}
	if err != nil {
		return err
	}
	for _, field := range strings.Fields(keys) {
		key, value, _ := strings.Cut(field, "=")
		switch name + " " + key {
		case "tokens bytes":
			s.bytes, err = strconv.Atoi(value)
		case "hold after":
			s.holdAfter, err = strconv.Atoi(value)
		case "fault after":
			s.after, err = strconv.Atoi(value)
		case "fault times":
			s.times, err = strconv.Atoi(value)
		case "fault size":
			s.size, err = strconv.Atoi(value)
		case "fault every":
			s.every, err = time.ParseDuration(value)
		case "fault end":
			s.end = value
		case "fault retry-after":
			s.retryAfter = strings.ReplaceAll(value, "_", " ")
		case "fault as":
			s.as = value
		case "fault body":
			s.body = value
		default:
			return fmt.Errorf("unknown key %q", key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
