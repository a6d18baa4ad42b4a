package bench

import (
	"cmp"
	"context"
	"errors"
)

// turns is the suite turn.
func turns(ctx context.Context, o Options, emit func(Row)) (err error) {
	o.Turns = cmp.Or(o.Turns, 400)
	s, err := startServer(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	for _, part := range []func(context.Context, Options, *server, func(Row)) error{latency, events, idle} {
		if err := part(ctx, o, s, emit); err != nil {
			return err
		}
	}
	return nil
}
