package hostabi

import "fmt"

// Code says why a host call did not do what was asked. A host function returns it negated.
// Published codes are frozen; new ones are only added.
type Code int32

const (
	EINVAL    Code = 1  // the argument is malformed
	EDENIED   Code = 2  // the operator does not permit it
	ENOENT    Code = 3  // no such key or name
	E2BIG     Code = 4  // the argument is over a stated limit
	EIO       Code = 5  // the other side failed
	ETIMEDOUT Code = 6  // a stated time ran out
	EQUOTA    Code = 7  // a budget of this turn or profile is spent
	ECANCELED Code = 8  // the turn is being cancelled
	ELOST     Code = 9  // the handle belonged to an execution that died
	EBADF     Code = 10 // no such handle
	ESTATE    Code = 11 // not now: after finish, or a second time
)

var codeNames = [...]string{
	EINVAL: "EINVAL", EDENIED: "EDENIED", ENOENT: "ENOENT", E2BIG: "E2BIG", EIO: "EIO", ETIMEDOUT: "ETIMEDOUT",
	EQUOTA: "EQUOTA", ECANCELED: "ECANCELED", ELOST: "ELOST", EBADF: "EBADF", ESTATE: "ESTATE",
}

// String returns the code's name, or "code N" for one that this version does not know.
func (c Code) String() string {
	if c > 0 && int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("code %d", int32(c))
}

// Error is the refusal of one host call. A Host returns it for what a guest can act on: the guest sees -Code
// and can take Message, which is for humans and free of secrets. Any other error from a Host is the host's
// own trouble: it ends the execution and is never shown to the guest as a result.
type Error struct {
	Code    Code
	Message string
}

// Errorf makes an Error.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

func (e *Error) Error() string { return e.Code.String() + ": " + e.Message }
