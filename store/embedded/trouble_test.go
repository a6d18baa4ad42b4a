package embedded_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/towpath/towpath/store/embedded"
	"github.com/towpath/towpath/store/embedded/pgtest"
)

func TestTroubleIsToldWithItsFix(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		setup func(t *testing.T, cfg *embedded.Config)
		is    error
		says  []string
	}{
		{
			name:  "no server programs",
			setup: func(t *testing.T, cfg *embedded.Config) { cfg.BinDir = pgtest.Folder(t) },
			is:    embedded.ErrNoServer, says: []string{"postgresql", "DATABASE_URL"},
		}, {
			name: "only old server programs",
			setup: func(t *testing.T, cfg *embedded.Config) {
				cfg.BinDir = script(t, "postgres", `echo "postgres (PostgreSQL) 14.9"`)
			},
			is: embedded.ErrNoServer, says: []string{"found 14"},
		}, {
			name: "programs of another major version",
			setup: func(t *testing.T, cfg *embedded.Config) {
				dir := filepath.Join(cfg.Dir, "data")
				if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "PG_VERSION"), []byte("12\n"), 0o644)); err != nil {
					t.Fatal(err)
				}
			},
			says: []string{"made by Postgres 12", "install postgresql-12"},
		}, {
			name: "a folder of somebody's in the place of the data",
			setup: func(t *testing.T, cfg *embedded.Config) {
				if err := os.MkdirAll(filepath.Join(cfg.Dir, "data", "photos"), 0o755); err != nil {
					t.Fatal(err)
				}
			},
			says: []string{"not a Postgres data directory", "move it away"},
		}, {
			name:  "a setting that Postgres refuses",
			setup: func(t *testing.T, cfg *embedded.Config) { cfg.Settings = map[string]string{"shared_buffers": "plenty"} },
			says:  []string{"invalid value", `"shared_buffers"`},
		}, {
			name: "a file in the place of the directory",
			setup: func(t *testing.T, cfg *embedded.Config) {
				cfg.Dir = filepath.Join(cfg.Dir, "file")
				if err := os.WriteFile(cfg.Dir, nil, 0o644); err != nil {
					t.Fatal(err)
				}
			},
			says: []string{"not a directory"},
		}, {
			name: "a directory that the server cannot use",
			setup: func(t *testing.T, cfg *embedded.Config) {
				home := filepath.Join(cfg.Dir, "home")
				mode := os.FileMode(0o700) // root enters, the user that root's server runs as does not
				if os.Geteuid() != 0 {
					mode = 0o500
				}
				if err := os.Mkdir(home, mode); err != nil {
					t.Fatal(err)
				}
				cfg.Dir = filepath.Join(home, "data")
			},
			says: []string{"home"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cfg := embedded.Config{Dir: pgtest.Folder(t)}
			tc.setup(t, &cfg)
			s, err := embedded.Start(t.Context(), cfg)
			if err == nil {
				s.Stop(t.Context())
				t.Fatal("started")
			}
			if tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("%v is not %v", err, tc.is)
			}
			for _, part := range tc.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			if _, err := embedded.DSN(cfg.Dir); !errors.Is(err, embedded.ErrNotRunning) {
				t.Errorf("psql is told %v", err)
			}
		})
	}
}

func TestADirectoryTooLongForASocketWorks(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(pgtest.Folder(t), strings.Repeat("long ", 20), strings.Repeat("länger+&", 10))
	s := start(t, embedded.Config{Dir: dir})
	write(t, s.DSN())
	if dsn, err := embedded.DSN(dir); err != nil || dsn != s.DSN() {
		t.Errorf("another process is told %q, %v", dsn, err)
	}
	stop(t, s)
	again := start(t, embedded.Config{Dir: dir})
	read(t, again.DSN())
	socketDir := query[string](t, again.DSN(), "show unix_socket_directories")
	info, err := os.Stat(strings.Trim(socketDir, `"`))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("the socket folder has mode %v", info.Mode())
	}
	stop(t, again)
	if _, err := os.Stat(strings.Trim(socketDir, `"`)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the short folder outlives the server: %v", err)
	}
}

func TestDefaultDirIsBelowTheUsersData(t *testing.T) {
	t.Setenv("HOME", "/home/ada")
	for _, tc := range []struct{ xdg, want string }{
		{"", "/home/ada/.local/share/towpath"},
		{"/data/ada", "/data/ada/towpath"},
		{"relative", "/home/ada/.local/share/towpath"},
	} {
		t.Setenv("XDG_DATA_HOME", tc.xdg)
		if os.Geteuid() == 0 {
			tc.want = "/var/lib/towpath"
		}
		if dir, err := embedded.DefaultDir(); err != nil || dir != tc.want {
			t.Errorf("XDG_DATA_HOME=%q gives %q, %v, want %q", tc.xdg, dir, err, tc.want)
		}
	}
}
