package queue

import "log/slog"

const MigrateLock = migrateLock

// Quiet is River's way to a log.
func Quiet(h slog.Handler) *slog.Logger { return slog.New(quiet{h}) }
