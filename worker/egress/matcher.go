package egress

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// matcher finds any of many strings in a stream: Aho and Corasick's automaton. It is immutable.
type matcher struct {
	nodes []node
	names []string
	begin [256]bool // bytes that some string begins with
}

// node stands for the longest end of the stream that begins some string.
type node struct {
	next  []edge
	fail  int32 // the node of the longest shorter end
	depth int32
	match int32 // length of the longest string that ends here, 0 if none
	name  int32 // of that string
	hold  int32 // length of the longest end that a further byte could carry on
}

type edge struct {
	b  byte
	to int32
}

// newMatcher finds all forms of the values given by name; nil when there are none.
func newMatcher(values map[string][]string) *matcher {
	m := &matcher{nodes: make([]node, 1), names: slices.Sorted(maps.Keys(values))}
	for i, name := range m.names {
		for _, value := range values[name] {
			for _, form := range forms(value) {
				m.add(form, int32(i))
			}
		}
	}
	if len(m.nodes) == 1 {
		return nil
	}
	for _, e := range m.nodes[0].next {
		m.begin[e.b] = true
	}
	m.link()
	return m
}

func (m *matcher) add(s string, name int32) {
	at := int32(0)
	for i := range len(s) {
		to := m.child(at, s[i])
		if to == 0 {
			to = int32(len(m.nodes))
			m.nodes = append(m.nodes, node{depth: m.nodes[at].depth + 1})
			m.nodes[at].next = append(m.nodes[at].next, edge{s[i], to})
		}
		at = to
	}
	if m.nodes[at].match == 0 {
		m.nodes[at].match, m.nodes[at].name = int32(len(s)), name
	}
}

// link fills in fail, hold and inherited matches, shorter nodes first.
func (m *matcher) link() {
	queue := []int32{0}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		n := &m.nodes[at]
		if n.hold = n.depth; len(n.next) == 0 {
			n.hold = m.nodes[n.fail].hold
		}
		for _, e := range n.next {
			to := &m.nodes[e.to]
			if at != 0 {
				to.fail = m.step(n.fail, e.b)
			}
			if f := m.nodes[to.fail]; to.match == 0 {
				to.match, to.name = f.match, f.name
			}
			queue = append(queue, e.to)
		}
	}
}

// child is 0 where there is none: no edge leads to the root.
func (m *matcher) child(at int32, b byte) int32 {
	for _, e := range m.nodes[at].next {
		if e.b == b {
			return e.to
		}
	}
	return 0
}

func (m *matcher) step(at int32, b byte) int32 {
	for {
		if to := m.child(at, b); to != 0 || at == 0 {
			return to
		}
		at = m.nodes[at].fail
	}
}

// skip counts the bytes at the beginning of p that begin no string.
func (m *matcher) skip(p []byte) int {
	for i, b := range p {
		if m.begin[b] {
			return i
		}
	}
	return len(p)
}

// forms gives the ways in which a server, a model or a program may write a value down: as it is, inside JSON,
// inside a URL, and inside base64 at each of the three alignments.
func forms(value string) []string {
	all := []string{value}
	if quoted, err := json.Marshal(value); err == nil {
		html := string(quoted[1 : len(quoted)-1])
		plain := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(html)
		all = append(all, html, plain, strings.ReplaceAll(html, "/", `\/`), strings.ReplaceAll(plain, "/", `\/`))
	}
	for _, escaped := range []string{url.QueryEscape(value), url.PathEscape(value), strings.ReplaceAll(url.QueryEscape(value), "+", "%20")} {
		all = append(all, escaped, lowerEscapes(escaped))
	}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			// Only the characters that the value alone decides, whatever stands around it.
			encoded := encoding.EncodeToString(append(make([]byte, before), value...))
			all = append(all, encoded[(8*before+5)/6:8*(before+len(value))/6])
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// lowerEscapes writes %2F as %2f.
func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:i+3], strings.ToLower(string(b[i+1:i+3])))
			i += 2
		}
	}
	return string(b)
}
