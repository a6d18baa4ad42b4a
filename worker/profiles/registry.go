package profiles

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
)

// Registry holds the profiles that this node serves. It is safe for concurrent use.
type Registry struct {
	load Loader
	log  *slog.Logger

	catalog Catalog // nil: the folder alone says what is served
	vaults  Vaults  // nil: no login is kept

	scanning sync.Mutex          // one Scan at a time; guards what follows
	refused  map[string]refusal  // by path: modules that the loader refused
	seen     map[string]sighting // by path
	watching bool                // there was a scan: what is not as it was seen then was changed by somebody

	recalling sync.Mutex // guards versions
	versions  []*Profile // not the present ones, for turns that began with them; the last used comes last

	mu       sync.RWMutex
	dir      string // of the last scan
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
	Served bool   // another version of the profile is served

	name string // of the profile
}

func (p Problem) String() string {
	s := p.File + ": " + p.Err.Error()
	if p.Served {
		s += " (another version is still served)"
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
		refused: make(map[string]refusal), seen: make(map[string]sighting), profiles: make(map[string]*Profile), problems: make(map[string][]Problem),
	}
}

// Share makes all nodes of a catalog serve the same profiles. Call it before the first Scan.
func (r *Registry) Share(c Catalog) { r.catalog = c }

// Keep tells where the logins of profiles are kept. Call it before the first Scan.
func (r *Registry) Keep(v Vaults) { r.vaults = v }

// present gives the profile that is served, or nil.
func (r *Registry) present(name string) *Profile {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.profiles[name]
}

// serve makes a profile the one that Get gives.
func (r *Registry) serve(p *Profile) {
	r.mu.Lock()
	old := r.profiles[p.Name]
	r.profiles[p.Name] = p
	r.mu.Unlock()
	r.log.Info("profile is served", "profile", p.Name, "digest", p.Digest, "file", p.source(), "replaced", old != nil)
	if r.catalog != nil {
		r.catalog.Note(p.Name, "info", fmt.Sprintf("served: version %q, digest %.12s, from %s", p.Manifest.Version, p.Digest, p.source()))
	}
	if old != nil {
		old.Release()
	}
}

// refuse spares the loader what it has refused, until it changes.
func (r *Registry) refuse(ctx context.Context, key string, f file, err error) {
	if isOwn(err) && ctx.Err() == nil {
		r.refused[key] = refusal{f.sighting(), err}
	}
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
		if r.catalog != nil {
			r.catalog.Note(p.Name, "info", fmt.Sprintf("no longer served: digest %.12s", p.Digest))
		}
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
			if r.catalog != nil && p.name != "" {
				r.catalog.Note(p.name, "error", p.String())
			}
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
			if p.name == name {
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
	r.recalling.Lock()
	defer r.recalling.Unlock()
	for _, p := range r.versions {
		p.Release()
	}
	r.versions = nil
}
