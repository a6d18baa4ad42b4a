package egress

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/towpath/towpath/hostabi"
)

// places lists what a name may lead to, and who may go there.
var places = []struct {
	addr   string
	opens  string // "": everybody; "private": a private permit; "never"
	reason string
}{
	{"1.1.1.1", "", ""},
	{"9.255.255.255", "", ""},
	{"100.63.255.255", "", ""},
	{"100.128.0.0", "", ""},
	{"172.15.255.255", "", ""},
	{"172.32.0.0", "", ""},
	{"223.255.255.255", "", ""},
	{"2606:4700:4700::1111", "", ""},
	{"::ffff:1.1.1.1", "", ""},

	{"127.0.0.1", "private", "loopback"},
	{"127.255.255.254", "private", "loopback"},
	{"::1", "private", "loopback"},
	{"::ffff:127.0.0.1", "private", "loopback"},
	{"10.0.0.1", "private", "private"},
	{"172.16.0.1", "private", "private"},
	{"172.31.255.255", "private", "private"},
	{"192.168.1.1", "private", "private"},
	{"::ffff:192.168.1.1", "private", "private"},
	{"100.64.0.1", "private", "carrier-grade"},
	{"100.127.255.255", "private", "carrier-grade"},
	{"fc00::1", "private", "unique-local"},
	{"fdff::1", "private", "unique-local"},

	{"169.254.169.254", "never", "metadata"},
	{"::ffff:169.254.169.254", "never", "metadata"},
	{"fd00:ec2::254", "never", "metadata"},
	{"fd20:ce::254", "never", "metadata"},
	{"100.100.100.200", "never", "metadata"},
	{"168.63.129.16", "never", "metadata"},
	{"169.254.0.1", "never", "link-local"},
	{"fe80::1", "never", "link-local"},
	{"fe80::1%eth0", "never", "zone"},
	{"::1%lo", "never", "zone"},
	{"fec0::1", "never", "site-local"},
	{"0.0.0.0", "never", "unspecified"},
	{"0.1.2.3", "never", "unspecified"},
	{"::", "never", "unspecified"},
	{"::ffff:0.0.0.0", "never", "unspecified"},
	{"::127.0.0.1", "never", "IPv4-compatible"},
	{"::ffff:0:7f00:1", "never", "IPv4-translated"},
	{"64:ff9b::7f00:1", "never", "NAT64"},
	{"64:ff9b::a9fe:a9fe", "never", "NAT64"},
	{"64:ff9b:1::1", "never", "NAT64"},
	{"2002:7f00:1::1", "never", "6to4"},
	{"2002:a9fe:a9fe::", "never", "6to4"},
	{"192.88.99.1", "never", "6to4"},
	{"2001::1", "never", "Teredo"},
	{"2001:2::1", "never", "reserved"},
	{"2001:20::1", "never", "reserved"},
	{"2001:db8::1", "never", "documentation"},
	{"3fff::1", "never", "documentation"},
	{"192.0.2.1", "never", "documentation"},
	{"198.51.100.1", "never", "documentation"},
	{"203.0.113.1", "never", "documentation"},
	{"192.0.0.192", "never", "reserved"},
	{"198.18.0.1", "never", "benchmarking"},
	{"224.0.0.1", "never", "multicast"},
	{"239.255.255.255", "never", "multicast"},
	{"ff02::1", "never", "multicast"},
	{"240.0.0.1", "never", "reserved"},
	{"255.255.255.255", "never", "reserved"},
	{"100::1", "never", "reserved"},
	{"5f00::1", "never", "reserved"},
	{"4000::1", "never", "reserved"},
}

func TestWhereARouteMayGo(t *testing.T) {
	for _, p := range places {
		a := netip.MustParseAddr(p.addr)
		for _, c := range []struct {
			who   reach
			allow bool
		}{
			{reach{}, p.opens == ""},
			{reach{private: true}, p.opens != "never"},
			{reach{private: true, plain: true}, p.opens == "private"},
		} {
			err := c.who.check(a)
			if (err == nil) != c.allow {
				t.Errorf("%s for %+v: %v, want allowed = %v", p.addr, c.who, err, c.allow)
			}
			if err != nil && p.reason != "" && !strings.Contains(err.Error(), p.reason) {
				t.Errorf("%s: %q does not say %q", p.addr, err, p.reason)
			}
		}
	}
	if err := (reach{private: true}).check(netip.Addr{}); err == nil {
		t.Error("an address that is none is accepted")
	}
}

// The table again at the dialer: a permitted name that leads to a forbidden place, alone or behind a public address.
func TestDialerRefusesForbiddenAddresses(t *testing.T) {
	for _, p := range places {
		for _, who := range []reach{{}, {private: true}} {
			if p.opens == "" || p.opens == "private" && who.private {
				continue
			}
			for _, answer := range [][]string{{p.addr}, {"1.1.1.1", p.addr}, {p.addr, "1.1.1.1"}} {
				d := dialer{to: origin{"https", "service.test", 443}, reach: who, resolver: always(answer...)}
				conn, err := d.dial(t.Context(), "tcp", "1.1.1.1:443")
				if err == nil {
					conn.Close()
				}
				if msg := wantCode(t, err, hostabi.EDENIED); !strings.Contains(msg, p.reason) {
					t.Errorf("%v: %q does not say %q", answer, msg, p.reason)
				}
			}
		}
	}
}

// The same places written as addresses in the URL.
func TestDialerRefusesForbiddenLiterals(t *testing.T) {
	for _, p := range places {
		a := netip.MustParseAddr(p.addr)
		if p.opens == "" || a.Zone() != "" {
			continue
		}
		d := dialer{to: origin{"https", a.Unmap().String(), 443}, resolver: always()}
		_, err := d.dial(t.Context(), "tcp", "")
		wantCode(t, err, hostabi.EDENIED)
	}
}
