package egress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	minSecret      = 8        // bytes; a shorter value cannot be told from ordinary text
	maxSecret      = 16 << 10 // bytes
	keptValues     = 8        // per secret that rotates: how many earlier values are still scrubbed
	commandTimeout = 10 * time.Second
	commandTTL     = 5 * time.Minute
)

var secretName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

func validSecretName(s string) bool { return secretName.MatchString(s) }

// Source says where a secret's value comes from: exactly one of its fields.
type Source struct {
	Env     string   // an environment variable of the worker, read once
	File    string   // a file's content without its last line end, read again when the file changes
	Command []string // a program's output likewise, without a shell; run again after five minutes
	Login   string   // a field of the profile's login, see Vault
}

func (s Source) check() error {
	n := 0
	for _, given := range []bool{s.Env != "", s.File != "", len(s.Command) > 0, s.Login != ""} {
		if given {
			n++
		}
	}
	if n != 1 {
		return errors.New("name exactly one source: env, file, command or login")
	}
	if len(s.Command) > 0 && s.Command[0] == "" {
		return errors.New("command has no program")
	}
	if s.Login != "" && s.Login != LoginToken && s.Login != LoginAccount {
		return fmt.Errorf("login %.64q: write %s or %s", s.Login, LoginToken, LoginAccount)
	}
	return nil
}

// Secrets holds the secrets of one profile. Its zero value holds none. Values appear in no error and in no printed
// form. It is safe for concurrent use.
type Secrets struct {
	entries map[string]*entry
	vault   Vault // of the profile's login; nil: none is kept

	mu      sync.Mutex // guards seen
	seen    map[string][]string
	matcher atomic.Pointer[matcher]
}

// entry is one secret. turn has room for one: who holds it may read and refresh the rest.
type entry struct {
	source  Source
	turn    chan struct{}
	value   string
	loaded  bool
	stamp   stamp     // of a file
	expires time.Time // of a command's output, or of a login's field
}

// stamp tells a changed file.
type stamp struct {
	modified time.Time
	size     int64
	inode    uint64
}

// NewSecrets checks the sources; it reads none of them.
func NewSecrets(sources map[string]Source) (*Secrets, error) {
	s := &Secrets{entries: make(map[string]*entry), seen: make(map[string][]string)}
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		if !validSecretName(name) {
			return nil, fmt.Errorf("secret %q: a name is letters, digits and underscores, at most 64", name)
		}
		if err := sources[name].check(); err != nil {
			return nil, fmt.Errorf("secret %s: %w", name, err)
		}
		s.entries[name] = &entry{source: sources[name], turn: make(chan struct{}, 1)}
	}
	return s, nil
}

// Has reports whether a secret of that name has a source.
func (s *Secrets) Has(name string) bool { return s.entries[name] != nil }

// Names gives the names in order.
func (s *Secrets) Names() []string { return slices.Sorted(maps.Keys(s.entries)) }

// String gives the names only.
func (s *Secrets) String() string { return fmt.Sprintf("secrets%v", s.Names()) }

// Format gives the names only, whatever the verb: fmt walks into what has no method for a verb.
func (s *Secrets) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// Value gives a secret's present value. It may run the source's command, for at most ten seconds. From then on
// the value is scrubbed by every new Scrubber.
func (s *Secrets) Value(ctx context.Context, name string) (string, error) {
	e := s.entries[name]
	if e == nil {
		return "", fmt.Errorf("secret %s has no source: add [secrets.%s]", name, name)
	}
	if err := e.enter(ctx); err != nil {
		return "", err
	}
	defer e.leave()
	before, had := e.value, e.loaded
	if err := e.refresh(ctx, s.vault); err != nil {
		return "", fmt.Errorf("secret %s: %w", name, err)
	}
	if !had || e.value != before {
		s.remember(name, e.value)
	}
	return e.value, nil
}

