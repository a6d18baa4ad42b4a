package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// dataMajor is the major version that made the data directory, 0 when there is none.
func (l layout) dataMajor() (int, error) {
	text, err := os.ReadFile(filepath.Join(l.data(), "PG_VERSION"))
	if err == nil {
		if n := firstNumber(string(text)); n != 0 {
			return n, nil
		}
		err = fmt.Errorf("its PG_VERSION says %q", text)
	}
	if _, statErr := os.Stat(l.data()); errors.Is(statErr, os.ErrNotExist) {
		return 0, nil
	}
	if errors.Is(err, os.ErrPermission) {
		return 0, fmt.Errorf("%s belongs to another user: run the worker as that user, or with a directory of its own: %w", l.data(), err)
	}
	return 0, fmt.Errorf("%s is not a Postgres data directory: move it away: %w", l.data(), err)
}

// initialise makes the data directory. Locale C sorts the same on every machine and after every libc upgrade.
// alive is inherited, so that nobody touches data.new while an orphaned initdb works there.
func (l layout) initialise(ctx context.Context, p programs, a account, alive *os.File) error {
	if err := os.RemoveAll(l.dataNew()); err != nil {
		return fmt.Errorf("remove an interrupted initdb: %w", err)
	}
	if err := a.makePrivate(l.dataNew()); err != nil {
		return err
	}
	cmd := a.command(ctx, l.dir, p.initdb(), "--pgdata="+l.dataNew(), "--username="+superuser, "--auth=trust",
		"--encoding=UTF8", "--locale=C", "--data-checksums", "--no-instructions")
	cmd.ExtraFiles = []*os.File{alive}
	out := new(strings.Builder)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("initdb: %w%s%s", err, diskNote(l.dir), indent(out.String()))
	}
	if err := os.Rename(l.dataNew(), l.data()); err != nil {
		return err
	}
	return syncFolder(l.dir)
}

func syncFolder(dir string) error {
	file, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}
