package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/towpath/towpath/store/embedded"
)

// private is the private Postgres of a node. Its connection string outlives a restart.
type private struct {
	config embedded.Config
	log    *slog.Logger
	dsn    string

	mu       sync.Mutex
	server   *embedded.Server
	stopping bool
}

func startPrivate(ctx context.Context, cfg config, log *slog.Logger) (*private, error) {
	p := &private{config: embedded.Config{Dir: cfg.DataDir, BinDir: cfg.PostgresBin, Logger: log}, log: log}
	server, err := embedded.Start(ctx, p.config)
	if err != nil {
		return nil, err
	}
	p.server, p.dsn = server, server.DSN()
	log.Info("the private Postgres is ready", "dir", cfg.DataDir)
	return p, nil
}

// keep starts the server again when it dies by itself, until stop. fail tells that this did not work.
func (p *private) keep(fail context.CancelCauseFunc) {
	for {
		<-p.current().Done()
		if !p.restart(fail) {
			return
		}
	}
}

func (p *private) current() *embedded.Server {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.server
}

// restart reports whether there is a server to look after again.
func (p *private) restart(fail context.CancelCauseFunc) bool {
	p.mu.Lock() // stop waits for the outcome, and then stops it
	defer p.mu.Unlock()
	if p.stopping {
		return false
	}
	p.log.Warn("the private Postgres ended by itself, starting it again")
	_ = p.server.Stop(context.Background()) // it has ended; this gives up its locks
	var err error
	for pause := 100 * time.Millisecond; pause < 10*time.Second; pause *= 4 {
		var server *embedded.Server
		if server, err = embedded.Start(context.Background(), p.config); err == nil {
			p.server = server
			return true
		}
		p.log.Error("the private Postgres does not start", "error", err)
		time.Sleep(pause)
	}
	fail(fmt.Errorf("the private Postgres was lost: %w", err))
	return false
}

// stop shuts the server down.
func (p *private) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopping = true
	if err := p.server.Stop(context.Background()); err != nil {
		p.log.Error("the private Postgres did not stop cleanly", "error", err)
	}
}
