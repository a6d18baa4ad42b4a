package profiles

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Registry holds the profiles that this node serves. It is safe for concurrent use.
type Registry struct {
	load Loader
	log  *slog.Logger

	scanning sync.Mutex         // one Scan at a time; guards refused
	refused  map[string]refusal // by path: modules that the loader refused

	mu       sync.RWMutex
	profiles map[string]*Profile
	problems map[string][]Problem // by folder
}

// refusal spares the loader a file that it has refused, until the file changes or is touched.
type refusal struct {
	seen sighting
	err  error
}

// Problem is a file that is not served, or not in its present form.
type Problem struct {
	File   string // path
	Err    error  // what is wrong, and the fix
	Served bool   // an earlier version of the profile is still served
}

func (p Problem) String() string {
	s := p.File + ": " + p.Err.Error()
	if p.Served {
		s += " (the version before it is still served)"
	}
	return s
}

// New makes an empty Registry. A nil log means slog.Default.
func New(load Loader, log *slog.Logger) *Registry {
	if log == nil {
		log = slog.Default()
	}
	return &Registry{
		load: load, log: log,
		refused: make(map[string]refusal), profiles: make(map[string]*Profile), problems: make(map[string][]Problem),
	}
}

// Scan makes the registry serve what is in the folder now: new and changed files are loaded, profiles of removed
// files are dropped. What is wrong with a file goes into Problems. Several folders may be scanned, each by itself.
func (r *Registry) Scan(ctx context.Context, dir string) error {
	r.scanning.Lock()
	defer r.scanning.Unlock()
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("profiles: scan: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("profiles: scan: the plugins folder %s does not exist: create it, or name another one", dir)
	}
	if err != nil {
		return fmt.Errorf("profiles: scan: %w", err)
	}
	present := make(map[string]bool) // names of files
	for _, e := range entries {
		present[e.Name()] = true
	}
	var problems []Problem
	for _, base := range slices.Sorted(maps.Keys(present)) {
		path := filepath.Join(dir, base)
		switch {
		case strings.HasPrefix(base, "."): // hidden, or on its way to its name
		case strings.HasSuffix(base, wasmSuffix):
			if err := r.scanFile(ctx, path); err != nil {
				problems = append(problems, Problem{File: path, Err: err, Served: r.serves(path)})
			}
			if ctx.Err() != nil {
				return fmt.Errorf("profiles: scan: %w", context.Cause(ctx))
			}
		case strings.HasSuffix(base, tomlSuffix) && !present[strings.TrimSuffix(base, tomlSuffix)+wasmSuffix]:
			problems = append(problems, Problem{File: path, Err: fmt.Errorf("no %s stands beside it", strings.TrimSuffix(base, tomlSuffix)+wasmSuffix)})
		}
	}
	r.drop(func(p *Profile) bool { return filepath.Dir(p.file.path) == dir && !present[filepath.Base(p.file.path)] })
	maps.DeleteFunc(r.refused, func(path string, _ refusal) bool {
		return filepath.Dir(path) == dir && !present[filepath.Base(path)]
	})
	r.note(dir, problems)
	return nil
}

// scanFile serves one file if it is not served as it is.
func (r *Registry) scanFile(ctx context.Context, path string) error {
	f, err := readFiles(path)
	if err != nil {
		return err
	}
	r.mu.RLock()
	old := r.profiles[f.name]
	r.mu.RUnlock()
	switch {
	case old != nil && old.file.path != path:
		return fmt.Errorf("%s serves this profile already: remove one of the two", old.file.path)
	case old != nil && old.file.content == f.content:
		return nil
	}
	if before, ok := r.refused[path]; ok && before.seen == f.sighting() {
		return before.err
	}
	p, err := newProfile(ctx, r.load, f, r.log)
	if err != nil {
		var own *loadError
		if errors.As(err, &own) && ctx.Err() == nil {
			r.refused[path] = refusal{f.sighting(), err}
		}
		return err
	}
	delete(r.refused, path)
	r.mu.Lock()
	r.profiles[f.name] = p
	r.mu.Unlock()
	r.log.Info("profile is served", "profile", p.Name, "digest", p.Digest, "file", path, "replaced", old != nil)
	if old != nil {
		old.Release()
	}
	return nil
}

func (r *Registry) serves(path string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, p := range r.profiles {
		if p.file.path == path {
			return true
		}
	}
	return false
}

// drop stops serving the profiles that gone picks.
func (r *Registry) drop(gone func(*Profile) bool) {
	var dropped []*Profile
	r.mu.Lock()
	for name, p := range r.profiles {
		if gone(p) {
			dropped = append(dropped, p)
			delete(r.profiles, name)
		}
	}
	r.mu.Unlock()
	for _, p := range dropped {
		r.log.Info("profile is dropped", "profile", p.Name, "digest", p.Digest)
		p.Release()
	}
}

// note keeps a folder's problems and logs those that are new.
func (r *Registry) note(dir string, problems []Problem) {
	r.mu.Lock()
	before := r.problems[dir]
	r.problems[dir] = problems
	r.mu.Unlock()
	for _, p := range problems {
		if !slices.ContainsFunc(before, func(b Problem) bool { return b.String() == p.String() }) {
			r.log.Warn("plugin file is refused", "file", p.File, "error", p.Err, "still_served", p.Served)
		}
	}
}

// Get gives the profile of that name as it is now, until the caller's Release; or *ErrUnknownProfile.
func (r *Registry) Get(name string) (*Profile, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if p := r.profiles[name]; p != nil {
		p.hold()
		return p, nil
	}
	unknown := &ErrUnknownProfile{Name: name, Known: slices.Sorted(maps.Keys(r.profiles))}
	for _, problems := range r.problems {
		for _, p := range problems {
			if filepath.Base(p.File) == name+wasmSuffix {
				unknown.Problem = p.Err
			}
		}
	}
	return nil, unknown
}

// Names gives the names that are served, in order.
func (r *Registry) Names() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Sorted(maps.Keys(r.profiles))
}

// Problems gives the files that are not served, by path.
func (r *Registry) Problems() []Problem {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var all []Problem
	for _, dir := range slices.Sorted(maps.Keys(r.problems)) {
		all = append(all, r.problems[dir]...)
	}
	return all
}

// Close stops serving all profiles. Those in use close at their last Release.
func (r *Registry) Close() {
	r.scanning.Lock()
	defer r.scanning.Unlock()
	r.drop(func(*Profile) bool { return true })
}
