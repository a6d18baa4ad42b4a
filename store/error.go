package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// Sentinels for what callers decide on. The SQLSTATE of each is stated in package sql.
var (
	ErrInvalid     = errors.New("invalid argument")          // TW400
	ErrDenied      = errors.New("not permitted")             // TW403
	ErrNotFound    = errors.New("not found")                 // TW404
	ErrConflict    = errors.New("conflict")                  // TW409
	ErrIdempotency = errors.New("idempotency conflict")      // TW40I
	ErrFence       = errors.New("lease is not ours")         // TW40L
	ErrResync      = errors.New("the feed has begun anew")   // TW40R
	ErrStale       = errors.New("version is not the newest") // TW40V
	ErrPruned      = errors.New("no longer retained")        // TW410
	ErrEvicted     = errors.New("storage is evicted")        // TW41E
	ErrTooLarge    = errors.New("too large")                 // TW413
	ErrQuarantined = errors.New("session is quarantined")    // TW423
	ErrLimit       = errors.New("limit reached")             // TW429
)

var sentinels = map[string]error{
	"TW400": ErrInvalid, "TW403": ErrDenied, "TW404": ErrNotFound, "TW409": ErrConflict, "TW40I": ErrIdempotency,
	"TW40L": ErrFence, "TW40R": ErrResync, "TW40V": ErrStale, "TW410": ErrPruned, "TW41E": ErrEvicted, "TW413": ErrTooLarge, "TW423": ErrQuarantined,
	"TW429": ErrLimit,
}

// Error is a refusal by one of our SQL functions. Hint says what to do about it and may be empty.
type Error struct {
	Op      string
	Code    string // SQLSTATE, class TW
	Message string
	Hint    string
	Field   string // what was wrong, where the function names it
}

func (e *Error) Error() string { return e.Op + ": " + e.Message }

// Is reports whether target is the sentinel of e's code.
func (e *Error) Is(target error) bool { return sentinels[e.Code] == target }

// wrap names the operation, and turns what our functions raise into an *Error.
func wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		if _, ours := sentinels[pg.Code]; ours {
			return &Error{Op: op, Code: pg.Code, Message: pg.Message, Hint: pg.Hint, Field: pg.ColumnName}
		}
		switch {
		case pg.Code[:2] == "22": // text that is not UTF-8, JSON that jsonb refuses, a number beyond numeric
			return &Error{Op: op, Code: "TW400", Message: pg.Message, Hint: pg.Detail}
		case pg.Code[:2] == "54":
			return &Error{Op: op, Code: "TW413", Message: pg.Message, Hint: pg.Hint}
		case notMigrated(err):
			return fmt.Errorf("%s: the database is not migrated: %w", op, err)
		}
	}
	return fmt.Errorf("%s: %w", op, err)
}

// notMigrated reports whether our tables or functions are missing.
func notMigrated(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "3F000" || pg.Code == "42P01" || pg.Code == "42883")
}

// again reports whether one more try is right: the server chose this statement to break a deadlock.
func again(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "40P01" || pg.Code == "40001")
}

// Refused reports whether err is the database's considered answer, and not trouble on the way to it.
func Refused(err error) bool {
	var e *Error
	return errors.As(err, &e)
}

// Rejected reports whether the server refused the content of a statement (bad data, a violated constraint), so that
// trying the same again cannot help.
func Rejected(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		class := pg.Code[:2]
		return class == "22" || class == "23" || class == "54"
	}
	return Refused(err)
}

func retry[T any](ctx context.Context, op string, call func() (T, error)) (T, error) {
	v, err := call()
	if again(err) && ctx.Err() == nil {
		v, err = call()
	}
	return v, wrap(op, err)
}
