package egress

import (
	"fmt"
	"io"
)

// Scrubber replaces secrets in one stream of bytes by [redacted:NAME]. It is for one goroutine.
//
// Every byte that belongs to an occurrence of a value, in any of its forms, is replaced; occurrences that overlap
// become one marker. The output is the same for any division of the stream into chunks.
type Scrubber struct {
	matcher *matcher
	state   int32
	held    []byte // not decided yet: could begin a secret
	start   int    // position in the stream of held[0], or of the next byte
	runs    []run  // what is covered of held, in order, without overlaps
	out     []byte
}

// run is a covered part of the stream.
type run struct {
	from, to int
	name     string
}

// Format gives nothing of what is held, whatever the verb.
func (s *Scrubber) Format(f fmt.State, _ rune) { io.WriteString(f, "scrubber") }

// Scrub takes the next bytes of the stream and returns what can be told so far. It holds back only the bytes that
// could begin a secret. With last it returns all there is, and is ready for another stream. The result is valid
// until the next call and may alias p.
func (s *Scrubber) Scrub(p []byte, last bool) []byte {
	m := s.matcher
	if m == nil {
		return p
	}
	s.out = s.out[:0]
	for len(p) > 0 {
		if len(s.held) == 0 {
			n := m.skip(p)
			s.out = append(s.out, p[:n]...)
			s.start += n
			if p = p[n:]; len(p) == 0 {
				break
			}
		}
		s.state = m.step(s.state, p[0])
		s.held, p = append(s.held, p[0]), p[1:]
		node := &m.nodes[s.state]
		pos := s.start + len(s.held)
		if node.match > 0 {
			s.cover(run{pos - int(node.match), pos, m.names[node.name]})
		}
		if node.hold == 0 {
			s.release(pos)
		}
	}
	pos := s.start + len(s.held)
	if last {
		s.release(pos)
		*s = Scrubber{matcher: m, held: s.held, runs: s.runs[:0], out: s.out}
		return s.out
	}
	s.release(pos - int(m.nodes[s.state].hold))
	return s.out
}

// cover marks a part of what is held, and joins it with those it overlaps.
func (s *Scrubber) cover(r run) {
	for n := len(s.runs); n > 0 && s.runs[n-1].to > r.from; n-- {
		if old := s.runs[n-1]; old.from < r.from {
			r.from, r.name = old.from, old.name
		}
		s.runs = s.runs[:n-1]
	}
	s.runs = append(s.runs, r)
}

// release moves what is held before position upto to the output.
func (s *Scrubber) release(upto int) {
	at := s.start
	for at < upto {
		if len(s.runs) == 0 || s.runs[0].from >= upto {
			s.out = append(s.out, s.held[at-s.start:upto-s.start]...)
			at = upto
			break
		}
		r := s.runs[0]
		if at <= r.from {
			s.out = append(s.out, s.held[at-s.start:r.from-s.start]...)
			s.out = append(s.out, "[redacted:"+r.name+"]"...)
		}
		if at = upto; r.to <= upto {
			at = r.to
			s.runs = append(s.runs[:0], s.runs[1:]...)
		}
	}
	s.held = append(s.held[:0], s.held[at-s.start:]...)
	s.start = at
}
