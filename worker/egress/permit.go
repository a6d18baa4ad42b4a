package egress

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Limits of a permit that names none.
const (
	DefaultMaxResponse = 64 << 20         // bytes of one response body
	DefaultTimeout     = 10 * time.Minute // a whole exchange
	DefaultIdle        = 5 * time.Minute  // without a byte from the server
)

// Permit is what the operator allows towards one host.
type Permit struct {
	// Host is a name or address, with `:port` where it is not the scheme's own. It means https, and for a
	// private permit also http; with `https://` or `http://` before it, that alone.
	Host    string
	Methods []string // at least one, upper case
	Secrets []string // names that may be filled into headers towards this host
	// Private opens loopback, private, shared and unique-local addresses, and plain http to those.
	Private bool

	MaxResponse int64         // bytes of a response body; 0 means DefaultMaxResponse
	Timeout     time.Duration // whole exchange; 0 means DefaultTimeout
	Idle        time.Duration // without a byte from the server; 0 means DefaultIdle
	Roots       []byte        // PEM certificates trusted beside the system's
}

// methods that a permit may name. CONNECT and TRACE would reach past the server that was permitted.
var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

// origins gives the places that the permit opens.
func (p Permit) origins() ([]origin, error) {
	text, bare := p.Host, !strings.Contains(p.Host, "://")
	if bare {
		text = "https://" + text
	}
	u, o, err := parseURL(text)
	switch {
	case err != nil:
		return nil, err
	case u.Path != "" || u.RawQuery != "" || strings.ContainsAny(text, "?#"):
		return nil, errors.New("write a host or host:port, without a path")
	case o.scheme == "http" && !p.Private:
		return nil, errors.New("plain http needs private = true")
	}
	all := []origin{o}
	if bare && p.Private {
		plain := o
		plain.scheme = "http"
		if u.Port() == "" {
			plain.port = defaultPort["http"]
		}
		all = append(all, plain)
	}
	return all, nil
}

// check refuses a permit that cannot be meant, and fills in its defaults.
func (p *Permit) check(secrets *Secrets) error {
	if len(p.Methods) == 0 {
		return errors.New(`no methods: name at least one, as in methods = ["POST"]`)
	}
	for _, m := range p.Methods {
		if !slices.Contains(methods, m) {
			return fmt.Errorf("method %q: known are %s", m, strings.Join(methods, ", "))
		}
	}
	for _, name := range p.Secrets {
		if !secrets.Has(name) {
			return fmt.Errorf("secret %s has no source: add [secrets.%s]", name, name)
		}
	}
	if p.MaxResponse < 0 || p.Timeout < 0 || p.Idle < 0 {
		return errors.New("a negative limit")
	}
	if p.MaxResponse == 0 {
		p.MaxResponse = DefaultMaxResponse
	}
	if p.Timeout == 0 {
		p.Timeout = DefaultTimeout
	}
	if p.Idle == 0 {
		p.Idle = DefaultIdle
	}
	return nil
}

// pool gives the roots to verify servers with; nil means the system's.
func (p *Permit) pool() (*x509.CertPool, error) {
	if len(p.Roots) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(p.Roots) {
		return nil, errors.New("roots hold no PEM certificate")
	}
	return pool, nil
}
