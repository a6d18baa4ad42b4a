package queue

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
)

// Config of a [Client].
type Config struct {
	// Pool is used for everything when Pooled is set; else River's own statements have up to riverConns connections of their
	// own, made as these are, one of which goes away for LISTEN.
	Pool *pgxpool.Pool
	// Schema holds River's tables. Default: public.
	Schema string
	// Queues to work. Default: all.
	Queues []string
	// Concurrency is how many jobs of a queue run at once here. Default: turns 100, lifecycle 20, gc 2.
	Concurrency map[string]int
	// NodeID names this node in job rows. Unique among running nodes, at most 100 characters.
	NodeID string
	// Pooled says that connections go through a transaction pooler: no LISTEN, jobs are found by polling.
	Pooled bool
	// Logger gets the node's log. Default: slog.Default().
	Logger *slog.Logger
	// SoftStop is how long jobs may go on by themselves once the client stops. Default: 10 s.
	SoftStop time.Duration
	// GCEvery is how often a gc job is inserted. Default: 5 minutes.
	GCEvery time.Duration
	// Handlers by kind. A job of a kind that has none is cancelled, saying so.
	Handlers map[Kind]Handler
	// Observe, if set, is told of each delivery once its handler has ended. Many call it at once.
	Observe func(Done)
}

// pace of a queue: how soon after a fetch the next may follow, and how often it is done unasked, see the package comment.
type pace struct {
	workers        int
	cooldown       time.Duration
	poll, pollOnly time.Duration
}

var paces = map[string]pace{
	Turns:     {100, 5 * time.Millisecond, 2 * time.Second, 2 * time.Second},
	Lifecycle: {20, 5 * time.Millisecond, 2 * time.Second, 10 * time.Second},
	Upkeep:    {2, 100 * time.Millisecond, 10 * time.Second, 30 * time.Second},
}

// riverConns is how many connections River needs beside those of the handlers.
const riverConns = 4

// rescueAfter is longer than the time limit of the kinds that must not wait long.
const rescueAfter = 90 * time.Second

// Client works this node's queues, and takes part in the election of the leader, which does the upkeep of all queues:
// due jobs, periodic jobs, rescue, deletion of finished rows.
type Client struct {
	config Config
	pool   *pgxpool.Pool // River's
	river  *river.Client[pgx.Tx]
	deaf   func() // ends follow
}

// New checks the configuration. It does not touch the database.
func New(config Config) (*Client, error) {
	c := &Client{config: config}
	c.config.Schema = cmp.Or(config.Schema, "public")
	c.config.SoftStop = cmp.Or(config.SoftStop, 10*time.Second)
	if c.config.Logger == nil {
		c.config.Logger = slog.Default()
	}
	queues, err := c.queues()
	if err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	workers, err := c.workers()
	if err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	if c.pool, err = c.riverPool(); err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	c.river, err = river.NewClient(riverpgxv5.New(c.pool), &river.Config{
		ID:                   config.NodeID,
		Schema:               c.config.Schema,
		Queues:               queues,
		Workers:              workers,
		PeriodicJobs:         schedule(config.Handlers, cmp.Or(config.GCEvery, 5*time.Minute)),
		PollOnly:             config.Pooled,
		Logger:               slog.New(quiet{c.config.Logger.Handler()}),
		RescueStuckJobsAfter: rescueAfter,
		SoftStopTimeout:      c.config.SoftStop,
		Middleware:           []rivertype.Middleware{rowLog()},
	})
	if err != nil {
		c.closePool()
		return nil, fmt.Errorf("queue: %w", err)
	}
	return c, nil
}

// riverPool makes the pool of River's own statements, whose commits do not wait for the server's log: a job is a message.
// What a crash of the server takes back (that a job was fetched or has ended, or is there, for a periodic one) is told again,
// as after a crash of the node; and a turn's claim, which comes after the fetch, waits for the log of both.
func (c *Client) riverPool() (*pgxpool.Pool, error) {
	if c.config.Pool == nil || c.config.Pooled { // a pooler of transactions keeps no settings
		return c.config.Pool, nil
	}
	cfg := c.config.Pool.Config()
	made := cfg.AfterConnect
	cfg.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		if made != nil {
			if err := made(ctx, c); err != nil {
				return err
			}
		}
		_, err := c.Exec(ctx, "set synchronous_commit = off") // no startup parameter: a pooler in session mode refuses those that it does not know
		return err
	}
	cfg.MinConns, cfg.MinIdleConns, cfg.MaxConns = 0, 0, riverConns
	return pgxpool.NewWithConfig(context.Background(), cfg)
}

func (c *Client) closePool() {
	if c.pool != c.config.Pool {
		c.pool.Close()
	}
}

func (c *Client) queues() (map[string]river.QueueConfig, error) {
	names := c.config.Queues
	if len(names) == 0 {
		names = Queues()
	}
	queues := map[string]river.QueueConfig{}
	for _, name := range names {
		p, ok := paces[name]
		if !ok {
			return nil, fmt.Errorf("no queue %q; queues are %s", name, strings.Join(Queues(), ", "))
		}
		poll := p.poll
		if c.config.Pooled {
			poll = p.pollOnly
		}
		queues[name] = river.QueueConfig{
			MaxWorkers:        cmp.Or(c.config.Concurrency[name], p.workers),
			FetchCooldown:     p.cooldown,
			FetchPollInterval: poll,
		}
	}
	return queues, nil
}

func (c *Client) workers() (*river.Workers, error) {
	for kind := range c.config.Handlers {
		if !slices.Contains(Kinds(), kind) {
			return nil, fmt.Errorf("handler for unknown kind %q; kinds are %s", kind, strings.Join(kindNames(), ", "))
		}
	}
	workers := river.NewWorkers()
	for _, t := range traits {
		handle := c.config.Handlers[t.kind]
		if handle == nil {
			handle = missing(t.kind)
		}
		if t.kind == Sweep {
			handle = c.forgetting(handle)
		}
		river.AddWorkerArgs(workers, args{t.kind}, &worker{trait: t, handle: handle, log: c.config.Logger, seen: c.config.Observe})
	}
	return workers, nil
}

// Start begins to work. ctx is for the start alone: use [Client.Stop] to stop.
func (c *Client) Start(ctx context.Context) error {
	err := c.config.Pool.Ping(ctx)
	if err == nil {
		c.deaf = c.follow()
		if err = c.river.Start(context.WithoutCancel(ctx)); err != nil {
			c.deaf()
		}
	}
	if err != nil {
		c.closePool()
		return fmt.Errorf("queue: start: %w", err)
	}
	return nil
}

// Stop takes no more jobs, lets running ones end by themselves for Config.SoftStop, then cancels their contexts with
// [ErrStopping], and returns when all have ended and their outcome is stored. When ctx ends first it returns that error,
// and leaves them running.
func (c *Client) Stop(ctx context.Context) error {
	if err := c.river.Stop(ctx); err != nil {
		return fmt.Errorf("queue: stop: jobs are still running: %w", err)
	}
	c.deaf()
	c.closePool()
	return nil
}
