package worker

import (
	"context"
	"errors"
	"fmt"

	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker/profiles"
	"github.com/towpath/towpath/worker/turn"
)

// CheckUpgrade runs the last completed turns of a profile again, from their journals alone, on a module that is to
// replace the present one. It returns how many agree, and for the first that does not which call differs.
func CheckUpgrade(ctx context.Context, db *store.Store, seed []byte, p *profiles.Profile, last int) (int, error) {
	ids, err := db.JournalledTurns(ctx, p.Name, last)
	if err != nil {
		return 0, err
	}
	for n, id := range ids {
		rows, err := db.Journal(ctx, id)
		if err != nil {
			return n, err
		}
		if len(rows) == 0 {
			continue // swept meanwhile
		}
		_, err = turn.Offline(ctx, rows, seed, p.Module.Run)
		var differs *turn.Difference
		switch {
		case ctx.Err() != nil:
			return n, context.Cause(ctx)
		case errors.As(err, &differs):
			return n, fmt.Errorf("%s: this module does something else than the one that is served: turn %s, %w; serve it under another name, or add it without the check", p.Name, id, differs)
		case err != nil:
			return n, fmt.Errorf("%s: turn %s cannot be run again on this module: %w", p.Name, id, err)
		}
	}
	return len(ids), nil
}
