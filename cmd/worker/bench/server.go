package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/queue"
	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/store/embedded"
)

// server is a private Postgres for one run.
type server struct {
	*embedded.Server
	dir string
}

func startServer(ctx context.Context, o Options) (*server, error) {
	base := ""
	if os.Geteuid() == 0 {
		base = "/tmp" // root's Postgres runs as somebody else, who cannot enter every TMPDIR
	}
	dir, err := os.MkdirTemp(base, "towpath-bench-")
	if err != nil {
		return nil, err
	}
	err = os.Chmod(dir, 0o755)
	if err == nil {
		var s *embedded.Server
		if s, err = embedded.Start(ctx, embedded.Config{Dir: filepath.Join(dir, "postgres"), BinDir: o.PostgresBin, Logger: o.Logger}); err == nil {
			return &server{s, dir}, nil
		}
	}
	return nil, errors.Join(err, os.RemoveAll(dir))
}

func (s *server) stop() error {
	return errors.Join(s.Stop(context.Background()), os.RemoveAll(s.dir))
}

// log is the server's own log file.
func (s *server) log() string { return filepath.Join(s.dir, "postgres", "postgres.log") }

// database makes a migrated database and returns how to connect to it.
func (s *server) database(ctx context.Context, name string) (string, error) {
	conn, err := pgx.Connect(ctx, s.DSN())
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "create database "+name); err != nil {
		return "", err
	}
	dsn := s.DSNFor(name) + "&pool_max_conns=8"
	pool, err := store.Open(ctx, dsn, false)
	if err != nil {
		return "", err
	}
	defer pool.Close()
	if _, err := queue.Migrate(ctx, pool, queue.Options{}); err != nil {
		return "", err
	}
	return dsn, nil
}

// open makes a migrated database and a pool on it.
func (s *server) open(ctx context.Context, name string) (*pgxpool.Pool, error) {
	dsn, err := s.database(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("database %s: %w", name, err)
	}
	return store.Open(ctx, dsn, false)
}
