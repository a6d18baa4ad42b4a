package egress

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

const maxURL = 16 << 10 // bytes of a URL

// origin is where a request goes, in canonical form: equal places are equal values.
type origin struct {
	scheme string // "https" or "http"
	host   string // lower-case ASCII name, or an address without brackets
	port   uint16
}

// defaultPort of each scheme that is spoken here.
var defaultPort = map[string]uint16{"https": 443, "http": 80}

func (o origin) addr() string { return net.JoinHostPort(o.host, strconv.Itoa(int(o.port))) }

// authority is the host as a URL and a permit write it: with a port only where it is not the scheme's own.
func (o origin) authority() string {
	if o.port != defaultPort[o.scheme] {
		return o.addr()
	}
	if strings.Contains(o.host, ":") {
		return "[" + o.host + "]"
	}
	return o.host
}

func (o origin) String() string { return o.scheme + "://" + o.authority() }

// parseURL reads an absolute http or https URL. The returned URL's host is canonical.
func parseURL(raw string) (*url.URL, origin, error) {
	var none origin
	if len(raw) > maxURL {
		return nil, none, fmt.Errorf("longer than %d bytes", maxURL)
	}
	u, err := url.Parse(raw)
	if err != nil {
		// url.Error repeats the whole URL; its cause is enough.
		if cause := errors.Unwrap(err); cause != nil {
			err = cause
		}
		return nil, none, err
	}
	own, known := defaultPort[u.Scheme]
	switch {
	case !known:
		return nil, none, fmt.Errorf("scheme %q: only https is spoken, and http where a private permit says so", u.Scheme)
	case u.Opaque != "" || u.Host == "":
		return nil, none, errors.New("no host")
	case u.User != nil:
		return nil, none, errors.New("user and password in a URL are refused: use the header authorization")
	case strings.ContainsFunc(u.RawQuery, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return nil, none, errors.New("query holds a byte that must be percent-encoded")
	}
	o := origin{scheme: u.Scheme, port: own}
	name := u.Hostname()
	if o.host, err = canonicalHost(name); err != nil {
		return nil, none, fmt.Errorf("host %q: %w", name, err)
	}
	if strings.HasSuffix(u.Host, ":") {
		return nil, none, errors.New("empty port")
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != p {
			return nil, none, fmt.Errorf("port %q is not one of 1 to 65535", p)
		}
		o.port = uint16(n)
	}
	u.Host = o.authority()
	u.Fragment, u.RawFragment = "", ""
	return u, o, nil
}

// canonicalHost gives the one spelling of a host name or address that is looked up and dialled. Spellings that
// some resolvers read as an address and others as a name are refused.
func canonicalHost(name string) (string, error) {
	if strings.Contains(name, "%") {
		return "", errors.New("zone ids and escapes are refused")
	}
	if strings.Contains(name, ":") {
		a, err := netip.ParseAddr(name)
		if err != nil {
			return "", errors.New("not an IPv6 address")
		}
		return a.Unmap().String(), nil
	}
	// Lookup maps, folds and validates as browsers do. It is stricter than the names of private networks
	// (service_a), so plain ASCII takes the simple way.
	name = strings.ToLower(name)
	if strings.Contains(name, "xn--") || strings.ContainsFunc(name, func(r rune) bool { return r >= 0x80 }) {
		ascii, err := idna.Lookup.ToASCII(name)
		if err != nil {
			return "", errors.New("not a valid international name")
		}
		name = ascii
	}
	if strings.HasSuffix(name, ".") {
		return "", errors.New("a trailing dot is refused: leave it out")
	}
	if len(name) > 253 {
		return "", errors.New("longer than 253 bytes")
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if !validLabel(label) {
			return "", fmt.Errorf("%q is not a valid part of a name", label)
		}
	}
	if numeric(labels[len(labels)-1]) {
		a, err := netip.ParseAddr(name)
		if err != nil {
			return "", errors.New("write an IPv4 address as four decimal numbers")
		}
		return a.String(), nil
	}
	return name, nil
}

func validLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// numeric reports a last label that makes lenient parsers read the whole host as an IPv4 address: decimal,
// octal or hexadecimal.
func numeric(label string) bool {
	digits, set := label, "0123456789"
	if rest, ok := strings.CutPrefix(label, "0x"); ok {
		digits, set = rest, "0123456789abcdef"
	}
	return strings.Trim(digits, set) == ""
}
