package main

import "strings"

// tags open and close what the model thinks inside its text, at its very beginning.
var tags = map[string]string{"<think>": "</think>", "<mm:think>": "</mm:think>"}

// splitter tells thoughts and text apart. A tag may be cut anywhere by the bounds of pieces.
type splitter struct {
	state   func(*splitter) (reasoning, text string, more bool)
	held    string
	closing string
}

func (s *splitter) add(piece string) (reasoning, text string) {
	if s.state == nil {
		s.state = (*splitter).begin
	}
	s.held += piece
	for more := true; more; {
		var r, t string
		r, t, more = s.state(s)
		reasoning, text = reasoning+r, text+t
	}
	return reasoning, text
}

// rest returns what was held back, at the end of the stream.
func (s *splitter) rest() (reasoning, text string) {
	if s.closing != "" {
		reasoning = s.held
	} else {
		text = s.held
	}
	s.held = ""
	return reasoning, text
}

func (s *splitter) begin() (string, string, bool) {
	said := strings.TrimLeft(s.held, " \t\r\n")
	for opening, closing := range tags {
		if rest, found := strings.CutPrefix(said, opening); found {
			s.held, s.closing, s.state = rest, closing, (*splitter).thinking
			return "", "", true
		}
		if strings.HasPrefix(opening, said) {
			return "", "", false
		}
	}
	s.state = (*splitter).talking
	return "", "", true
}

func (s *splitter) thinking() (string, string, bool) {
	if thought, rest, found := strings.Cut(s.held, s.closing); found {
		s.held, s.closing, s.state = rest, "", (*splitter).blank
		return thought, "", true
	}
	keep := overlap(s.held, s.closing)
	thought := s.held[:len(s.held)-keep]
	s.held = s.held[len(s.held)-keep:]
	return thought, "", false
}

// blank drops the empty lines between thoughts and text.
func (s *splitter) blank() (string, string, bool) {
	if s.held = strings.TrimLeft(s.held, "\r\n"); s.held == "" {
		return "", "", false
	}
	s.state = (*splitter).talking
	return "", "", true
}

func (s *splitter) talking() (string, string, bool) {
	text := s.held
	s.held = ""
	return "", text, false
}

// overlap is how much of the end of text may be the beginning of tag.
func overlap(text, tag string) int {
	for n := min(len(text), len(tag)-1); n > 0; n-- {
		if strings.HasSuffix(text, tag[:n]) {
			return n
		}
	}
	return 0
}

// trail drops a closing tag that trails in reasoning which came beside the text.
type trail struct{ held string }

const stray = "</think>"

func (t *trail) add(piece string) string {
	said := t.held + piece
	keep := overlap(said, stray)
	if bare := strings.TrimRight(said, " \r\n"); strings.HasSuffix(bare, stray) {
		keep = len(said) - len(bare) + len(stray)
	}
	t.held = said[len(said)-keep:]
	return said[:len(said)-keep]
}

// rest returns what was held back and is no tag, once the reasoning is over.
func (t *trail) rest() string {
	held := t.held
	t.held = ""
	if strings.HasPrefix(held, stray) {
		return ""
	}
	return held
}
