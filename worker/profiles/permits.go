package profiles

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/towpath/towpath/worker/egress"
)

const maxPermitFile = 256 << 10 // bytes

// Permits is what an operator allows a profile. The zero value allows nothing, but has no limits: see DefaultLimits.
type Permits struct {
	HTTP    []HTTP
	Proc    []Proc
	Secrets map[string]egress.Source
	Login   *egress.Login // where secrets with a login come from; nil: nowhere
	Limits  Limits
	Config  json.RawMessage // an object, for the guest
}

// HTTP permits one host.
type HTTP struct {
	egress.Permit
	RootsFile string // PEM, read when the profile is loaded; empty: the system's roots alone
}

// rawPermits is a permit file as it is written.
type rawPermits struct {
	HTTP    []rawHTTP            `toml:"http"`
	Proc    []rawProc            `toml:"proc"`
	Secrets map[string]rawSource `toml:"secrets"`
	Login   *rawLogin            `toml:"login"`
	Limits  rawLimits            `toml:"limits"`
	Config  map[string]any       `toml:"config"`
}

type rawHTTP struct {
	Host       string   `toml:"host"`
	Methods    []string `toml:"methods"`
	Secrets    []string `toml:"secrets"`
	Private    bool     `toml:"private"`
	ResponseMB int64    `toml:"response_mb"`
	Timeout    string   `toml:"timeout"`
	Idle       string   `toml:"idle"`
	Roots      string   `toml:"roots"`
}

type rawProc struct {
	Name    string           `toml:"name"`
	Command string           `toml:"command"`
	Args    []string         `toml:"args"`
	Secrets []string         `toml:"secrets"`
	Broker  *egress.Brokered `toml:"broker"`
}

type rawSource struct {
	Env     string   `toml:"env"`
	File    string   `toml:"file"`
	Command []string `toml:"command"`
	Login   string   `toml:"login"`
}

type rawLogin struct {
	Issuer   string `toml:"issuer"`
	ClientID string `toml:"client_id"`
	Private  bool   `toml:"private"`
}

