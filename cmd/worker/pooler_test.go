package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/towpath/towpath/store/embedded/pgtest"
)

// TestThroughAPooler plays the stories of testdata/pooler, in which everybody talks to a real pgbouncer that hands out
// connections by transaction.
func TestThroughAPooler(t *testing.T) {
	if os.Getenv("TOWPATH_TEST_POOLER") == "" {
		t.Skip("needs pgbouncer: make pooler")
	}
	playScripts(t, "testdata/pooler")
}

// poolerSettings: fewer connections to the server than clients, and nothing of a session survives a transaction.
const poolerSettings = `[databases]
%[1]s = host=%[2]s port=%[3]d user=%[4]s dbname=%[1]s
[pgbouncer]
listen_addr =
listen_port = 6432
unix_socket_dir = %[5]s
auth_type = trust
auth_file = %[5]s/users
pool_mode = transaction
default_pool_size = 8
max_client_conn = 200
server_reset_query = discard all
server_reset_query_always = 1
`

// pooler puts a pgbouncer before the story's database, as DATABASE_URL. DIRECT_URL stays the way past it.
func cmdPooler(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, "pooler", len(args) == 0)
	direct, err := pgx.ParseConfig(ts.Getenv("DATABASE_URL"))
	ts.Check(err)
	dir := pgtest.Folder(of(ts).t)
	ts.Check(os.WriteFile(filepath.Join(dir, "ini"), fmt.Appendf(nil, poolerSettings, direct.Database, direct.Host, direct.Port, direct.User, dir), 0o644))
	ts.Check(os.WriteFile(filepath.Join(dir, "users"), fmt.Appendf(nil, "%q \"\"\n", direct.User), 0o644))

	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer" // not in everybody's PATH
	}
	cmd := exec.Command(program, filepath.Join(dir, "ini"))
	if os.Geteuid() == 0 {
		// It refuses to run as root, and the server's socket is its owner's alone.
		info, err := os.Stat(filepath.Join(direct.Host, fmt.Sprintf(".s.PGSQL.%d", direct.Port)))
		ts.Check(err)
		owner := info.Sys().(*syscall.Stat_t)
		ts.Check(os.Chown(dir, int(owner.Uid), int(owner.Gid)))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
	}
	pipe, err := cmd.StderrPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	lines := bufio.NewScanner(pipe)
	var log []string
	for up := false; !up && lines.Scan(); up = strings.Contains(lines.Text(), "process up") {
		log = append(log, lines.Text())
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines.Scan() {
		}
	}()
	ts.Defer(func() {
		cmd.Process.Kill()
		<-read
		cmd.Wait()
	})
	if _, err := os.Stat(filepath.Join(dir, ".s.PGSQL.6432")); err != nil {
		ts.Fatalf("pgbouncer did not start: %s", strings.Join(log, "\n"))
	}
	ts.Setenv("DIRECT_URL", ts.Getenv("DATABASE_URL"))
	ts.Setenv("DATABASE_URL", fmt.Sprintf("postgres://%s@/%s?host=%s&port=6432", direct.User, direct.Database, dir))
	ts.Setenv("TOWPATH_POOLED", "1")
}
