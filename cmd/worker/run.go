package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker"
	"github.com/towpath/towpath/worker/storage"
	"github.com/towpath/towpath/worker/storage/pvc"
	"github.com/towpath/towpath/worker/supervise"
)

// run is a node, from the first connection to the clean stop.
func run(ctx context.Context, cfg config, logs io.Writer) (err error) {
	log := cfg.logger(logs)
	if err := supervise.Conceal(); err != nil {
		log.Warn("other processes of this user can read the worker's secrets", "error", err)
	}
	dsn := cfg.DatabaseURL
	node, fail := context.WithCancelCause(ctx) // ends with ctx, or when the private server is lost for good
	defer fail(nil)
	if dsn == "" {
		private, err := startPrivate(ctx, cfg, log)
		if err != nil {
			return err
		}
		defer private.stop()
		go private.keep(fail)
		dsn = private.dsn
	}
	dsn, err = withMaxConns(dsn, cfg.MaxConns)
	if err != nil {
		return err
	}
	pool, err := store.Open(ctx, dsn, cfg.Pooled)
	if err != nil {
		return &usageError{err: err, hint: "DATABASE_URL is like postgres://user:password@host:5432/database"}
	}
	defer pool.Close()
	if err := await(node, pool, cfg.ConnectTimeout, log); err != nil {
		return err
	}
	did, err := cfg.prepare(node, pool)
	if err != nil {
		return err
	}
	log.Info("the database is ready", "schema", did)
	if cfg.Plugins == "" {
		log.Warn("there is no plugins folder: only what `worker plugin add` or another node put into the database is served", "setting", "TOWPATH_PLUGINS")
	}
	var root *storage.Root
	if cfg.Storage != "" {
		if root, err = storage.Open(cfg.Storage, cfg.StorageShared, int64(cfg.StorageQuota)); err != nil {
			return &usageError{err: err, hint: "--storage (TOWPATH_STORAGE) names a folder for nothing else"}
		}
		defer root.Close()
	}
	tracer, stop, err := cfg.tracer(cfg.NodeID, log)
	if err != nil {
		return err
	}
	defer stop()
	seal, err := cfg.sealer()
	if err != nil {
		return err
	}
	claims, err := cfg.claims(node)
	if err != nil {
		return err
	}
	var loops sync.WaitGroup
	defer loops.Wait()
	defer fail(nil)
	err = worker.Run(node, worker.Config{
		Pool: pool, RiverSchema: cfg.RiverSchema, Queues: cfg.Queues, Pooled: cfg.Pooled,
		NodeID: cfg.NodeID, Version: version(),
		Plugins: cfg.Plugins, UpgradeCheck: cfg.UpgradeCheck, Cache: cfg.Cache, Storage: root, Claims: claims, GCEvery: cfg.GCEvery,
		Daemons:  cfg.DaemonDir,
		Seal:     seal,
		LeaseTTL: cfg.LeaseTTL, SoftStop: cfg.SoftStop, HardStop: cfg.HardStop,
		TurnConcurrency: cfg.TurnConcurrency, MemoryBudget: int64(cfg.MemoryBudget),
		Monitor: cfg.Monitor, Tracer: tracer,
		Logger: log,
		Ready: func() {
			loops.Go(func() { notify(node, os.Getenv, log) })
			log.Info("ready", "node", cfg.NodeID, "queues", strings.Join(cfg.Queues, ","), "plugins", cfg.Plugins)
		},
	})
	if cause := context.Cause(node); ctx.Err() == nil && cause != nil {
		err = errors.Join(cause, err)
	}
	if err == nil {
		log.Info("stopped")
	}
	return err
}

// claims are where sessions get volumes of a cluster; nil: nowhere.
func (c config) claims(ctx context.Context) (storage.Place, error) {
	if c.PVCNamespace == "" {
		return nil, nil
	}
	claims, err := pvc.Open(ctx, pvc.Config{Namespace: c.PVCNamespace, Class: c.PVCClass, Size: int64(c.PVCSize), Most: int64(c.StorageQuota)})
	if err != nil {
		return nil, &usageError{err: err, hint: "--pvc-namespace (TOWPATH_PVC_NAMESPACE) names one that this user may get, with claims to create, get, list and delete: see deploy/kubernetes/claims.yaml"}
	}
	return claims, nil
}

// await waits for a database that is down, and returns at once what waiting cannot mend.
func await(ctx context.Context, pool *pgxpool.Pool, patience time.Duration, log *slog.Logger) error {
	began := time.Now()
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := pool.Ping(ctx)
		if err == nil || ctx.Err() != nil || !passing(err) {
			return err
		}
		left := patience - time.Since(began)
		if left <= 0 {
			return fmt.Errorf("the database was not reached within %v: %w", patience, err)
		}
		log.Warn("the database cannot be reached, trying again", "error", err, "left", left.Round(time.Millisecond))
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(min(pause, left)):
		}
	}
}

// withMaxConns bounds the pool of a connection string that does not do so itself: pgx's own default is the number of
// processors, too few for turns that end side by side.
func withMaxConns(dsn string, n int) (string, error) {
	if strings.Contains(dsn, "pool_max_conns") {
		return dsn, nil
	}
	if !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		return fmt.Sprintf("%s pool_max_conns=%d", dsn, n), nil
	}
	u, err := url.Parse(dsn)
	if err != nil {
		// Not err: it repeats the text, password included.
		return "", &usageError{err: errors.New("DATABASE_URL is not a URL"), hint: "escape special characters of the password as %XX"}
	}
	query := u.Query()
	query.Set("pool_max_conns", fmt.Sprint(n))
	u.RawQuery = query.Encode()
	return u.String(), nil
}
