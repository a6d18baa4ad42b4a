package worker

import (
	"context"
	"regexp"
	"slices"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/worker/profiles"
	"github.com/towpath/towpath/worker/turn"
)

// placeholder is {{secret:NAME}}, or the beginning of one that is not closed.
var placeholder = regexp.MustCompile(`\{\{secret:(?:([^{}]*)\}\})?`)

// command is what a profile's operator permits of a guest's wish for a child. The secrets that are bound to the
// command are read once, so that the child's output is scrubbed of the very values that it may be given.
func command(ctx context.Context, p *profiles.Profile, wish hostabi.ProcSpec) (turn.Command, error) {
	permit, err := p.Proc(wish.Name)
	if err != nil {
		return turn.Command{}, err
	}
	if !permit.Allows(wish.Args) {
		return turn.Command{}, hostabi.Errorf(hostabi.EDENIED,
			`these arguments of command %s are not permitted: add them to args in the permit file's [[proc]] name = %q`, wish.Name, permit.Name)
	}
	values := map[string][]byte{}
	for _, name := range permit.Secrets {
		value, err := p.Secrets.Value(ctx, name)
		switch {
		case ctx.Err() != nil:
			return turn.Command{}, context.Cause(ctx)
		case err != nil:
			return turn.Command{}, hostabi.Errorf(hostabi.EIO, "%v", err)
		}
		values[name] = []byte(value)
	}
	return turn.Command{
		Path: permit.Command, Args: slices.Clone(wish.Args), Scrub: p.Secrets.Scrubber,
		Fill: func(text []byte) ([]byte, error) { return fill(text, permit.Name, values) },
	}, nil
}

// fill replaces each placeholder of one write by its secret's value; what a value looks like is not read again.
func fill(text []byte, command string, values map[string][]byte) ([]byte, error) {
	var filled []byte
	from := 0
	for _, at := range placeholder.FindAllSubmatchIndex(text, -1) {
		if at[2] < 0 {
			return nil, hostabi.Errorf(hostabi.EINVAL, "a placeholder is not closed: write {{secret:NAME}}, within one write")
		}
		name := string(text[at[2]:at[3]])
		value, bound := values[name]
		if !bound {
			return nil, hostabi.Errorf(hostabi.EDENIED,
				`secret %.64q is not bound to command %s: add it to that command's permit, as in secrets = ["%.64s"]`, name, command, name)
		}
		filled = append(append(filled, text[from:at[0]]...), value...)
		from = at[1]
	}
	if from == 0 {
		return text, nil
	}
	return append(filled, text[from:]...), nil
}
