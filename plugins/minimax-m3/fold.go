package main

import (
	"strings"

	"github.com/towpath/towpath/hostabi/guest"
)

// reading is how the pieces of a stream are to be read.
type reading int

const (
	undecided   reading = iota
	incremental         // a piece is what comes next
	cumulative          // a piece is all so far
)

// fold makes increments of the pieces of one field. All fields of a stream share one reading.
//
// A piece that begins with all that was said before, and goes on, speaks for snapshots: at once when that was more than
// a word's beginning, otherwise when the next piece does it again ("a", "and" is two tokens of some sentence; "a",
// "an", "and" is one that grows). Until then the piece is held back. Any other piece speaks for increments.
type fold struct {
	reading *reading
	text    string // so far
	held    string // a piece that may be either
}

// telling is the length from which a beginning that comes again is no accident, in bytes.
const telling = 5

func (f *fold) add(piece string) (string, error) {
	before := f.settle(*f.reading)
	if piece == "" {
		return before, nil
	}
	switch *f.reading {
	case incremental:
		f.text += piece
		return before + piece, nil
	case cumulative:
		more, err := f.grow(piece)
		return before + more, err
	}
	grows := func(from string) bool { return len(piece) > len(from) && strings.HasPrefix(piece, from) }
	switch {
	case f.text == "":
		f.text = piece
		return piece, nil
	case f.held == "" && grows(f.text) && len(f.text) < telling:
		f.held = piece
		return "", nil
	case f.held == "" && grows(f.text), f.held != "" && grows(f.held):
		*f.reading, f.held = cumulative, ""
		return f.grow(piece)
	}
	*f.reading = incremental
	more := f.held + piece
	f.text, f.held = f.text+more, ""
	return more, nil
}

// grow takes in a snapshot.
func (f *fold) grow(piece string) (string, error) {
	switch {
	case strings.HasPrefix(piece, f.text):
		more := piece[len(f.text):]
		f.text = piece
		return more, nil
	case strings.HasPrefix(f.text, piece):
		return "", nil // once more
	}
	return "", guest.Fail(guest.KindProtocol, "the provider changed what it had said")
}

// settle returns what was held back, once it is known how to read it.
func (f *fold) settle(as reading) string {
	if f.held == "" || as == undecided {
		return ""
	}
	more := f.held
	if as == cumulative {
		more = f.held[len(f.text):]
	}
	f.text, f.held = f.text+more, ""
	return more
}

// rest returns what is held back at the end: the stream never told, so it is read as the provider documents it.
func (f *fold) rest() string { return f.settle(max(*f.reading, incremental)) }
