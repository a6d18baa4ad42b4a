package embedded_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
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

const (
	ownerDir = "EMBEDDED_TEST_OWNER_DIR" // set: this process is a worker of that directory, see startOwner
	ownerBin = "EMBEDDED_TEST_OWNER_BIN"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(ownerDir); dir != "" {
		os.Exit(own(dir))
	}
	os.Exit(pgtest.Main(m))
}

// own runs a server until standard input ends, as a worker would until it is told to stop.
func own(dir string) int {
	s, err := embedded.Start(context.Background(), embedded.Config{Dir: dir, BinDir: os.Getenv(ownerBin)})
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	fmt.Println(s.PID())
	io.Copy(io.Discard, os.Stdin)
	if err := s.Stop(context.Background()); err != nil {
		return 1
	}
	return 0
}

// owner is a worker in a process of its own, which a test can kill.
type owner struct {
	cmd   *exec.Cmd
	stdin io.Closer
	out   *bufio.Reader
}

func startOwner(t *testing.T, dir, binDir string) *owner {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), ownerDir+"="+dir, ownerBin+"="+binDir)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	o := &owner{cmd, stdin, bufio.NewReader(stdout)}
	t.Cleanup(func() {
		stdin.Close()
		cmd.Wait() // a second time after kill
	})
	return o
}

// serverPID waits until the owner's server accepts connections.
func (o *owner) serverPID(t *testing.T) int {
	t.Helper()
	line, err := o.out.ReadString('\n')
	pid, convErr := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || convErr != nil {
		t.Fatalf("the owner said %q, %v", line, err)
	}
	return pid
}

func (o *owner) kill(t *testing.T) {
	t.Helper()
	if err := o.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	o.cmd.Wait()
}

func start(t *testing.T, cfg embedded.Config) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop(context.Background()) })
	return s
}

func stop(t *testing.T, s *embedded.Server) {
	t.Helper()
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func query[T any](t *testing.T, dsn, sql string) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var value T
	if err := conn.QueryRow(t.Context(), sql).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

// write commits a row that read finds after any crash.
func write(t *testing.T, dsn string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "create table kept as select 42 as n"); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dsn string) {
	t.Helper()
	if n := query[int](t, dsn, "select n from kept"); n != 42 {
		t.Errorf("the kept row is %d", n)
	}
}

func TestTheDatabaseIsKeptForTheNextStart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(pgtest.Folder(t), "not", "there yet")
	s := start(t, embedded.Config{Dir: dir})
	write(t, s.DSN())
	if dsn, err := embedded.DSN(dir); err != nil || dsn != s.DSN() {
		t.Errorf("another process is told %q, %v, want %q", dsn, err, s.DSN())
	}
	stop(t, s)
	select {
	case <-s.Done():
	default:
		t.Error("Done is open after Stop")
	}
	if dsn, err := embedded.DSN(dir); !errors.Is(err, embedded.ErrNotRunning) {
		t.Errorf("after Stop another process is told %q, %v", dsn, err)
	}
	again := start(t, embedded.Config{Dir: dir, Settings: map[string]string{"work_mem": "3MB"}})
	read(t, again.DSN())
	if got := query[string](t, again.DSN(), "show work_mem"); got != "3MB" {
		t.Errorf("work_mem is %s", got)
	}
}

