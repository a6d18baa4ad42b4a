package profiles

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/worker/egress"
)

// Module is a loaded plugin, as the engine makes it. It is safe for concurrent use.
type Module interface {
	Digest() [32]byte   // SHA-256 of the file
	Snapshot() [32]byte // SHA-256 of the state that its turns begin with
	Manifest() hostabi.Manifest
	Run(ctx context.Context, host hostabi.Host) error
	Close(ctx context.Context) error
}

// Loader makes a Module of a file's bytes. Its errors reach a person and should name the fix.
type Loader func(ctx context.Context, wasm []byte, limits Limits) (Module, error)

// Vaults makes the vault of a profile's login.
type Vaults func(l egress.Login, profile string) egress.Vault

// Profile is a backend as it stood when a turn took it. Its fields do not change.
type Profile struct {
	Name     string
	Digest   string // of the module, hex
	Manifest hostabi.Manifest
	Permits  Permits
	Egress   *egress.Client
	Secrets  *egress.Secrets
	Module   Module

	file    file
	log     *slog.Logger
	mu      sync.Mutex
	holders int
}

// newProfile loads what was read. The error names the fix.
func newProfile(ctx context.Context, load Loader, f file, log *slog.Logger, vault Vaults) (*Profile, error) {
	permits, err := f.parse()
	if err != nil {
		return nil, err
	}
	client, secrets, err := permits.network()
	if err != nil {
		return nil, err
	}
	if permits.Login != nil && vault != nil {
		secrets.Keep(vault(*permits.Login, f.name))
	}
	module, err := load(ctx, f.wasm, permits.Limits)
	if err != nil {
		return nil, &loadError{err}
	}
	digest := module.Digest()
	f.wasm = nil // the module has its own
	return &Profile{
		Name: f.name, Digest: hex.EncodeToString(digest[:]), Manifest: module.Manifest(),
		Permits: permits, Egress: client, Secrets: secrets, Module: module,
		file: f, log: log, holders: 1,
	}, nil
}

// loadError is the module's own fault: the same bytes give it again.
type loadError struct{ error }

func (e *loadError) Unwrap() error { return e.error }

func isOwn(err error) bool {
	var own *loadError
	return errors.As(err, &own)
}

// source is where the module came from, for people.
func (p *Profile) source() string {
	if p.file.stored {
		return fromDatabase
	}
	return p.file.path
}

// Proc gives the permit for a command by its name in the operator's table.
func (p *Profile) Proc(name string) (Proc, error) {
	for _, c := range p.Permits.Proc {
		if c.Name == name {
			return c, nil
		}
	}
	return Proc{}, hostabi.Errorf(hostabi.EDENIED,
		`command %.64q is not permitted: add to the permit file: [[proc]] name = "…" command = "…" args = […]`, name)
}

// hold takes one more share of the profile.
func (p *Profile) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.holders++
}

// Release gives a share back that Get gave. The last one closes a profile that has been replaced or removed.
func (p *Profile) Release() {
	p.mu.Lock()
	p.holders--
	left := p.holders
	p.mu.Unlock()
	switch {
	case left < 0:
		panic(fmt.Sprintf("profiles: %s is released more often than it was got", p.Name))
	case left == 0:
		p.Egress.Close()
		if err := p.Module.Close(context.Background()); err != nil {
			p.log.Error("closing a module", "profile", p.Name, "digest", p.Digest, "error", err)
		}
	}
}

// ErrUnknownProfile says that no profile of that name is served here.
type ErrUnknownProfile struct {
	Name    string
	Known   []string // in order
	Problem error    // why its file is refused, if there is one
}

func (e *ErrUnknownProfile) Error() string {
	known := "none is loaded: put a .wasm file into the plugins folder"
	if len(e.Known) > 0 {
		known = "known are " + strings.Join(e.Known, ", ")
	}
	if e.Problem != nil {
		return fmt.Sprintf("profile %q is not served: %v", e.Name, e.Problem)
	}
	return fmt.Sprintf("unknown profile %.64q: %s", e.Name, known)
}

func (e *ErrUnknownProfile) Unwrap() error { return e.Problem }

// Load makes a profile of a module and a permit text, outside of any registry; give it back with Release. from names the
// text in errors, "" when there is none.
func Load(ctx context.Context, load Loader, name string, wasm []byte, from string, permits []byte) (*Profile, error) {
	if !profileName.MatchString(name) {
		return nil, errName
	}
	f := file{name: name, path: name + wasmSuffix, wasm: wasm, toml: permits, permitsFrom: from}
	return newProfile(ctx, load, f, slog.Default(), nil)
}
