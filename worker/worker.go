package worker

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/engine"
	"github.com/towpath/towpath/queue"
	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker/egress"
	"github.com/towpath/towpath/worker/login"
	"github.com/towpath/towpath/worker/monitor"
	"github.com/towpath/towpath/worker/profiles"
	"github.com/towpath/towpath/worker/storage"
	"github.com/towpath/towpath/worker/trace"
	"github.com/towpath/towpath/worker/turn"
)

// Config of a node.
type Config struct {
	// Pool reaches the migrated database. It stays the caller's.
	Pool *pgxpool.Pool
	// RiverSchema holds River's tables. Default: public.
	RiverSchema string
	// Queues to work. Default: all.
	Queues []string
	// Pooled says that connections go through a transaction pooler: no LISTEN.
	Pooled bool
	// NodeID is the node's name, unique among running nodes. Default: the machine's name and the process id.
	NodeID string
	// Version of the binary, for the node's row.
	Version string
	// Plugins is the folder of modules and their permit files, which is watched. Default: none, and only the modules in
	// the database are served.
	Plugins string
	// UpgradeCheck is how many of a profile's last turns a file that replaces its module is run on first, from their
	// journals; one that does something else is refused. Default: none.
	UpgradeCheck int
	// Daemons is the folder of the logs and PID files of daemons, shared by the workers of a machine. Default: none, and no
	// daemon can run here.
	Daemons string
	// Seal opens what logins ended with. Default: profiles cannot use logins.
	Seal *store.Sealer
	// Cache keeps compiled modules, 0700. Default: a temporary folder.
	Cache string
	// Storage is the root of the sessions' directories. Default: none, and children work in folders that go with them.
	Storage *storage.Root
	// Claims is where sessions that ask for it get a volume of a cluster. Default: none.
	Claims storage.Place
	// GCEvery is how often what nobody needs any more is collected. Default: 5 minutes.
	GCEvery time.Duration
	// LeaseTTL is how long a node may be silent before others take its turns. Default: 30 s.
	LeaseTTL time.Duration
	// SoftStop is how long running turns may go on by themselves once the node stops. Default: 10 s.
	SoftStop time.Duration
	// HardStop bounds what comes after SoftStop. Default: 10 s.
	HardStop time.Duration
	// TurnConcurrency is how many turns run here at once. Default: 100.
	TurnConcurrency int
	// MemoryBudget is for the linear memories of all guests, in bytes. Default: the machine's memory.
	MemoryBudget int64
	// Monitor is where /metrics, /healthz and /readyz are answered: HOST:PORT, or a port of loopback. Default: nowhere.
	Monitor string
	// Tracer records spans of turns and of other jobs. Default: none.
	Tracer *trace.Tracer
	// Logger gets the node's log. Default: slog.Default().
	Logger *slog.Logger
	// Ready, if set, is called once the node takes jobs.
	Ready func()
	// Turns, if set, may change how turns are executed. For a harness or a benchmark.
	Turns func(*turn.Config)
}

// sweepBatch is how many processes one sweep job repairs at most; the rest waits for the next one.
const sweepBatch = 1000

