package embedded

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// Config says where and how the private server runs. The zero value of every field but Dir is usable.
type Config struct {
	// Dir holds everything the server keeps; it is created when missing. [DefaultDir] is a good choice.
	Dir string
	// BinDir is the folder of the programs postgres and initdb. Empty: PATH, pg_config and the distributions' folders
	// are searched.
	BinDir string
	// Logger receives starts, stops and takeovers. Nil: nothing is logged. The server's own log is a file in Dir.
	Logger *slog.Logger
	// StartTimeout bounds Start as a whole, crash recovery included. Zero: 60 s.
	StartTimeout time.Duration
	// StopTimeout bounds a fast shutdown; an immediate one follows. Zero: 30 s.
	StopTimeout time.Duration
	// Settings are Postgres settings that override the defaults of this package.
	Settings map[string]string
}

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, fmt.Errorf("no data directory given")
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return c, err
	}
	c.Dir = dir
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.StartTimeout == 0 {
		c.StartTimeout = 60 * time.Second
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = 30 * time.Second
	}
	return c, nil
}

// DefaultDir is where a worker keeps its data: /var/lib/towpath for root, whose home an unprivileged server could not
// enter, else towpath below $XDG_DATA_HOME or ~/.local/share.
func DefaultDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/towpath", nil
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "towpath"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("embedded: no home directory for the data: set HOME or XDG_DATA_HOME: %w", err)
	}
	return filepath.Join(home, ".local", "share", "towpath"), nil
}

// settings are small, because the server shares a machine with its worker, and durable.
func (c Config) settings(socketDir string) map[string]string {
	s := map[string]string{
		"cluster_name":                    "towpath",
		"shared_buffers":                  "32MB",
		"max_connections":                 "60",
		"min_wal_size":                    "32MB",
		"max_wal_size":                    "256MB",
		"max_parallel_workers_per_gather": "0",   // needs /dev/shm, which containers keep small
		"max_logical_replication_workers": "0",   // one process less
		"jit":                             "off", // loads LLVM into every backend that meets a costly plan
		"log_checkpoints":                 "off",
		"log_min_error_statement":         "panic", // statements carry users' text
		"timezone":                        "UTC",
		"log_timezone":                    "UTC",
	}
	for name, value := range c.Settings {
		s[name] = value
	}
	s["listen_addresses"] = ""
	s["port"] = socketPort
	s["unix_socket_directories"] = quoteFolder(socketDir)
	s["unix_socket_permissions"] = "0700"
	s["logging_collector"] = "off"
	s["log_destination"] = "stderr"
	return s
}
