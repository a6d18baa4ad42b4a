package egress

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/towpath/towpath/hostabi"
)

const (
	dialTimeout = 15 * time.Second // all addresses of a name together
	dialShare   = 2 * time.Second  // the least that one of them gets
)

// Resolver looks names up; *net.Resolver is one. It must be safe for concurrent use.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// dialer connects to one origin.
type dialer struct {
	to       origin
	reach    reach
	resolver Resolver
}

// dial has the form of http.Transport's DialContext; the place is the dialer's own. It checks every address that
// the name has now, then dials those very addresses in order: the name is not looked up a second time.
func (d dialer) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	addrs, err := d.addresses(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if err := d.reach.check(a); err != nil {
			return nil, hostabi.Errorf(hostabi.EDENIED, "%s leads to %v", d.to, err)
		}
	}
	var first error
	for i, a := range addrs {
		conn, err := dialOne(ctx, a, d.to.port, len(addrs)-i)
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

func (d dialer) addresses(ctx context.Context) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(d.to.host); err == nil {
		return []netip.Addr{a}, nil
	}
	addrs, err := d.resolver.LookupNetIP(ctx, "ip", d.to.host)
	if err == nil && len(addrs) == 0 {
		err = hostabi.Errorf(hostabi.EIO, "%s has no address", d.to.host)
	}
	return addrs, err
}

// dialOne gives an address its share of the time that is left for it and those after it.
func dialOne(ctx context.Context, a netip.Addr, port uint16, left int) (net.Conn, error) {
	deadline, _ := ctx.Deadline()
	share := max(time.Until(deadline)/time.Duration(left), dialShare)
	ctx, cancel := context.WithTimeout(ctx, share)
	defer cancel()
	var d net.Dialer
	return d.DialContext(ctx, "tcp", net.JoinHostPort(a.Unmap().String(), strconv.Itoa(int(port))))
}
