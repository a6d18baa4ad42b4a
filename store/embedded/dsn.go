package embedded

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

const (
	// Database is the database that Start creates.
	Database  = "towpath"
	superuser = "postgres"
)

// DSN is the connection string of the server that runs on dir, for a process that did not start it.
// It returns ErrNotRunning when none does.
func DSN(dir string) (string, error) {
	path, err := filepath.Abs(dir)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err == nil {
		l := layout{path}
		if _, err = os.Stat(l.pidFile()); err == nil {
			if f, ok := l.serving(); ok {
				return dsn(f.socketDir, Database), nil
			}
		}
	}
	if errors.Is(err, os.ErrPermission) {
		return "", fmt.Errorf("embedded: the data directory %s belongs to another user: ask as that user: %w", dir, err)
	}
	return "", fmt.Errorf("embedded: %w on %s: start worker first", ErrNotRunning, dir)
}

// dsn states every part that a PG* variable of the reader could change.
func dsn(socketDir, database string) string {
	host := strings.NewReplacer("+", "%20", "%2F", "/").Replace(url.QueryEscape(socketDir))
	return fmt.Sprintf("postgres://%s@/%s?host=%s&port=%s", superuser, url.PathEscape(database), host, socketPort)
}
