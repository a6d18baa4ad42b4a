//go:build !linux

package supervise

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/towpath/towpath/store"
)

// ErrStopping says that this node takes no more daemons.
var ErrStopping = errors.New("supervise: the node stops")

// ErrBusy says that a daemon's last child is just being put away.
var ErrBusy = errors.New("supervise: the daemon's last end is not recorded yet")

// DaemonConfig is what Daemons need.
type DaemonConfig struct {
	Store  *store.Store
	Node   store.Node
	TTL    time.Duration
	Dir    string
	Pooled bool
	Logger *slog.Logger
}

// Daemons are those of one node: there are none on this system.
type Daemons struct{}

// NewDaemons says that daemons are kept on Linux only.
func NewDaemons(DaemonConfig) (*Daemons, error) { return nil, supported() }

func (*Daemons) Told()                                           {}
func (*Daemons) Run(context.Context)                             {}
func (*Daemons) Start(context.Context, string, int, int64) error { return supported() }
func (*Daemons) Stop(context.Context) error                      { return nil }

func firstData(_ *os.File, after int64) (int64, error) { return after, nil }