// Run works until ctx ends and then stops as the package comment says. It returns nil after a clean stop.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.NodeID == "" {
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("worker: name this node: %w", err)
		}
		cfg.NodeID = fmt.Sprintf("%s-%d", name, os.Getpid())
	}
	cfg.LeaseTTL = cmp.Or(cfg.LeaseTTL, 30*time.Second)
	cfg.GCEvery = cmp.Or(cfg.GCEvery, 5*time.Minute)
	cfg.SoftStop = cmp.Or(cfg.SoftStop, 10*time.Second)
	cfg.HardStop = cmp.Or(cfg.HardStop, 10*time.Second)
	if len(cfg.Queues) == 0 {
		cfg.Queues = queue.Queues()
	}
	if err := queue.Check(ctx, cfg.Pool, queue.Options{RiverSchema: cfg.RiverSchema}); err != nil {
		return err
	}

	db := store.New(cfg.Pool)
	node := store.Node{ID: cfg.NodeID, Incarnation: uuid.New()}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	seed, err := db.StartNode(ctx, node, cmp.Or(cfg.Version, "unknown"), host, os.Getpid(), cfg.Queues)
	if err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	// What is written while stopping must not die with ctx.
	background := context.WithoutCancel(ctx)
	defer func() {
		leaving, cancel := context.WithTimeout(background, 5*time.Second)
		defer cancel()
		if err := db.StopNode(leaving, node); err != nil {
			cfg.Logger.Warn("the node's leaving is not on record", "error", err)
		}
	}()

	eng, err := engine.New(ctx, engine.Config{CacheDir: cfg.Cache, MemoryBudget: cfg.MemoryBudget, Seed: seed, Logger: cfg.Logger})
	if err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	defer func() {
		if err := eng.Close(background); err != nil {
			cfg.Logger.Warn("closing the engine", "error", err)
		}
	}()
	shared := &catalog{store: db, node: node.ID, log: cfg.Logger, lines: map[string][]line{}}
	registry := profiles.New(newShelf(eng, maxIdle, shared.Module).load, cfg.Logger)
	defer registry.Close()
	if cfg.UpgradeCheck > 0 {
		shared.check = func(ctx context.Context, p *profiles.Profile) error {
			_, err := CheckUpgrade(ctx, db, seed, p, cfg.UpgradeCheck)
			return err
		}
	}
	registry.Share(shared)
	if cfg.Seal != nil {
		kept := db.Credentials(cfg.Seal)
		registry.Keep(func(l egress.Login, profile string) egress.Vault { return login.Vault(kept, l, profile) })
	}
	if err := registry.Scan(ctx, cfg.Plugins); err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	debug.FreeOSMemory() // loading leaves much behind, and an idle node collects nothing

	var watched *monitor.Monitor
	alive := newLiveness(db, node, cfg.LeaseTTL, cfg.Logger)
	room := newCapacity()
	daemons, err := keepDaemons(cfg, db, node)
	if err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	turns := turn.Config{
		Store: db, Node: node, TTL: cfg.LeaseTTL, DigestKey: seed, Pooled: cfg.Pooled, Logger: cfg.Logger, JobLog: queue.Log, Joined: alive.nodeJoined, Told: daemons.told, Tracer: cfg.Tracer,
		Backend: func(ctx context.Context, name string) (turn.Backend, error) {
			p, err := registry.Get(name)
			return backend(ctx, p, room, watched, err)
		},
		Pinned: func(ctx context.Context, name, digest string) (turn.Backend, error) {
			p, err := pinned(ctx, registry, name, digest)
			return backend(ctx, p, room, watched, err)
		},
		Warned: func(profile string, level slog.Level, line string) {
			shared.Note(profile, strings.ToLower(level.String()), line)
		},
		Observe: func(d turn.Done) {
			if watched != nil {
				watched.Turn(d)
			}
		},
	}
	files := newPlaces(db, cfg)
	waste := &collector{store: db, node: node, roots: files.all, cache: eng, log: cfg.Logger, every: cfg.GCEvery, temp: os.TempDir(), wake: make(chan struct{}, 1)}
	turns.Collect = waste.nudge
	if cfg.Storage != nil {
		turns.Dir = files.dir
	}
	if len(files.all) > 0 {
		if err := db.SetRoots(ctx, node, files.ids()); err != nil {
			return fmt.Errorf("worker: %w", err)
		}
	}
	if cfg.Turns != nil {
		cfg.Turns(&turns)
	}
	runner := turn.New(turns)
	running, stop := context.WithCancel(background)
	var loops sync.WaitGroup
	defer func() { stop(); loops.Wait() }()
	if cfg.Monitor != "" {
		watched = newMonitor(cfg, db, registry, runner)
		listener, err := monitor.Listen(cfg.Monitor)
		if err != nil {
			return fmt.Errorf("worker: %w", err)
		}
		cfg.Logger.Info("monitoring", "address", listener.Addr().String())
		loops.Go(func() { watched.Serve(running, listener, cfg.Logger) })
	}
	logins := login.Node{ID: node.ID, Store: db, Seal: cfg.Seal, At: loginOf(registry)}
	client, err := queue.New(queue.Config{
		Pool: cfg.Pool, Schema: cfg.RiverSchema, Queues: cfg.Queues, NodeID: cfg.NodeID, Pooled: cfg.Pooled,
		Concurrency: map[string]int{queue.Turns: cfg.TurnConcurrency}, Logger: cfg.Logger, SoftStop: cfg.SoftStop, GCEvery: cfg.GCEvery,
		Observe: func(d queue.Done) {
			if watched != nil {
				watched.Job(d)
			}
		},
		Handlers: cfg.Tracer.Jobs(cfg.NodeID, daemons.handlers(map[queue.Kind]queue.Handler{
			queue.Turn:  func(ctx context.Context, job queue.Job) error { return answer(runner.Handle(ctx, job.ID, job.Args)) },
			queue.Wake:  func(ctx context.Context, job queue.Job) error { return wake(ctx, db, job.Args) },
			queue.Sweep: func(ctx context.Context, _ queue.Job) error { return sweep(ctx, db, cfg.LeaseTTL) },
			queue.Login: func(ctx context.Context, job queue.Job) error { return logIn(ctx, logins, job.Args) },
			queue.Prune: func(ctx context.Context, job queue.Job) error { return prune(ctx, db, job.Args) },
			queue.GC:    func(ctx context.Context, _ queue.Job) error { return waste.handle(ctx) },
			queue.ScanPlugins: func(ctx context.Context, _ queue.Job) error {
				return scanPlugins(ctx, db, registry, node.ID, cfg.Plugins)
			},
			queue.Storage: func(ctx context.Context, job queue.Job) error { return files.handle(ctx, job.Args) },
		})),
	})
	if err != nil {
		return fmt.Errorf("worker: %w", err)
	}

	wake := make(chan struct{}, 1)
	loops.Go(func() { runner.Run(running) })
	loops.Go(func() { daemons.run(running) })
	loops.Go(func() { shared.listen(running, cfg.Pooled, wake) })
	loops.Go(func() { shared.write(running) })
	loops.Go(func() { registry.Watch(running, cfg.Plugins, wake) })
	loops.Go(func() { waste.run(running, cfg.Pooled) })
	if !cfg.Pooled {
		loops.Go(func() { alive.run(running) })
	}
	if err := client.Start(ctx); err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	if cfg.Ready != nil {
		cfg.Ready()
	}
	<-ctx.Done()
	cfg.Logger.Info("stopping", "soft_stop", cfg.SoftStop, "hard_stop", cfg.HardStop)
	stopping, cancel := context.WithTimeout(background, cfg.SoftStop+cfg.HardStop)
	defer cancel()
	// Daemons last: what a job has just started is stopped, or left to the next worker, as well.
	err = client.Stop(stopping)
	if err = errors.Join(err, daemons.stop(stopping)); err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	return nil
}

