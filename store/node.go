package store

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Node is one start of one worker.
type Node struct {
	ID          string
	Incarnation uuid.UUID
}

// StartNode says that a node is there, and returns the deployment's secret seed for freezing plugins.
func (s *Store) StartNode(ctx context.Context, n Node, version, host string, pid int, queues []string) ([]byte, error) {
	return one(ctx, s, "start node", pgx.RowTo[[]byte], "select towpath.node_start($1, $2, $3, $4, $5, $6)", n.ID, n.Incarnation, version, host, pid, queues)
}

// StopNode says that a node leaves.
func (s *Store) StopNode(ctx context.Context, n Node) error {
	return exec(ctx, s, "stop node", "select towpath.node_stop($1, $2)", n.ID, n.Incarnation)
}

// LostNode says that a node has died and its processes are swept. It has no effect on one that holds its lock, or that
// still has leases somebody could take over.
func (s *Store) LostNode(ctx context.Context, n Node) error {
	return exec(ctx, s, "lost node", "select towpath.node_lost($1, $2)", n.ID, n.Incarnation)
}

// Hold takes the lock that says the node lives, for as long as the connection does. It is false while an earlier
// connection of the node still has it.
func Hold(ctx context.Context, c *pgx.Conn, n Node) (bool, error) {
	var held bool
	err := c.QueryRow(ctx, "select towpath.hold($1, $2)", n.ID, n.Incarnation).Scan(&held)
	return held, wrap("hold", err)
}

// What a watch found.
const (
	PeerAlive  = "alive"
	PeerLost   = "lost"   // it has died: sweep its incarnation
	PeerAlone  = "alone"  // there is no other node
	PeerSpared = "spared" // the server has just started, and says nothing of anybody
)

// Peer is what a watch found of the next node in the ring.
type Peer struct {
	State       string     `db:"state"`
	ID          *string    `db:"peer"`
	Incarnation *uuid.UUID `db:"incarnation"`
}

// Watch waits up to ten seconds for the next node in the ring to die.
func Watch(ctx context.Context, c *pgx.Conn, n Node, ttl time.Duration) (Peer, error) {
	rows, err := c.Query(ctx, "select * from towpath.watch($1, $2)", n.ID, ttl)
	if err != nil {
		return Peer{}, wrap("watch", err)
	}
	p, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Peer])
	return p, wrap("watch", err)
}

// Nudge ends the wait of the connection with the given server process id, so that it sees who has joined.
func (s *Store) Nudge(ctx context.Context, pid uint32) error {
	return exec(ctx, s, "nudge", "select towpath.nudge($1)", int32(pid))
}

// Connect makes a connection of its own, outside the pool but with its settings.
func (s *Store) Connect(ctx context.Context) (*pgx.Conn, error) {
	c, err := pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig)
	return c, wrap("connect", err)
}