func TestTheDatabaseIsPrivateDurableAndPortable(t *testing.T) {
	t.Setenv("PGPORT", "1") // a reader's environment changes nothing
	dir := pgtest.Folder(t)
	s := start(t, embedded.Config{Dir: dir})
	for setting, want := range map[string]string{
		"listen_addresses": "", "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on",
		"data_checksums": "on", "server_encoding": "UTF8", "lc_collate": "C", "timezone": "UTC",
	} {
		if got := query[string](t, s.DSN(), "select current_setting('"+setting+"')"); got != want {
			t.Errorf("%s is %q, want %q", setting, got, want)
		}
	}
	for _, name := range []string{"data", "socket"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	if super := query[bool](t, s.DSN(), "select usesuper from pg_user where usename = current_user"); !super {
		t.Error("the owner is no superuser")
	}
}

func TestTheServerRunsUnprivilegedAndApart(t *testing.T) {
	t.Setenv("TOWPATH_TEST_SECRET", "do not pass on")
	dir := pgtest.Folder(t)
	s := start(t, embedded.Config{Dir: dir})
	info, err := os.Stat(filepath.Join(dir, "data", "postmaster.pid")) // written by the postmaster itself
	if err != nil {
		t.Fatal(err)
	}
	switch uid := int(info.Sys().(*syscall.Stat_t).Uid); {
	case uid == 0:
		t.Error("the server runs as root")
	case os.Geteuid() != 0 && uid != os.Geteuid():
		t.Errorf("the server runs as %d", uid)
	}
	group, err := syscall.Getpgid(s.PID())
	if err != nil {
		t.Fatal(err)
	}
	if group == syscall.Getpgrp() {
		t.Error("a Ctrl-C in the terminal would reach the server")
	}
	conn, err := pgx.Connect(t.Context(), s.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "create temp table env (line text); copy env from program 'env'"); err != nil {
		t.Fatal(err)
	}
	var leaked bool
	if err := conn.QueryRow(t.Context(), "select exists (select from env where line like 'TOWPATH_TEST_SECRET=%')").Scan(&leaked); err != nil {
		t.Fatal(err)
	}
	if leaked {
		t.Error("the server inherited the worker's environment")
	}
}

func TestASecondWorkerIsRefused(t *testing.T) {
	t.Parallel()
	dir := pgtest.Folder(t)
	o := startOwner(t, dir, "")
	pid := o.serverPID(t)
	_, err := embedded.Start(t.Context(), embedded.Config{Dir: dir})
	inUse, ok := errors.AsType[*embedded.InUseError](err)
	if !ok {
		t.Fatalf("the second start says %v", err)
	}
	if inUse.PID != o.cmd.Process.Pid {
		t.Errorf("the owner is %d, the error names %d", o.cmd.Process.Pid, inUse.PID)
	}
	if !strings.Contains(err.Error(), strconv.Itoa(inUse.PID)) || !strings.Contains(err.Error(), dir) {
		t.Errorf("the error says %q", err)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Errorf("the first worker's server: %v", err)
	}
}

func TestOfManyWorkersThatStartAtOnceOneOwnsTheDirectory(t *testing.T) {
	t.Parallel()
	dir := pgtest.Folder(t)
	type result struct {
		s   *embedded.Server
		err error
	}
	results := make(chan result)
	for range 4 {
		go func() {
			s, err := embedded.Start(context.Background(), embedded.Config{Dir: dir})
			results <- result{s, err}
		}()
	}
	var owners []*embedded.Server
	for range 4 {
		r := <-results
		if r.err == nil {
			owners = append(owners, r.s)
		} else if _, ok := errors.AsType[*embedded.InUseError](r.err); !ok {
			t.Errorf("a loser was told %v", r.err)
		}
	}
	if len(owners) != 1 {
		t.Errorf("%d workers own the directory", len(owners))
	}
	for _, s := range owners {
		stop(t, s)
	}
}

func TestStopDisconnectsClientsAndMayBeRepeated(t *testing.T) {
	t.Parallel()
	dir := pgtest.Folder(t)
	s := start(t, embedded.Config{Dir: dir})
	conn, err := pgx.Connect(t.Context(), s.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "begin; create table half_done ()"); err != nil {
		t.Fatal(err)
	}
	stop(t, s)
	stop(t, s)
	again := start(t, embedded.Config{Dir: dir})
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := again.Stop(cancelled); err != nil { // at once
		t.Fatal(err)
	}
	start(t, embedded.Config{Dir: dir})
}
