package queue

import (
	"context"
	"errors"
	"fmt"
)

// What a caller of [Migrate] or [Check] decides on. The wrapping error says more, and names the fix.
var (
	ErrStranger    = errors.New("another program uses this River schema")
	ErrChecksum    = errors.New("an applied script has changed")
	ErrRiverSchema = errors.New("installed for another River schema")
	ErrLocked      = errors.New("a lock was not free in time")
	ErrNotMigrated = errors.New("the database is not migrated")
	ErrTooOld      = errors.New("this worker is too old for the database")
)

// What ends a job's context, as context.Cause tells. A handler that returns such an error, or any that wraps
// context.Canceled, is understood: the attempt is given back on stopping, the job is cancelled on cancelling.
var (
	ErrStopping  = fmt.Errorf("the worker is stopping: %w", context.Canceled)
	ErrCancelled = fmt.Errorf("the job was cancelled: %w", context.Canceled)
)
