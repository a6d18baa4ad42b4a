package profiles

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Scan makes the registry serve what is in the folder and in the catalog now: new and changed files are loaded and put
// into the catalog, profiles of removed files are dropped. What is wrong with a file goes into Problems. Several folders
// may be scanned, each by itself; with a catalog only one, or "".
func (r *Registry) Scan(ctx context.Context, dir string) error {
	return r.scan(ctx, dir, func(string) bool { return false })
}

// Look is Scan beside a running Watch, to which it leaves a file that was written to a moment ago.
func (r *Registry) Look(ctx context.Context, dir string) error {
	began := time.Now()
	return r.scan(ctx, dir, func(path string) bool {
		info, err := os.Stat(path)
		return err == nil && began.Sub(info.ModTime()) < quiet
	})
}

// scan leaves files alone that are being written.
func (r *Registry) scan(ctx context.Context, dir string, busy func(path string) bool) error {
	r.scanning.Lock()
	defer r.scanning.Unlock()
	s := &scan{Registry: r, present: map[string]bool{}, settled: map[string]bool{}}
	if err := s.read(ctx, dir); err != nil {
		return fmt.Errorf("profiles: scan: %w", err)
	}
	for _, base := range slices.Sorted(maps.Keys(s.present)) {
		path := filepath.Join(s.dir, base)
		switch name := strings.TrimSuffix(strings.TrimSuffix(base, wasmSuffix), tomlSuffix); {
		case strings.HasPrefix(base, "."): // hidden, or on its way to its name
		case busy(path) || busy(permitPath(path)):
			s.settled[name] = true
		case strings.HasSuffix(base, wasmSuffix):
			served, err := s.file(ctx, path)
			if err != nil {
				s.problems = append(s.problems, Problem{File: path, Err: err, name: name})
			}
			s.settled[name] = served
		case strings.HasSuffix(base, tomlSuffix) && !s.present[name+wasmSuffix] && s.entries[name].Digest == "":
			s.problems = append(s.problems, Problem{File: path, Err: fmt.Errorf("no %s stands beside it", name+wasmSuffix)})
		}
		if ctx.Err() != nil {
			return fmt.Errorf("profiles: scan: %w", context.Cause(ctx))
		}
	}
	if err := s.rest(ctx); err != nil {
		return fmt.Errorf("profiles: scan: %w", err)
	}
	for i := range s.problems {
		s.problems[i].Served = s.problems[i].name != "" && r.present(s.problems[i].name) != nil
	}
	r.note(s.dir, s.problems)
	r.watching = true
	return nil
}

// scan is one look at a folder and at the catalog.
type scan struct {
	*Registry
	dir      string          // absolute; "" without a folder
	present  map[string]bool // names of files
	entries  map[string]Entry
	settled  map[string]bool // profiles that a file decides, or that are left alone
	problems []Problem
}

func (s *scan) read(ctx context.Context, dir string) (err error) {
	if s.catalog != nil {
		if s.entries, err = s.catalog.List(ctx); err != nil {
			return err
		}
	}
	if dir == "" && s.catalog != nil {
		return nil
	}
	if s.dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	files, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the plugins folder %s does not exist: create it, or name another one", s.dir)
	}
	if err != nil {
		return err
	}
	for _, f := range files {
		s.present[f.Name()] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Registry.dir = s.dir
	return nil
}

// file serves one file if it is to be served and is not yet, and reports whether it is what is served then.
func (s *scan) file(ctx context.Context, path string) (served bool, err error) {
	name := strings.TrimSuffix(filepath.Base(path), wasmSuffix)
	e, shared := s.entries[name]
	f, err := readFiles(path, e.Permits)
	if err != nil {
		return false, err
	}
	before, watched := s.seen[path]
	changed := s.watching && (!watched || before.wasm != f.content.wasm || !before.modified[0].Equal(f.modified[0]))
	s.seen[path] = f.sighting()
	old := s.Registry.present(f.name)
	digest := hex.EncodeToString(f.content.wasm[:])
	switch {
	case shared && !changed && e.knows(digest) && (e.Digest != digest || e.Removed != ""):
		return false, errSuperseded(e)
	case old != nil && !old.file.stored && old.file.path != path:
		return false, fmt.Errorf("%s serves this profile already: remove one of the two", old.file.path)
	case old != nil && old.file.content == f.content && (!shared || e.Digest == digest && e.Removed == "" && e.Stored):
		return true, nil
	}
	if before, ok := s.refused[path]; ok && before.seen == f.sighting() {
		return false, before.err
	}
	wasm := f.wasm
	p, err := newProfile(ctx, s.load, f, s.log, s.vaults)
	if err == nil && s.catalog != nil {
		if err = s.share(ctx, p, wasm, e, changed); err != nil {
			p.Release()
		}
	}
	if err != nil {
		s.refuse(ctx, path, f, err)
		if changed && !isOwn(err) { // the change is still to be told
			if delete(s.seen, path); watched {
				s.seen[path] = before
			}
		}
		return false, err
	}
	delete(s.refused, path)
	s.serve(p)
	return true, nil
}

// share puts a file's module into the catalog unless it is the present one there.
func (s *scan) share(ctx context.Context, p *Profile, wasm []byte, e Entry, changed bool) error {
	if e.Digest == p.Digest && e.Stored && e.Removed == "" {
		return s.catalog.Describe(ctx, p)
	}
	if e.Digest != "" && e.Digest != p.Digest && e.Removed == "" {
		if err := s.catalog.Check(ctx, p); err != nil {
			return &loadError{err}
		}
	}
	present, err := s.catalog.Put(ctx, p, wasm, changed)
	if err != nil {
		return err
	}
	if present != p.Digest {
		e.Digest = present
		return errSuperseded(e)
	}
	s.entries[p.Name] = Entry{Digest: p.Digest, Stored: true}
	return nil
}

// rest takes removed files for what they mean, and serves what no file decides as the catalog has it.
func (s *scan) rest(ctx context.Context) error {
	for _, path := range slices.Sorted(maps.Keys(s.seen)) {
		before := s.seen[path]
		if filepath.Dir(path) != s.dir || s.present[filepath.Base(path)] {
			continue
		}
		name := strings.TrimSuffix(filepath.Base(path), wasmSuffix)
		digest := hex.EncodeToString(before.wasm[:])
		if e, ok := s.entries[name]; ok && e.Digest == digest && e.Removed == "" {
			if err := s.catalog.Remove(ctx, name, digest); err != nil {
				return err
			}
			e.Removed = "this node"
			s.entries[name] = e
		}
		delete(s.seen, path)
		delete(s.refused, path)
	}
	for _, name := range slices.Sorted(maps.Keys(s.entries)) {
		e := s.entries[name]
		if s.settled[name] || e.Removed != "" {
			continue
		}
		if err := s.serveEntry(ctx, s.dir, name, e); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			s.problems = append(s.problems, Problem{File: fromDatabase + ":" + name, Err: err, name: name})
		}
	}
	s.drop(func(p *Profile) bool {
		if e, ok := s.entries[p.Name]; ok {
			return e.Removed != "" && !s.settled[p.Name]
		}
		return !s.settled[p.Name] && (p.file.stored || filepath.Dir(p.file.path) == s.dir && !s.present[filepath.Base(p.file.path)])
	})
	return nil
}
