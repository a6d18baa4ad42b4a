package worker

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/worker/egress"
	"github.com/towpath/towpath/worker/profiles"
	"github.com/towpath/towpath/worker/turn"
)

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
	bound := permit.Secrets
	if permit.Broker != nil {
		bound = append(slices.Clone(bound), permit.Broker.Secret) // so that it is scrubbed; only the broker has it
	}
	values := map[string]string{}
	for _, name := range bound {
		value, err := p.Secrets.Value(ctx, name)
		switch {
		case ctx.Err() != nil:
			return turn.Command{}, context.Cause(ctx)
		case err != nil:
			return turn.Command{}, egress.Refusal(err)
		}
		values[name] = value
	}
	if permit.Broker != nil && !slices.Contains(permit.Secrets, permit.Broker.Secret) {
		delete(values, permit.Broker.Secret)
	}
	var broker *egress.Broker // from Begin to End
	return turn.Command{
		Path: permit.Command, Args: slices.Clone(wish.Args),
		Begin: func(heard func(int, http.Header)) (err error) {
			if permit.Broker != nil {
				broker, err = p.Egress.Broker(*permit.Broker, heard)
			}
			return err
		},
		End: func() {
			if broker != nil {
				broker.Close()
			}
		},
		Scrub: func() *egress.Scrubber {
			if broker == nil {
				return p.Secrets.Scrubber()
			}
			return p.Secrets.ScrubberWith("broker_token", broker.Token)
		},
		Fill: func(text []byte) ([]byte, error) {
			filled, err := egress.FillAll(string(text), broker, func(name string) (string, error) {
				value, bound := values[name]
				if strings.Contains(name, "{") {
					return "", hostabi.Errorf(hostabi.EINVAL, "%.64q is not the name of a secret: write {{secret:NAME}}", name)
				}
				if !bound {
					return "", hostabi.Errorf(hostabi.EDENIED,
						`secret %.64q is not bound to command %s: add it to that command's permit, as in secrets = ["%.64s"]`, name, permit.Name, name)
				}
				return value, nil
			})
			return []byte(filled), err
		},
	}, nil
}
