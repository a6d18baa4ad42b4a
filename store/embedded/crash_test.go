package embedded_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/towpath/towpath/store/embedded"
	"github.com/towpath/towpath/store/embedded/pgtest"
)

func TestACommittedRowSurvivesEveryKill(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name           string
		worker, server bool
	}{
		{"the worker is killed", true, false},
		{"the server is killed", false, true},
		{"both are killed, the worker first", true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := pgtest.Folder(t)
			o := startOwner(t, dir, "")
			pid := o.serverPID(t)
			dsn, err := embedded.DSN(dir)
			if err != nil {
				t.Fatal(err)
			}
			write(t, dsn)
			if tc.worker {
				o.kill(t)
				read(t, dsn) // the server stays for other clients
			}
			if tc.server {
				kill(t, pid)
			}
			if !tc.worker {
				o.stdin.Close() // ends the worker, whose server is gone already
				if err := o.cmd.Wait(); err != nil {
					t.Fatalf("the worker whose server died: %v", err)
				}
			}
			s := start(t, embedded.Config{Dir: dir})
			read(t, s.DSN())
			if s.PID() == pid {
				t.Error("the orphan was not replaced")
			}
		})
	}
}

func TestAServerThatDiesIsNoticedAndStartedAgain(t *testing.T) {
	t.Parallel()
	cfg := embedded.Config{Dir: pgtest.Folder(t)}
	s := start(t, cfg)
	write(t, s.DSN())
	conn, err := pgx.Connect(t.Context(), s.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	busy := make(chan error, 1)
	go func() {
		// Never looks up to see that the postmaster is gone, until it returns a row.
		_, err := conn.Exec(context.Background(), "select count(*) from generate_series(1, 3000000)")
		busy <- err
	}()
	kill(t, s.PID())
	<-s.Done()
	stop(t, s)
	again := start(t, cfg) // waits for the busy child, which still has the memory of the dead server
	read(t, again.DSN())
	<-busy
}

func TestAStalePidFileHarmsNobody(t *testing.T) {
	t.Parallel()
	dir := pgtest.Folder(t)
	s := start(t, embedded.Config{Dir: dir})
	pidFile := filepath.Join(dir, "data", "postmaster.pid")
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n")
	write(t, s.DSN())
	kill(t, s.PID())
	<-s.Done()
	stop(t, s)

	// Since then the pid went to somebody else; as root, to somebody with the server's own uid, the worst case.
	stranger := exec.Command("sleep", "600")
	if os.Geteuid() == 0 {
		info, err := os.Stat(filepath.Join(dir, "data"))
		if err != nil {
			t.Fatal(err)
		}
		st := info.Sys().(*syscall.Stat_t)
		stranger.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: st.Uid, Gid: st.Gid}}
	}
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { stranger.Process.Kill(); stranger.Wait() }()
	pid := strconv.Itoa(stranger.Process.Pid)

	for _, tc := range []struct{ name, text string }{
		{"another process has the pid", pid + "\n" + rest},
		{"the machine crashed before it was written", ""},
		{"it is cut short", pid},
		{"it is garbage", "\x00\x00-1\n\n\n"},
		{"it came with a copy of another directory", pid + "\n/elsewhere/data\n0\n5432\n/elsewhere/socket\n\n1 2\nready   \n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := os.WriteFile(pidFile, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			// The lock of the socket is as old.
			if err := os.WriteFile(filepath.Join(dir, "socket", ".s.PGSQL.5432.lock"), []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			s := start(t, embedded.Config{Dir: dir})
			read(t, s.DSN())
			stop(t, s)
			if err := stranger.Process.Signal(syscall.Signal(0)); err != nil {
				t.Errorf("the stranger: %v", err)
			}
		})
	}
}

// script is a BinDir whose programs are the real ones but for one.
func script(t *testing.T, name, text string) string {
	t.Helper()
	dir := pgtest.Folder(t)
	real := realPrograms(t)
	for _, program := range []string{"postgres", "initdb"} {
		body := "#!/bin/sh\n" + `exec "` + filepath.Join(real, program) + `" "$@"` + "\n"
		if program == name {
			body = "#!/bin/sh\n" + strings.ReplaceAll(text, "REAL", filepath.Join(real, program))
		}
		if err := os.WriteFile(filepath.Join(dir, program), []byte(body), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// realPrograms asks a server where it comes from.
func realPrograms(t *testing.T) string {
	t.Helper()
	return query[string](t, pgtest.Server(t).DSNFor("postgres"), "select setting from pg_config where name = 'BINDIR'")
}

func TestAnInterruptedInitdbIsDoneAgain(t *testing.T) {
	t.Parallel()
	t.Run("it left half a directory", func(t *testing.T) {
		t.Parallel()
		dir := pgtest.Folder(t)
		broken := script(t, "initdb", `for a; do case $a in --pgdata=*) echo 15 > "${a#--pgdata=}/PG_VERSION";; esac; done
echo "could not write file: No space left on device" >&2; exit 1`)
		_, err := embedded.Start(t.Context(), embedded.Config{Dir: dir, BinDir: broken})
		if err == nil || !strings.Contains(err.Error(), "initdb") || !strings.Contains(err.Error(), "No space left") {
			t.Fatalf("the failed initdb gives %v", err)
		}
		if _, err := os.Stat(filepath.Join(dir, "data.new", "PG_VERSION")); err != nil {
			t.Fatal(err)
		}
		s := start(t, embedded.Config{Dir: dir})
		write(t, s.DSN())
		if _, err := os.Stat(filepath.Join(dir, "data.new")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the remains: %v", err)
		}
	})
	t.Run("its worker is killed and it goes on", func(t *testing.T) {
		t.Parallel()
		dir := pgtest.Folder(t)
		started := filepath.Join(pgtest.Folder(t), "started")
		if err := syscall.Mkfifo(started, 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(started, 0o666); err != nil {
			t.Fatal(err)
		}
		o := startOwner(t, dir, script(t, "initdb", `echo > `+started+`; exec REAL "$@"`))
		if _, err := os.ReadFile(started); err != nil {
			t.Fatal(err)
		}
		o.kill(t)
		write(t, start(t, embedded.Config{Dir: dir}).DSN())
	})
}

func TestStartGivesUpInTime(t *testing.T) {
	t.Parallel()
	dir := pgtest.Folder(t)
	waiting := filepath.Join(pgtest.Folder(t), "waiting")
	if err := errors.Join(syscall.Mkfifo(waiting, 0o666), os.Chmod(waiting, 0o666)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		os.ReadFile(waiting)
		cancel()
	}()
	endless := script(t, "initdb", `echo > `+waiting+`; exec sleep 600`)
	if _, err := embedded.Start(ctx, embedded.Config{Dir: dir, BinDir: endless}); err == nil {
		t.Fatal("started without an initdb")
	}
	start(t, embedded.Config{Dir: dir}) // the directory is free, nothing runs there
}
