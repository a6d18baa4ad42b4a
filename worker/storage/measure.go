package storage

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
)

// Measure is what a session's directory holds.
type Measure struct {
	Bytes  int64  // of regular files
	Files  int64  // of any kind but directories; -1: unknown
	SHA256 []byte // nil: unknown
}

// Measure counts and digests a session's files. The digest covers, in the order of their paths, path, kind and content of
// each; a symbolic link counts by where it points and is not followed. Files that change meanwhile make a digest of
// neither state.
func (r *Root) Measure(ctx context.Context, session string) (Measure, error) {
	h := sha256.New()
	m, err := r.measure(ctx, Name(session), h)
	m.SHA256 = h.Sum(nil)
	if err != nil {
		return m, fmt.Errorf("storage: session %s: measure: %w", session, err)
	}
	return m, nil
}

// measure walks a directory; without a digest it opens no file.
func (r *Root) measure(ctx context.Context, name string, digest hash.Hash) (Measure, error) {
	var m Measure
	if err := r.Check(); err != nil {
		return m, err
	}
	dir, err := r.dir.OpenRoot(name)
	if err != nil {
		return m, err
	}
	defer dir.Close()
	err = fs.WalkDir(dir.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, fs.ErrNotExist):
			return nil // removed meanwhile
		case err != nil:
			return err
		case d.IsDir():
			return nil
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		m.Files++
		if info.Mode().IsRegular() {
			m.Bytes += info.Size()
		}
		if digest == nil {
			return nil
		}
		fmt.Fprintf(digest, "%d %s %s\n", len(path), path, info.Mode().Type())
		switch info.Mode().Type() {
		case 0:
			return content(dir, path, digest)
		case fs.ModeSymlink:
			to, err := dir.Readlink(path)
			fmt.Fprintf(digest, "%d %s\n", len(to), to)
			return err
		}
		return nil
	})
	return m, err
}

func content(dir *os.Root, path string, digest hash.Hash) error {
	f, err := dir.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.Copy(digest, f)
	fmt.Fprintf(digest, "\n%d\n", n)
	return err
}

// Room fails with ErrQuota when a session has used up its quota, own, or the root's when that is smaller; 0: none of its own.
func (r *Root) Room(ctx context.Context, session string, own int64) error {
	most := Least(own, r.quota)
	if most == 0 {
		return nil
	}
	m, err := r.measure(ctx, Name(session), nil)
	if err == nil && m.Bytes >= most {
		way := "that is the session's own quota"
		if most == r.quota {
			way = "or raise TOWPATH_STORAGE_QUOTA"
		}
		err = fmt.Errorf("%w: %d bytes in %d files, %d are allowed; remove some, %s", ErrQuota, m.Bytes, m.Files, most, way)
	}
	if err != nil {
		return fmt.Errorf("storage: session %s: %w", session, err)
	}
	return nil
}
