package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/towpath/towpath/queue"
	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/store/embedded"
)

// Exit codes; doc.go has the list for readers.
const (
	exitOther       = 1
	exitUsage       = 2
	exitCancelled   = 3
	exitAbandoned   = 4
	exitDatabase    = 5
	exitInterrupted = 130
)

// usageError is a wrong command line or setting.
type usageError struct {
	err  error
	hint string
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// report prints a failure as error and hint lines and returns the exit code.
func report(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(w, "error:", err)
	if hint := hintFor(err); hint != "" {
		fmt.Fprintln(w, "hint:", hint)
	}
	return exitCode(err)
}

func exitCode(err error) int {
	var (
		usage *usageError
		ended *endError
	)
	switch {
	case errors.As(err, &ended):
		return ended.code()
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case unreachable(err), notMigrated(err):
		return exitDatabase
	}
	return exitOther
}

// hintFor says what to do about a failure, or nothing where the message does.
func hintFor(err error) string {
	var (
		usage   *usageError
		ended   *endError
		daemon  *daemonError
		login   *loginError
		refused *store.Error
		pg      *pgconn.PgError
		inUse   *embedded.InUseError
		dns     *net.DNSError
	)
	switch {
	case errors.As(err, &ended):
		return ended.hint()
	case errors.As(err, &daemon):
		return daemon.text
	case errors.As(err, &login):
		return login.hint()
	case errors.As(err, &usage):
		return usage.hint
	case errors.As(err, &refused):
		return refused.Hint
	case errors.As(err, &inUse), errors.Is(err, embedded.ErrNoServer):
		return "" // the message says it
	case errors.Is(err, embedded.ErrNotRunning):
		return "or set DATABASE_URL, or name that worker's --data-dir"
	case errors.Is(err, queue.ErrNotMigrated):
		return ""
	case errors.As(err, &pg):
		return hintForCode(pg)
	case errors.As(err, &dns):
		return "check the host name in DATABASE_URL"
	case unreachable(err) && (errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT)):
		return "is Postgres running there? check host and port in DATABASE_URL"
	case unreachable(err):
		return "check DATABASE_URL and the way to the server"
	}
	return ""
}

func hintForCode(pg *pgconn.PgError) string {
	switch pg.Code {
	case "28P01", "28000":
		return "check user and password in DATABASE_URL, and the server's pg_hba.conf"
	case "3D000":
		return "create it, for example with `createdb`, or correct the name in DATABASE_URL"
	case "3F000", "42P01", "42883":
		return "run `worker migrate`, or start a worker, which does so"
	case "42501":
		return "grant that user role towpath_client (clients) or towpath_worker (nodes); migrating needs the owner of the database"
	case "53300":
		return "raise max_connections of the server, or lower --max-conns"
	case "57P03":
		return "the server is starting or stopping: try again"
	case "0A000", "26000", "08P01":
		return "behind a transaction pooler set TOWPATH_POOLED=1"
	}
	return pg.Hint
}

func notMigrated(err error) bool {
	var pg *pgconn.PgError
	return errors.Is(err, queue.ErrNotMigrated) ||
		errors.As(err, &pg) && (pg.Code == "3F000" || pg.Code == "42P01" || pg.Code == "42883")
}

// unreachable reports trouble on the way to the database, rather than an answer from it.
func unreachable(err error) bool {
	var (
		connect *pgconn.ConnectError
		network net.Error
		op      *net.OpError
		pg      *pgconn.PgError
		file    *fs.PathError
	)
	if errors.As(err, &file) {
		return false // what the system says of a file would pass for a net.Error
	}
	if errors.As(err, &pg) {
		return errors.As(err, &connect) || lostConnection(pg.Code)
	}
	return errors.As(err, &connect) || errors.As(err, &network) || errors.As(err, &op) ||
		errors.Is(err, embedded.ErrNotRunning) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrDeadlineExceeded)
}

// lostConnection: the server is full, starts, stops, or has ended this connection.
func lostConnection(code string) bool {
	switch code {
	case "53300", "57P01", "57P02", "57P03":
		return true
	}
	return strings.HasPrefix(code, "08")
}

// passing reports whether the same attempt to connect may succeed later without anybody changing a setting.
func passing(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return lostConnection(pg.Code)
	}
	return unreachable(err)
}