func (e *entry) enter(ctx context.Context) error {
	select {
	case e.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (e *entry) leave() { <-e.turn }

// remember makes the value one that is scrubbed.
func (s *Secrets) remember(name, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	values := append(slices.DeleteFunc(s.seen[name], func(v string) bool { return v == value }), value)
	s.seen[name] = values[max(0, len(values)-keptValues):]
	s.matcher.Store(newMatcher(s.seen))
}

// Scrubber makes a Scrubber for one stream, of all values that Value has given so far.
func (s *Secrets) Scrubber() *Scrubber { return &Scrubber{matcher: s.matcher.Load()} }

// ScrubberWith is Scrubber for a stream that may hold one more value.
func (s *Secrets) ScrubberWith(name, value string) *Scrubber {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := maps.Clone(s.seen)
	if all == nil {
		all = map[string][]string{}
	}
	all[name] = []string{value}
	return &Scrubber{matcher: newMatcher(all)}
}

// Redact scrubs bytes that are whole by themselves. The result may alias p.
func (s *Secrets) Redact(p []byte) []byte { return s.Scrubber().Scrub(p, true) }

// refresh reads the source unless what is known of it is fresh. A source that fails yields no value: the one before
// may have been revoked.
func (e *entry) refresh(ctx context.Context, vault Vault) error {
	fresh, err := e.fresh()
	if err != nil || fresh {
		return err
	}
	e.loaded, e.value = false, ""
	raw, err := e.read(ctx, vault)
	if err != nil {
		return err
	}
	raw = bytes.TrimRight(raw, "\r\n")
	if err := checkLength(len(raw)); err != nil {
		return err
	}
	e.loaded, e.value = true, string(raw)
	return nil
}

func (e *entry) fresh() (bool, error) {
	switch {
	case e.source.Env != "":
		return e.loaded, nil
	case e.source.File != "":
		now, err := stampOf(e.source.File)
		same := e.loaded && now == e.stamp
		e.stamp = now
		return same, err
	default:
		return e.loaded && time.Now().Before(e.expires), nil
	}
}

func (e *entry) read(ctx context.Context, vault Vault) ([]byte, error) {
	switch {
	case e.source.Login != "":
		value, until, err := vault.value(ctx, e.source.Login, "")
		e.expires = until
		return []byte(value), err
	case e.source.Env != "":
		v, ok := os.LookupEnv(e.source.Env)
		if !ok {
			return nil, fmt.Errorf("environment variable %s is not set", e.source.Env)
		}
		return []byte(v), nil
	case e.source.File != "":
		f, err := os.Open(e.source.File)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return io.ReadAll(io.LimitReader(f, maxSecret+2))
	default:
		e.expires = time.Now().Add(commandTTL)
		return output(ctx, e.source.Command)
	}
}

func checkLength(n int) error {
	switch {
	case n == 0:
		return errors.New("its value is empty")
	case n < minSecret:
		return fmt.Errorf("its value is shorter than %d bytes, too short to be scrubbed from ordinary text", minSecret)
	case n > maxSecret:
		return fmt.Errorf("its value is over %d bytes", maxSecret)
	}
	return nil
}

func stampOf(file string) (stamp, error) {
	info, err := os.Stat(file)
	if err != nil {
		return stamp{}, err
	}
	if !info.Mode().IsRegular() {
		return stamp{}, fmt.Errorf("%s is not a regular file", file)
	}
	st := stamp{modified: info.ModTime(), size: info.Size()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		st.inode = sys.Ino
	}
	return st, nil
}

// output gives a program's standard output. Its standard error is dropped: nobody can say what it holds.
func output(ctx context.Context, argv []string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, commandTimeout,
		fmt.Errorf("command %s took longer than %v", argv[0], commandTimeout))
	defer cancel()
	var out limitedBuffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout = &out
	// The whole group goes, so that a child of the program cannot keep its output open.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, fmt.Errorf("command %s: %s", argv[0], strings.TrimPrefix(err.Error(), "exec: "))
	}
	return out.b, nil
}

// limitedBuffer keeps a little more than a secret can be, and drops the rest.
type limitedBuffer struct{ b []byte }

func (l *limitedBuffer) Write(p []byte) (int, error) {
	l.b = append(l.b, p[:min(len(p), maxSecret+2-len(l.b))]...)
	return len(p), nil
}
