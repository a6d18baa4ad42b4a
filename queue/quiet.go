package queue

import (
	"context"
	"log/slog"
	"strings"
)

// quiet is River's way to the node's log, less what says nothing to an operator: the count of jobs that a producer
// prints every minute, and errors that are only River's own loops being told to stop.
type quiet struct{ slog.Handler }

func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	if strings.HasSuffix(r.Message, ": Producer job counts") || ctx.Err() != nil && told(r) {
		return nil
	}
	return q.Handler.Handle(ctx, r)
}

func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }
func (q quiet) WithGroup(name string) slog.Handler       { return quiet{q.Handler.WithGroup(name)} }

// told reports an error whose whole reason is a cancelled context.
func told(r slog.Record) bool {
	found := false
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "error" || a.Key == "err" {
			found = strings.HasSuffix(a.Value.String(), context.Canceled.Error())
		}
		return !found
	})
	return found
}
