package profiles

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
)

// Catalog is where all nodes agree on what each profile is: the database.
type Catalog interface {
	// List gives what every node is to serve, by name.
	List(ctx context.Context) (map[string]Entry, error)
	// Module reads a module by its digest, hex; nil when it is gone.
	Module(ctx context.Context, digest string) ([]byte, error)
	// Put makes a profile's module the present one on all nodes and returns the digest of the present one: another, or
	// "", when it was superseded or removed before and again is false.
	Put(ctx context.Context, p *Profile, wasm []byte, again bool) (string, error)
	// Describe says what this node's permits make of a present module.
	Describe(ctx context.Context, p *Profile) error
	// Remove serves a profile no more while the digest is its present one.
	Remove(ctx context.Context, name, digest string) error
	// Check may refuse a module that is to replace another one, before any node serves it.
	Check(ctx context.Context, p *Profile) error
	// Note keeps a line about a profile for `worker plugin logs`.
	Note(profile, level, line string)
}

// Entry is one profile of a Catalog.
type Entry struct {
	Digest     string   // of the present module, hex
	Stored     bool     // the catalog has, or had, its bytes
	Removed    string   // by whom; "" for a profile that is served
	Superseded []string // digests
	Permits    []byte   // for nodes without a permit file; nil: none
}

// knows reports whether a module was the profile's before, or is.
func (e Entry) knows(digest string) bool {
	return e.Digest == digest && e.Stored || slices.Contains(e.Superseded, digest)
}

// ErrGone says that neither a node's memory nor the catalog has a module any more.
var ErrGone = errors.New("profiles: the module is gone")

// errSuperseded is the trouble of a file that is another module than the database says.
func errSuperseded(e Entry) error {
	if e.Removed != "" {
		return fmt.Errorf("the profile was removed by %s: touch the file, or run `worker plugin add`, to serve it again", e.Removed)
	}
	return fmt.Errorf("a newer module, %.12s, is served on all nodes instead: remove this file, or touch it to serve it again", e.Digest)
}

// origin is where a module and its permits came from when it was not a file.
const fromDatabase = "database"

// serveEntry serves a profile as the catalog has it, with this node's permit file where there is one.
func (r *Registry) serveEntry(ctx context.Context, dir, name string, e Entry) error {
	f := file{name: name, path: filepath.Join(dir, name+wasmSuffix), stored: true}
	if err := f.readPermits(e.Permits, dir != ""); err != nil {
		return err
	}
	digest, err := hex.DecodeString(e.Digest)
	if err != nil || len(digest) != sha256.Size || !e.Stored {
		return errors.New("its module is not in the database: `worker plugin add` puts it there")
	}
	f.content.wasm = [sha256.Size]byte(digest)
	if old := r.present(name); old != nil && old.file.content == f.content {
		return nil
	}
	key := fromDatabase + ":" + name
	if before, ok := r.refused[key]; ok && before.seen == f.sighting() {
		return before.err
	}
	p, err := r.fetch(ctx, f)
	if err != nil {
		r.refuse(ctx, key, f, err)
		return err
	}
	delete(r.refused, key)
	r.serve(p)
	return r.catalog.Describe(ctx, p)
}

// fetch loads a module of the catalog, whose bytes it compares with the digest that was asked for.
func (r *Registry) fetch(ctx context.Context, f file) (*Profile, error) {
	digest := hex.EncodeToString(f.content.wasm[:])
	wasm, err := r.catalog.Module(ctx, digest)
	switch {
	case err != nil:
		return nil, err
	case wasm == nil:
		return nil, fmt.Errorf("%w: %s", ErrGone, digest)
	case sha256.Sum256(wasm) != f.content.wasm:
		return nil, fmt.Errorf("module %.12s is damaged in the database: run `worker plugin add` with its file", digest)
	}
	f.wasm = wasm
	return newProfile(ctx, r.load, f, r.log, r.vaults)
}

// kept is how many modules that are not the present ones stay loaded for turns that began with them.
const kept = 4

// GetVersion is Get for a turn that began with a module, hex digest, which may be another one than the present. Its
// permits are the present ones. A module that nobody has any more is ErrGone.
func (r *Registry) GetVersion(ctx context.Context, name, digest string) (*Profile, error) {
	p, err := r.Get(name)
	if err == nil && p.Digest == digest || r.catalog == nil {
		return p, err
	}
	f := file{name: name, stored: true}
	if err == nil {
		f.path, f.toml, f.permitsFrom = p.file.path, p.file.toml, p.file.permitsFrom
		f.content = p.file.content
		p.Release()
	} else if f, err = r.removedFile(ctx, name); err != nil {
		return nil, err
	}
	sum, err := hex.DecodeString(digest)
	if err != nil || len(sum) != sha256.Size {
		return nil, fmt.Errorf("%w: %.64q", ErrGone, digest)
	}
	f.content.wasm = [sha256.Size]byte(sum)
	r.recalling.Lock()
	defer r.recalling.Unlock()
	for i, old := range r.versions {
		if old.Name == name && old.file.content == f.content {
			r.versions = append(slices.Delete(r.versions, i, i+1), old)
			old.hold()
			return old, nil
		}
	}
	if p, err = r.fetch(ctx, f); err != nil {
		return nil, err
	}
	r.log.Info("an earlier module is loaded for turns that began with it", "profile", name, "digest", digest)
	if r.versions = append(r.versions, p); len(r.versions) > kept {
		r.versions[0].Release()
		r.versions = slices.Delete(r.versions, 0, 1)
	}
	p.hold()
	return p, nil
}

// removedFile is what is left of a profile that this node does not serve: its permits.
func (r *Registry) removedFile(ctx context.Context, name string) (file, error) {
	list, err := r.catalog.List(ctx)
	if err != nil {
		return file{}, err
	}
	r.mu.RLock()
	dir := r.dir
	r.mu.RUnlock()
	f := file{name: name, path: filepath.Join(dir, name+wasmSuffix), stored: true}
	return f, f.readPermits(list[name].Permits, dir != "")
}
