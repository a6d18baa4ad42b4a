package egress

import (
	"fmt"
	"net/netip"
)

// special is a range of addresses that are not plainly somewhere on the public internet.
type special struct {
	prefix  netip.Prefix
	what    string
	private bool // a private permit opens it
}

// specials is searched in order: a part stands before its whole.
var specials = []special{
	{netip.MustParsePrefix("169.254.169.254/32"), "a metadata service", false},
	{netip.MustParsePrefix("100.100.100.200/32"), "a metadata service", false},
	{netip.MustParsePrefix("168.63.129.16/32"), "a metadata service", false},
	{netip.MustParsePrefix("fd00:ec2::/32"), "a metadata service", false},
	{netip.MustParsePrefix("fd20:ce::254/128"), "a metadata service", false},

	{netip.MustParsePrefix("0.0.0.0/8"), "unspecified", false},
	{netip.MustParsePrefix("10.0.0.0/8"), "private", true},
	{netip.MustParsePrefix("100.64.0.0/10"), "shared (carrier-grade NAT)", true},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback", true},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local", false},
	{netip.MustParsePrefix("172.16.0.0/12"), "private", true},
	{netip.MustParsePrefix("192.0.0.0/24"), "reserved", false},
	{netip.MustParsePrefix("192.0.2.0/24"), "documentation", false},
	{netip.MustParsePrefix("192.88.99.0/24"), "a 6to4 relay", false},
	{netip.MustParsePrefix("192.168.0.0/16"), "private", true},
	{netip.MustParsePrefix("198.18.0.0/15"), "benchmarking", false},
	{netip.MustParsePrefix("198.51.100.0/24"), "documentation", false},
	{netip.MustParsePrefix("203.0.113.0/24"), "documentation", false},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast", false},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved", false},

	{netip.MustParsePrefix("::/128"), "unspecified", false},
	{netip.MustParsePrefix("::1/128"), "loopback", true},
	{netip.MustParsePrefix("::/96"), "IPv4-compatible", false},
	{netip.MustParsePrefix("::ffff:0:0:0/96"), "IPv4-translated", false},
	{netip.MustParsePrefix("64:ff9b::/96"), "NAT64", false},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "NAT64", false},
	{netip.MustParsePrefix("2001::/32"), "Teredo", false},
	{netip.MustParsePrefix("2001::/23"), "reserved", false},
	{netip.MustParsePrefix("2001:db8::/32"), "documentation", false},
	{netip.MustParsePrefix("2002::/16"), "6to4", false},
	{netip.MustParsePrefix("3fff::/20"), "documentation", false},
	{netip.MustParsePrefix("fc00::/7"), "unique-local", true},
	{netip.MustParsePrefix("fe80::/10"), "link-local", false},
	{netip.MustParsePrefix("fec0::/10"), "site-local", false},
	{netip.MustParsePrefix("ff00::/8"), "multicast", false},
}

var globalUnicast6 = netip.MustParsePrefix("2000::/3")

// reach says which addresses a route may dial.
type reach struct {
	private bool // also those that a private permit opens
	plain   bool // without TLS: only those that a private permit opens
}

// check refuses an address that the route must not dial. The error begins with the address.
func (r reach) check(a netip.Addr) error {
	if a.Zone() != "" {
		return fmt.Errorf("%s has a zone id, which is never permitted", a)
	}
	a = a.Unmap()
	for _, s := range specials {
		if !s.prefix.Contains(a) {
			continue
		}
		switch {
		case !s.private:
			return fmt.Errorf("%s is %s, which is never permitted", a, s.what)
		case !r.private:
			return fmt.Errorf("%s is %s: say private = true in its [[http]] permit if that is meant", a, s.what)
		}
		return nil
	}
	if !a.IsValid() || a.Is6() && !globalUnicast6.Contains(a) {
		return fmt.Errorf("%s is reserved, which is never permitted", a)
	}
	if r.plain {
		return fmt.Errorf("%s is public: plain http goes to private addresses only, use https", a)
	}
	return nil
}