// Loader is the engine as the registry calls it.
func Loader(eng *engine.Engine) profiles.Loader {
	return func(ctx context.Context, wasm []byte, l profiles.Limits) (profiles.Module, error) {
		return eng.Load(ctx, wasm, engine.Limits{Memory: l.Memory, Fuel: l.Fuel})
	}
}

// pinned takes the profile with the module that a turn began with, and with the present one when that is gone.
func pinned(ctx context.Context, registry *profiles.Registry, name, digest string) (*profiles.Profile, error) {
	module, _, _ := strings.Cut(digest, "/")
	p, err := registry.GetVersion(ctx, name, module)
	if errors.Is(err, profiles.ErrGone) {
		return registry.Get(name)
	}
	return p, err
}

// backend makes a profile that was taken one attempt's.
func backend(ctx context.Context, p *profiles.Profile, room *capacity, watched *monitor.Monitor, err error) (turn.Backend, error) {
	if err != nil {
		return turn.Backend{}, err
	}
	l := p.Permits.Limits
	if err := room.enter(ctx, p.Name, l.Capacity); err != nil {
		p.Release()
		return turn.Backend{}, err
	}
	snapshot := p.Module.Snapshot()
	out := turn.Outbound(p.Egress)
	if watched != nil {
		out = watched.Outbound(p.Name, out)
	}
	return turn.Backend{
		Run: p.Module.Run, Digest: p.Digest + "/" + hex.EncodeToString(snapshot[:]), InDoubt: string(l.InDoubt), HTTP: out, Redact: p.Secrets.Redact, Config: p.Permits.Config,
		Proc:    func(ctx context.Context, wish hostabi.ProcSpec) (turn.Command, error) { return command(ctx, p, wish) },
		Limits:  turn.Limits{EventBytes: l.Event, EventsBytes: l.Events, Journal: l.Journal, Handles: l.Handles, Calls: l.CallsPerSecond, Idle: l.Idle},
		Release: func() { room.leave(p.Name); p.Release() },
	}, nil
}

// answer tells River what became of a job. A refusal is final: the same args are refused again.
func answer(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, turn.ErrElsewhere) {
		return queue.Snooze(elsewhereFor)
	}
	var refusal *store.Error
	if errors.As(err, &refusal) && !errors.Is(err, store.ErrFence) {
		if refusal.Hint != "" {
			return queue.Cancel(fmt.Errorf("%w (hint: %s)", err, refusal.Hint))
		}
		return queue.Cancel(err)
	}
	return err
}

// wake tells a session which of its processes have ended.
func wake(ctx context.Context, db *store.Store, args json.RawMessage) error {
	var a queue.WakeArgs
	if err := json.Unmarshal(args, &a); err != nil {
		return queue.Cancel(fmt.Errorf("args of wake: %w", err))
	}
	w, err := db.WakeSession(ctx, a.Session)
	if err != nil {
		return answer(err)
	}
	return queue.Output(ctx, w)
}

// sweep repairs what lost its owner or its job.
func sweep(ctx context.Context, db *store.Store, ttl time.Duration) error {
	ids, err := db.Sweep(ctx, ttl, uuid.Nil, sweepBatch)
	for _, id := range ids {
		queue.Log(ctx).Warn("process repaired", "process", id)
	}
	if err != nil {
		return err
	}
	return queue.Output(ctx, map[string]any{"repaired": len(ids)})
}
