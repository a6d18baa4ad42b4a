//go:build linux

package supervise

import (
	"context"
	"fmt"
	"net"

	"github.com/towpath/towpath/store"
)

const portTries = 100

// choosePort keeps a port for a daemon: the wanted one if it is free, else one that is. The database keeps it from all
// other daemons of the machine; that nobody else has it is seen by taking it for a moment.
func (d *Daemons) choosePort(ctx context.Context, o store.Owner, wanted int, fixed bool) (int, error) {
	if wanted != 0 {
		err := takePort(wanted)
		if err == nil {
			var ours bool
			if ours, err = d.Store.DaemonPort(ctx, o, wanted); ours || err != nil {
				return wanted, err
			}
			err = fmt.Errorf("another daemon has it")
		}
		if fixed {
			return 0, fmt.Errorf("port %d is taken, and no other will do: %w", wanted, err)
		}
	}
	for range portTries {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		if takePort(port) != nil {
			continue
		}
		ours, err := d.Store.DaemonPort(ctx, o, port)
		if ours || err != nil {
			return port, err
		}
	}
	return 0, fmt.Errorf("no free port in %d tries", portTries)
}

// takePort fails when somebody listens on a port, on whatever address.
func takePort(port int) error {
	for _, host := range []string{"", "127.0.0.1"} {
		l, err := net.Listen("tcp", net.JoinHostPort(host, fmt.Sprint(port)))
		if err != nil {
			return err
		}
		l.Close()
	}
	return nil
}