// ParsePermits reads a permit file; name is for messages. It looks at the text alone: commands and root
// certificates are looked up when a profile is loaded, secrets when they are used.
func ParsePermits(name string, text []byte) (Permits, error) {
	p, err := parsePermits(text)
	if err != nil {
		return Permits{}, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

func parsePermits(text []byte) (Permits, error) {
	switch {
	case len(text) > maxPermitFile:
		return Permits{}, fmt.Errorf("over %d bytes", maxPermitFile)
	case !utf8.Valid(text):
		return Permits{}, errors.New("not UTF-8")
	}
	var raw rawPermits
	if err := decodeStrictly(text, &raw); err != nil {
		return Permits{}, err
	}
	p := Permits{Secrets: make(map[string]egress.Source), Config: json.RawMessage("{}")}
	for name, s := range raw.Secrets {
		p.Secrets[name] = egress.Source(s)
		if s.Login != "" && raw.Login == nil {
			return Permits{}, fmt.Errorf("secret %s is of a login: add [login] with issuer and client_id", name)
		}
	}
	if raw.Login != nil {
		l := egress.Login(*raw.Login)
		if err := l.Check(); err != nil {
			return Permits{}, fmt.Errorf("login: %w", err)
		}
		p.Login = &l
	}
	for i, h := range raw.HTTP {
		one, err := h.permit()
		if err != nil {
			return Permits{}, fmt.Errorf("http %d (host %q): %w", i+1, h.Host, err)
		}
		p.HTTP = append(p.HTTP, one)
	}
	for i, c := range raw.Proc {
		if err := c.check(p); err != nil {
			return Permits{}, fmt.Errorf("proc %d (name %q): %w", i+1, c.Name, err)
		}
		p.Proc = append(p.Proc, Proc(c))
	}
	var err error
	if p.Limits, err = raw.Limits.limits(); err != nil {
		return Permits{}, err
	}
	if raw.Config != nil {
		if p.Config, err = json.Marshal(raw.Config); err != nil {
			return Permits{}, fmt.Errorf("config: %w", err)
		}
	}
	// The network's rules are the network's: what it refuses is refused here, with the file still in hand.
	client, _, err := p.network()
	if err != nil {
		return Permits{}, err
	}
	defer client.Close()
	for i, c := range p.Proc {
		if c.Broker == nil {
			continue
		}
		if err := client.CheckBroker(*c.Broker); err != nil {
			return Permits{}, fmt.Errorf("proc %d (name %q): %w", i+1, c.Name, err)
		}
	}
	return p, nil
}

func (h rawHTTP) permit() (HTTP, error) {
	one := HTTP{RootsFile: h.Roots, Permit: egress.Permit{
		Host: h.Host, Methods: h.Methods, Secrets: h.Secrets, Private: h.Private, MaxResponse: h.ResponseMB * mb,
	}}
	if h.ResponseMB < 0 || h.ResponseMB > 1<<20 {
		return HTTP{}, fmt.Errorf("response_mb: %d is out of range: write a number from 1 to %d, or 0 for the default", h.ResponseMB, 1<<20)
	}
	if h.Roots != "" && !filepath.IsAbs(h.Roots) {
		return HTTP{}, fmt.Errorf("roots: %q is not an absolute path", h.Roots)
	}
	for _, t := range []struct {
		key, text string
		to        *time.Duration
	}{{"timeout", h.Timeout, &one.Timeout}, {"idle", h.Idle, &one.Idle}} {
		if t.text == "" {
			continue
		}
		d, err := time.ParseDuration(t.text)
		if err != nil || d < time.Millisecond || d > 7*24*time.Hour {
			return HTTP{}, fmt.Errorf(`%s: %q is out of range: write a time from "1ms" to "168h"`, t.key, t.text)
		}
		*t.to = d
	}
	return one, nil
}

var procName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// check refuses a command that cannot be meant, given those before it.
func (c rawProc) check(p Permits) error {
	switch {
	case !procName.MatchString(c.Name):
		return errors.New("a name is lower-case letters, digits, dots, dashes and underscores, at most 63")
	case c.Command == "":
		return errors.New("command is missing")
	case strings.Contains(c.Command, "/") && !filepath.IsAbs(c.Command):
		return fmt.Errorf("command: write an absolute path, or a name to look up in PATH, not %q", c.Command)
	}
	for _, before := range p.Proc {
		if before.Name == c.Name {
			return errors.New("the name is permitted twice: give one of them another name")
		}
	}
	for _, name := range c.Secrets {
		if _, ok := p.Secrets[name]; !ok {
			return fmt.Errorf("secret %s has no source: add [secrets.%s]", name, name)
		}
	}
	return nil
}

// network makes the client and the secrets of the permits.
func (p Permits) network() (*egress.Client, *egress.Secrets, error) {
	secrets, err := egress.NewSecrets(p.Secrets)
	if err != nil {
		return nil, nil, err
	}
	cfg := egress.Config{Secrets: secrets}
	for _, h := range p.HTTP {
		cfg.Permits = append(cfg.Permits, h.Permit)
	}
	client, err := egress.New(cfg)
	return client, secrets, err
}

// locate gives the permits with what this machine has to add: paths of commands, root certificates.
func (p Permits) locate() (Permits, error) {
	p.Proc = append([]Proc(nil), p.Proc...)
	for i := range p.Proc {
		if err := p.Proc[i].locate(); err != nil {
			return p, err
		}
	}
	p.HTTP = append([]HTTP(nil), p.HTTP...)
	for i := range p.HTTP {
		h := &p.HTTP[i]
		if h.RootsFile == "" {
			continue
		}
		pem, err := os.ReadFile(h.RootsFile)
		if err != nil {
			return p, fmt.Errorf("http (host %q): roots: %w", h.Host, err)
		}
		h.Roots = pem
	}
	return p, nil
}
