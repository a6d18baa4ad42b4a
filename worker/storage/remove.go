package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Remove removes a directory by its name. That there is none is no error.
func (r *Root) Remove(_ context.Context, name string) error {
	if err := r.remove(name); err != nil {
		return fmt.Errorf("storage: remove %s: %w", name, err)
	}
	return nil
}

func (r *Root) remove(name string) error {
	if !own(name) {
		return errors.New("that is no name of a session's directory")
	}
	if err := r.Check(); err != nil {
		return err
	}
	// From here on nobody finds it by its name, whoever is killed and whoever else removes it.
	bin := trash + name + "-" + uuid.NewString()
	err := r.dir.Rename(name, bin)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := r.empty(bin); err != nil {
		// Back, if nobody has made a new one, so that what is reported is what is there.
		_ = r.dir.Rename(bin, name)
		return err
	}
	return nil
}

// own reports whether a name is one that Name gives.
func own(name string) bool { return len(name) == 32 && strings.Trim(name, "0123456789abcdef") == "" }

// empty removes a tree; a directory that nobody may write in is made writable first.
func (r *Root) empty(name string) error {
	err := r.dir.RemoveAll(name)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	r.open(name)
	return r.dir.RemoveAll(name)
}

// open gives back the right to change directories. What fails here fails again when it is removed.
func (r *Root) open(name string) {
	if r.dir.Chmod(name, 0o700) != nil {
		return
	}
	entries, err := fs.ReadDir(r.dir.FS(), name)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.IsDir() {
			r.open(path.Join(name, e.Name()))
		}
	}
}

// Orphans removes the directories that belong to no session and are older than age, and what interrupted removals left.
// known says which of some names belong to one. It goes on after a failure and returns all of them.
func (r *Root) Orphans(ctx context.Context, age time.Duration, known func(names []string) ([]string, error)) (removed int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.Check(); err != nil {
		return 0, err
	}
	dir, err := r.dir.Open(".")
	if err != nil {
		return 0, fmt.Errorf("storage: root %s: %w", r.path, err)
	}
	defer dir.Close()
	var errs []error
	for {
		if ctx.Err() != nil {
			return removed, errors.Join(append(errs, context.Cause(ctx))...)
		}
		entries, err := dir.ReadDir(1000) // however many there are, a few are in memory
		if len(entries) == 0 {
			if !errors.Is(err, io.EOF) {
				errs = append(errs, err)
			}
			return removed, errors.Join(errs...)
		}
		var old []string
		for _, e := range entries {
			info, err := e.Info()
			switch {
			case err != nil || time.Since(info.ModTime()) < age:
			case strings.HasPrefix(e.Name(), trash):
				if err := r.empty(e.Name()); err != nil {
					errs = append(errs, fmt.Errorf("storage: remove %s: %w", e.Name(), err))
				} else {
					removed++
				}
			case own(e.Name()):
				old = append(old, e.Name())
			}
		}
		if len(old) == 0 {
			continue
		}
		strangers, err := Unknown(old, known)
		if err != nil {
			return removed, errors.Join(append(errs, err)...)
		}
		for _, name := range strangers {
			if err := r.Remove(ctx, name); err != nil {
				errs = append(errs, err)
			} else {
				removed++
			}
		}
	}
}

// Unknown returns those names that known does not give back, in place of names.
func Unknown(names []string, known func([]string) ([]string, error)) ([]string, error) {
	theirs, err := known(names)
	if err != nil {
		return nil, err
	}
	kept := make(map[string]bool, len(theirs))
	for _, name := range theirs {
		kept[name] = true
	}
	return slices.DeleteFunc(names, func(name string) bool { return kept[name] }), nil
}
