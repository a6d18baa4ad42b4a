package embedded

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a running private Postgres. Its methods may be called from several goroutines.
type Server struct {
	cfg   Config
	l     layout
	owner *os.File // flock of worker.lock
	cmd   *exec.Cmd
	done  chan struct{} // closed when the postmaster has ended and been waited for

	serving atomic.Bool // ready, and not told to stop: an end now is news
	stop    sync.Once
	stopErr error
}

// Start runs the server of cfg.Dir: it makes the data directory at first, and takes over from a worker that was killed.
// It returns when the database towpath accepts connections. ctx bounds Start only.
// Errors: [ErrNoServer], [InUseError], or what went wrong with the server's last log lines.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	s, err := start(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("embedded: start Postgres on %s: %w", cfg.Dir, err)
	}
	return s, nil
}

func start(ctx context.Context, cfg Config) (_ *Server, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.StartTimeout, fmt.Errorf("not ready after %v", cfg.StartTimeout))
	defer cancel()
	l, err := openLayout(cfg.Dir)
	if err != nil {
		return nil, err
	}
	owner, err := l.claim()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			release(owner)
		}
	}()
	alive, err := l.takeover(ctx, cfg.Logger)
	if err != nil {
		return nil, err
	}
	defer alive.Close() // the server holds its own copy
	p, a, err := l.prepare(ctx, cfg, alive)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, l: l, owner: owner, done: make(chan struct{})}
	if err := s.launch(ctx, p, a, alive); err != nil {
		return nil, err
	}
	if err := s.createDatabase(ctx); err != nil {
		return nil, errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
	}
	return s, nil
}

// prepare finds the programs and makes the folders, the data directory included.
func (l layout) prepare(ctx context.Context, cfg Config, alive *os.File) (programs, account, error) {
	major, err := l.dataMajor()
	if err != nil {
		return programs{}, account{}, err
	}
	p, err := findPrograms(ctx, cfg.BinDir, major)
	if err != nil {
		return p, account{}, err
	}
	a, err := serverAccount(l.data())
	if err != nil {
		return p, a, err
	}
	if err := a.reach(ctx, l.dir, p.postgres()); err != nil {
		return p, a, err
	}
	if err := a.makePrivate(l.socketDir()); err != nil {
		return p, a, fmt.Errorf("make the socket folder: %w%s", err, diskNote(l.dir))
	}
	if major == 0 {
		cfg.Logger.Info("making a Postgres data directory", "dir", l.data(), "version", p.major)
		err = l.initialise(ctx, p, a, alive)
	}
	return p, a, err
}

// launch starts the postmaster and returns when it accepts connections.
func (s *Server) launch(ctx context.Context, p programs, a account, alive *os.File) error {
	log, err := openLog(s.l.log())
	if err != nil {
		return err
	}
	defer log.Close()
	info, err := log.Stat()
	if err != nil {
		return err
	}
	args := []string{"-D", s.l.data()}
	settings := s.cfg.settings(s.l.socketDir())
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	// Only Stop ends the server: the context of Start must not.
	s.cmd = a.command(context.WithoutCancel(ctx), s.l.dir, p.postgres(), args...)
	s.cmd.ExtraFiles = []*os.File{alive}
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	go s.watch(info.Size())
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if f, err := s.l.readPidFile(); err == nil && f.pid == s.cmd.Process.Pid && f.ready {
			s.serving.Store(true)
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("it ended with %v%s%s", s.cmd.ProcessState, diskNote(s.l.dir), logTail(s.l.log(), info.Size()))
		case <-ctx.Done():
			err := fmt.Errorf("%w%s%s", context.Cause(ctx), diskNote(s.l.dir), logTail(s.l.log(), info.Size()))
			return errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
		case <-tick.C:
		}
	}
}

// watch waits for the postmaster, keeping its log bounded meanwhile. from is where this start's log begins.
func (s *Server) watch(from int64) {
	ended := make(chan error, 1)
	go func() { ended <- s.cmd.Wait() }()
	tick := time.NewTicker(logCheck)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := trimLog(s.l.log(), logLimit); err != nil {
				s.cfg.Logger.Warn("the server's log cannot be trimmed", "error", err)
			}
		case err := <-ended:
			if s.serving.Load() {
				s.cfg.Logger.Error("the server ended by itself", "status", s.cmd.ProcessState.String(), "error", err,
					"log", logTail(s.l.log(), from))
			}
			close(s.done)
			return
		}
	}
}

func (s *Server) createDatabase(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.DSNFor("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var exists bool
	err = conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1)", Database).Scan(&exists)
	if err == nil && !exists {
		_, err = conn.Exec(ctx, "create database "+pgx.Identifier{Database}.Sanitize())
	}
	if err != nil {
		return fmt.Errorf("create database %s: %w%s", Database, err, diskNote(s.l.dir))
	}
	return nil
}

// DSN connects to the database towpath as the server's superuser.
func (s *Server) DSN() string { return s.DSNFor(Database) }

// DSNFor connects to another database of the server.
func (s *Server) DSNFor(database string) string { return dsn(s.l.socketDir(), database) }

// PID is the postmaster's process id.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Done is closed when the server has ended, by Stop or by itself. Call Stop in both cases.
func (s *Server) Done() <-chan struct{} { return s.done }

// Stop shuts the server down, disconnecting its clients, and gives up the directory. When that takes longer than
// StopTimeout, or ctx ends first, the shutdown becomes immediate, which costs the next start a recovery but no data.
// Later calls return the result of the first.
func (s *Server) Stop(ctx context.Context) error {
	s.stop.Do(func() {
		s.serving.Store(false)
		s.stopErr = s.shutdown(ctx)
		if dir := s.l.socketDir(); filepath.Dir(dir) != s.l.dir {
			os.Remove(dir) // not empty after a crash: the next start clears it
		}
		release(s.owner)
	})
	return s.stopErr
}

func (s *Server) shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.StopTimeout)
	defer cancel()
	s.cmd.Process.Signal(syscall.SIGINT) // fails when it has ended, which done says
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
	}
	s.cfg.Logger.Warn("the server did not stop in time: shutting it down at once", "pid", s.PID())
	s.cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case <-s.done:
	case <-time.After(5 * time.Second):
		s.cmd.Process.Kill()
		<-s.done
	}
	return nil
}
