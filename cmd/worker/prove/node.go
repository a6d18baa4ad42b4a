package prove

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"

	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker"
	"github.com/towpath/towpath/worker/turn"
)

// NodeCommand is the hidden subcommand that runs a node for the harness.
const NodeCommand = "prove-node"

// Arm says where a node shall block: at the nth point of a turn with this name and, unless Op is empty, this call.
type Arm struct {
	Process, Name, Op string
	N                 int
}

// order is what the harness tells a node. Every order is acknowledged.
type order struct {
	Arm    *Arm `json:",omitempty"`
	Disarm bool `json:",omitempty"` // all turns
	Go     bool `json:",omitempty"` // whoever is blocked goes on
}

// report is what a node tells the harness.
type report struct {
	Ready bool        `json:",omitempty"`
	Done  bool        `json:",omitempty"` // an order is carried out
	Hit   bool        `json:",omitempty"` // blocked at Point
	Point *turn.Point `json:",omitempty"` // a turn has come here
}

// NodeConfig of RunNode.
type NodeConfig struct {
	DatabaseURL, NodeID, Plugins, Cache string
	Logger                              *slog.Logger
}

// channel is the inherited end of the harness's socket.
const channel = 3

var errAlone = errors.New("this command is a part of `worker prove`, which starts it")

// RunNode runs a node that obeys a harness over the socket it has inherited. Without one it refuses.
func RunNode(ctx context.Context, cfg NodeConfig) error {
	if _, err := syscall.Getpeername(channel); err != nil {
		return errAlone // and the descriptor is somebody else's
	}
	file := os.NewFile(channel, "harness")
	conn, err := net.FileConn(file)
	if err != nil {
		return errAlone
	}
	_ = file.Close() // conn has its own
	defer conn.Close()
	b := &breaker{out: json.NewEncoder(conn), armed: map[string]Arm{}, passed: map[string]int{}, proceed: make(chan struct{})}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		defer stop() // the harness is gone
		_ = b.obey(json.NewDecoder(conn))
	}()

	pool, err := store.Open(ctx, cfg.DatabaseURL, false)
	if err != nil {
		return err
	}
	defer pool.Close()
	return worker.Run(ctx, worker.Config{
		Pool: pool, NodeID: cfg.NodeID, Plugins: cfg.Plugins, Cache: cfg.Cache, LeaseTTL: LeaseTTL, Logger: cfg.Logger,
		Ready: func() { b.tell(report{Ready: true}) },
		Turns: func(c *turn.Config) { c.Fault = b.fault },
	})
}

// breaker blocks turns where the harness wants it.
type breaker struct {
	mu      sync.Mutex
	out     *json.Encoder
	armed   map[string]Arm
	passed  map[string]int // hits of the armed point so far
	proceed chan struct{}  // closed and replaced to let go
}

func (b *breaker) tell(r report) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = b.out.Encode(r) // a harness that is gone ends the node by itself
}

func (b *breaker) obey(in *json.Decoder) error {
	for {
		var o order
		if err := in.Decode(&o); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("order of the harness: %w", err)
		}
		b.mu.Lock()
		if o.Arm != nil {
			b.armed[o.Arm.Process] = *o.Arm
			delete(b.passed, o.Arm.Process)
		}
		if o.Disarm {
			clear(b.armed)
		}
		if o.Go {
			close(b.proceed)
			b.proceed = make(chan struct{})
		}
		_ = b.out.Encode(report{Done: true})
		b.mu.Unlock()
	}
}

// fault is the hook of package turn.
func (b *breaker) fault(p turn.Point) {
	b.mu.Lock()
	arm, armed := b.armed[p.Process]
	hit := armed && arm.Name == p.Name && (arm.Op == "" || arm.Op == p.Op)
	if hit {
		b.passed[p.Process]++
		if hit = b.passed[p.Process] == arm.N; hit {
			delete(b.armed, p.Process)
		}
	}
	proceed := b.proceed
	_ = b.out.Encode(report{Point: &p, Hit: hit})
	b.mu.Unlock()
	if hit {
		<-proceed
	}
}
