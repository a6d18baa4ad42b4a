package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/store/embedded"
)

func TestReport(t *testing.T) {
	pg := func(code string) error { return fmt.Errorf("ps: %w", &pgconn.PgError{Code: code, Message: "no"}) }
	for _, c := range []struct {
		name string
		err  error
		code int
		hint string
	}{
		{"refused by a rule", &store.Error{Op: "submit", Code: "TW404", Message: "unknown profile", Hint: "known profiles: a"}, exitOther, "known profiles: a"},
		{"wrong password", pg("28P01"), exitOther, "check user and password"},
		{"unknown database", pg("3D000"), exitOther, "createdb"},
		{"not migrated", pg("42P01"), exitDatabase, "worker migrate"},
		{"no rights", pg("42501"), exitOther, "towpath_client"},
		{"full", pg("53300"), exitDatabase, "max_connections"},
		{"shutting down", pg("57P01"), exitDatabase, ""},
		{"pooler", pg("26000"), exitOther, "TOWPATH_POOLED=1"},
		{"no server programs", embedded.ErrNoServer, exitOther, ""},
		{"second worker", &embedded.InUseError{Dir: "/d", PID: 7}, exitOther, ""},
		{"none runs", fmt.Errorf("embedded: %w", embedded.ErrNotRunning), exitDatabase, "DATABASE_URL"},
		{"interrupted", fmt.Errorf("following: %w", context.Canceled), exitInterrupted, ""},
		{"no socket", &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", syscall.ENOENT)}, exitDatabase, "is Postgres running there?"},
		{"no file", fmt.Errorf("plugin: %w", &fs.PathError{Op: "open", Path: "x.wasm", Err: syscall.ENOENT}), exitOther, ""},
		{"anything", errors.New("odd"), exitOther, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			if code := report(&b, c.err); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
			if lines[0] != "error: "+c.err.Error() {
				t.Errorf("first line is %q", lines[0])
			}
			switch hint := strings.Join(lines[1:], "\n"); {
			case c.hint == "" && hint != "":
				t.Errorf("hint %q, want none", hint)
			case c.hint != "" && !(strings.HasPrefix(hint, "hint: ") && strings.Contains(hint, c.hint)):
				t.Errorf("hint %q, want one with %q", hint, c.hint)
			}
		})
	}
	var b bytes.Buffer
	if code := report(&b, nil); code != 0 || b.Len() != 0 {
		t.Errorf("success gives exit code %d and %q", code, b.String())
	}
}
