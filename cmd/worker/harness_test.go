package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/towpath/towpath/examples/standin"
	"github.com/towpath/towpath/hostabi/engine"
	"github.com/towpath/towpath/queue/queuetest"
	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/store/embedded/pgtest"
)

func TestMain(m *testing.M) {
	engine.ChildMain()
	testscript.Main(suite{m}, map[string]func(){"worker": main})
}

// suite runs the tests with pgtest's server around them.
type suite struct{ m *testing.M }

func (s suite) Run() int {
	dir, err := os.MkdirTemp("", "towpath-worker-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	built.dir = dir
	return pgtest.Main(s.m)
}

// TestScripts plays the stories of testdata/script, side by side, with the program in processes of its own: prove.txtar kills
// workers, outage.txtar the database.
//
// feature: D65 D111
func TestScripts(t *testing.T) { playScripts(t, "testdata/script") }

func playScripts(t *testing.T, dir string) {
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Values[stage{}] = &script{t: env.T().(testing.TB), nodes: map[string]*node{}, provider: standin.New(standin.Options{})}
			env.Setenv("TOWPATH_PLUGINS", filepath.Join(env.WorkDir, "plugins"))
			env.Setenv("TOWPATH_CACHE_DIR", filepath.Join(built.dir, "cache"))
			env.Setenv("TOWPATH_DAEMONS", filepath.Join(env.WorkDir, "daemons"))
			env.Setenv("DEEPSEEK_API_KEY", "sesame-open")
			env.Setenv("MINIMAX_API_KEY", "barley-shut")
			env.Setenv("OPENAI_API_KEY", "canary/of+the \"key\"")
			env.Setenv("TMPDIR", env.Getenv("WORK"))
			// A program that starts nodes of its own starts what it is itself.
			env.Setenv("PROVER", "worker")
			if raced {
				build(env.T().(testing.TB))
				env.Setenv("PROVER", filepath.Join(built.dir, "worker"))
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"database": cmdDatabase,
			"sql":      cmdSQL,
			"profile":  cmdProfile,
			"save":     cmdSave,
			"event":    cmdEvent,
			"start":    cmdStart,
			"node":     cmdNode,
			"signal":   cmdSignal,
			"ended":    cmdEnded,
			"exits":    cmdExits,
			"log":      cmdLog,
			"folder":   cmdFolder,
			"bytes":    cmdBytes,
			"plugin":   cmdPlugin,
			"held":     cmdHeld,
			"release":  cmdRelease,
			"asked":    cmdAsked,
			"crash":    cmdCrash,
			"canary":   cmdCanary,
			"nokey":    cmdNoKey,
			"codex":    cmdCodex,
			"job":      cmdJob,
			"account":  cmdAccount,
			"aimock":   cmdAimock,
			"pooler":   cmdPooler,
			"ui":       cmdUI,
			"until":    cmdUntil,
			"get":      cmdGet,

			"collector": cmdCollector,
			"spans":     cmdSpans,
		},
	})
}

type stage struct{}

// script is what one story holds on to.
type script struct {
	t        testing.TB
	nodes    map[string]*node
	provider *standin.Server
	canary   string // the key that is looked for
	canaryIn string // the variable of the environment that may hold it

	collector collector
}

func of(ts *testscript.TestScript) *script { return ts.Value(stage{}).(*script) }

func only(ts *testscript.TestScript, neg bool, args []string, usage string, ok bool) {
	if neg || !ok {
		ts.Fatalf("usage: %s", usage)
	}
}

// database [empty|missing] gives the story a database of its own as DATABASE_URL: migrated, empty, or not there.
func cmdDatabase(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, "database [empty|missing]", len(args) < 2)
	dsn := ""
	switch strings.Join(args, " ") {
	case "":
		dsn = queuetest.Database(of(ts).t)
	case "empty":
		dsn = pgtest.CreateDatabase(of(ts).t, "")
	case "missing":
		dsn = pgtest.DSN(of(ts).t, "towpath_no_such_database")
	}
	ts.Setenv("DATABASE_URL", dsn)
}

// databaseOf is how the harness itself reaches the story's database: past a pooler, if there is one.
func databaseOf(ts *testscript.TestScript) string {
	return cmp.Or(ts.Getenv("DIRECT_URL"), ts.Getenv("DATABASE_URL"))
}

// sql STATEMENTS prints the rows they yield, columns separated by tabs.
func cmdSQL(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, false, args, "[!] sql STATEMENTS", len(args) == 1)
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, databaseOf(ts))
	ts.Check(err)
	defer conn.Close(ctx)
	results, err := conn.PgConn().Exec(ctx, args[0]).ReadAll()
	for _, r := range results {
		for _, row := range r.Rows {
			fmt.Fprintf(ts.Stdout(), "%s\n", bytes.Join(row, []byte("\t")))
		}
	}
	if err != nil {
		fmt.Fprintln(ts.Stderr(), err)
	}
	if (err != nil) != neg {
		ts.Fatalf("sql: %v", err)
	}
}

// profile NAME registers a backend as a node would, for stories that need no node.
func cmdProfile(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, "profile NAME", len(args) == 1)
	cmdSQL(ts, false, []string{fmt.Sprintf("select towpath.profile_put('%s', 'digest', '{}', '{}', 3, '10 minutes', 'test')", args[0])})
}

// save NAME keeps the last command's output, without its line end, in a variable.
func cmdSave(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, "save NAME", len(args) == 1)
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

// patience is for what must happen, compiling a large plugin on a busy machine included; nothing is measured by it.
const patience = 4 * time.Minute

// event ID TYPE [PATTERN] waits for an event of a process, printing those before it too. It fails when the process ends first.
func cmdEvent(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, "event ID TYPE [PATTERN]", len(args) == 2 || len(args) == 3)
	pattern := regexp.MustCompile("")
	if len(args) == 3 {
		pattern = regexp.MustCompile(args[2])
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	pool, err := store.Open(ctx, databaseOf(ts), false)
	ts.Check(err)
	defer pool.Close()
	found := errors.New("found")
	err = store.New(pool).Follow(ctx, args[0], 0, time.Second, true, func(e store.Event) error {
		display{}.line(ts.Stdout(), e)
		if e.Type == args[1] && pattern.Match(e.Data) {
			return found
		}
		return nil
	})
	if err != found {
		ts.Fatalf("no event %v: %v", args[1:], err)
	}
}

// node is a running worker whose log the story can wait on.
type node struct {
	cmd  *exec.Cmd
	done chan struct{}

	mu   sync.Mutex
	cond *sync.Cond
	log  bytes.Buffer
}

// start NAME ARG… runs the program in the background.
func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, "start NAME ARG…", len(args) > 0)
	program, err := exec.LookPath("worker")
	ts.Check(err)
	if raced {
		build(of(ts).t)
		program = filepath.Join(built.dir, "worker")
	}
	n := &node{cmd: exec.Command(program, args[1:]...), done: make(chan struct{})}
	n.cond = sync.NewCond(&n.mu)
	for _, name := range scriptVariables {
		if value := ts.Getenv(name); value != "" {
			n.cmd.Env = append(n.cmd.Env, name+"="+value)
		}
	}
	n.cmd.Dir = ts.MkAbs(".")
	pipe, err := n.cmd.StderrPipe()
	ts.Check(err)
	ts.Check(n.cmd.Start())
	of(ts).nodes[args[0]] = n
	go n.read(pipe)
	ts.Defer(func() {
		n.cmd.Process.Kill()
		<-n.done
		ts.Logf("log of %s:\n%s", args[0], n.text())
	})
}

// node NAME [ARG…] runs a worker in the background and waits until it takes jobs.
func cmdNode(ts *testscript.TestScript, neg bool, args []string) {
	cmdStart(ts, neg, args)
	cmdLog(ts, false, []string{args[0], "msg=ready"})
}

// scriptVariables reach a node.
var scriptVariables = []string{
	"PATH", "HOME", "TMPDIR", "DATABASE_URL", "RIVER_SCHEMA", "DEEPSEEK_API_KEY", "MINIMAX_API_KEY", "OPENAI_API_KEY",
	"TOWPATH_DATA_DIR", "TOWPATH_DAEMONS", "TOWPATH_PLUGINS", "TOWPATH_CACHE_DIR", "TOWPATH_STORAGE", "TOWPATH_LOG_LEVEL", "TOWPATH_POOLED",
	"OTEL_EXPORTER_OTLP_ENDPOINT", "TOWPATH_LOGIN_KEY",
}

func (n *node) read(pipe io.Reader) {
	buf := make([]byte, 4096)
	for {
		m, err := pipe.Read(buf)
		n.mu.Lock()
		n.log.Write(buf[:m])
		n.mu.Unlock()
		n.cond.Broadcast()
		if err != nil {
			break
		}
	}
	n.cmd.Wait()
	n.mu.Lock()
	close(n.done)
	n.mu.Unlock()
	n.cond.Broadcast()
}

func (n *node) text() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.String()
}

func (n *node) ended() bool {
	select {
	case <-n.done:
		return true
	default:
		return false
	}
}

// await reports whether the node has logged the pattern, as soon as it has, or it has ended.
func (n *node) await(pattern *regexp.Regexp) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for !pattern.Match(n.log.Bytes()) {
		if n.ended() {
			return false
		}
		n.cond.Wait()
	}
	return true
}

func nodeOf(ts *testscript.TestScript, name string) *node {
	n := of(ts).nodes[name]
	if n == nil {
		ts.Fatalf("no node %s", name)
	}
	return n
}

// signal NAME INT|TERM|KILL sends a signal to what was started.
func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL}
	only(ts, neg, args, "signal NAME INT|TERM|KILL", len(args) == 2 && signals[args[1]] != 0)
	ts.Check(nodeOf(ts, args[0]).cmd.Process.Signal(signals[args[1]]))
}

// ended NAME CODE waits for the end of what was started; -1 is a death by signal.
func cmdEnded(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, "ended NAME CODE", len(args) == 2)
	n := nodeOf(ts, args[0])
	<-n.done
	if code := n.cmd.ProcessState.ExitCode(); fmt.Sprint(code) != args[1] {
		ts.Fatalf("%s ended with %v", args[0], n.cmd.ProcessState)
	}
}

// exits CODE ARG… runs a command that must fail with that exit code.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, "exits CODE COMMAND ARG…", len(args) > 1)
	err := ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || fmt.Sprint(exit.ExitCode()) != args[0] {
		ts.Fatalf("%s ended with %v", args[1], err)
	}
}

// log NAME PATTERN waits for a line of a node's log; with ! the log has none so far.
func cmdLog(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, false, args, "[!] log NAME PATTERN", len(args) == 2)
	pattern := regexp.MustCompile("(?m)" + args[1])
	n := nodeOf(ts, args[0])
	if neg {
		if line := pattern.FindString(n.text()); line != "" {
			ts.Fatalf("node %s logged %q", args[0], line)
		}
		return
	}
	if !n.await(pattern) {
		ts.Fatalf("node %s never logged %s", args[0], args[1])
	}
}

// folder NAME makes a folder that a private Postgres can live in, and sets the variable to it.
func cmdFolder(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, "folder NAME", len(args) == 1)
	ts.Setenv(args[0], pgtest.Folder(of(ts).t))
}

// bytes FILE COUNT TEXT writes a text many times.
func cmdBytes(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, "bytes FILE COUNT TEXT", len(args) == 3)
	var count int
	_, err := fmt.Sscan(args[1], &count)
	ts.Check(err)
	text := strings.NewReplacer(`\xff`, "\xff").Replace(args[2])
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Repeat(text, count)), 0o600))
}

// built is what this test binary compiles, once.
var built struct {
	dir  string
	once sync.Once
	err  error
}

func build(tb testing.TB) {
	tb.Helper()
	built.once.Do(func() {
		wasm := []string{"GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0"}
		for _, b := range []struct {
			file, folder string
			args, env    []string
		}{
			{"deepseek.wasm", "./plugins/deepseek", []string{"-buildmode=c-shared", "-ldflags=-s -w"}, wasm},
			{"minimax-m3.wasm", "./plugins/minimax-m3", []string{"-buildmode=c-shared", "-ldflags=-s -w"}, wasm},
			{"codex.wasm", "./plugins/codex", []string{"-buildmode=c-shared", "-ldflags=-s -w"}, wasm},
			{"hello.wasm", "./examples/01-hello", []string{"-buildmode=c-shared", "-ldflags=-s -w"}, wasm},
			{"worker", "./cmd/worker", nil, []string{"CGO_ENABLED=0"}},
		} {
			if b.file == "worker" && !raced {
				continue // the test binary itself
			}
			compile := exec.Command("go", append(append([]string{"build", "-o", filepath.Join(built.dir, b.file)}, b.args...), b.folder)...)
			compile.Dir = filepath.Join("..", "..")
			compile.Env = append(os.Environ(), b.env...)
			if out, err := compile.CombinedOutput(); err != nil {
				built.err = fmt.Errorf("build %s: %w\n%s", b.folder, err, out)
				return
			}
		}
	})
	if built.err != nil {
		tb.Fatal(built.err)
	}
}

// chats are the plugins of chat completions: the variable of the key, and where the stand-in plays the provider.
var chats = map[string]struct{ key, door string }{
	"deepseek": {"DEEPSEEK_API_KEY", ""}, "minimax-m3": {"MINIMAX_API_KEY", "/minimax/v1"},
}

// permits of the test's chats: their provider is the stand-in.
const permits = `[[http]]
host = "%[1]s"
methods = ["POST"]
secrets = ["%[2]s"]
private = true

[secrets.%[2]s]
env = "%[2]s"

[config]
base_url = "http://%[1]s%[3]s"
thinking = "disabled"
`

// plugin deepseek|minimax-m3|hello|codex puts a plugin into the plugins folder. The provider of all but hello is the story's own
// stand-in.
func cmdPlugin(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, "plugin deepseek|minimax-m3|hello|codex", len(args) == 1)
	s, folder := of(ts), ts.Getenv("TOWPATH_PLUGINS")
	ts.Check(os.MkdirAll(folder, 0o755))
	build(s.t)
	wasm, err := os.ReadFile(filepath.Join(built.dir, args[0]+".wasm"))
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(folder, args[0]+".wasm"), wasm, 0o600))
	if args[0] == "codex" {
		codexPlugin(ts, folder)
	}
	if chat, ok := chats[args[0]]; ok {
		provider := httptest.NewServer(s.provider)
		ts.Defer(func() {
			provider.CloseClientConnections()
			provider.Close()
		})
		text := fmt.Sprintf(permits, provider.Listener.Addr(), chat.key, chat.door)
		ts.Check(os.WriteFile(filepath.Join(folder, args[0]+".toml"), []byte(text), 0o600))
	}
}

// held NAME waits until a request has come to the hold of that name.
func cmdHeld(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, "held NAME", len(args) == 1)
	select {
	case <-of(ts).provider.Held(args[0]):
	case <-time.After(patience):
		ts.Fatalf("nobody came to %s", args[0])
	}
}

// release NAME lets requests pass the hold of that name.
func cmdRelease(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, "release NAME", len(args) == 1)
	of(ts).provider.Release(args[0])
}

// asked prints what the provider was asked, a request a line.
func cmdAsked(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, "asked", len(args) == 0)
	for _, r := range of(ts).provider.Requests() {
		fmt.Fprintf(ts.Stdout(), "%s %s\n", r.Authorization, r.Body)
	}
}

// crash FOLDER kills the private Postgres of a data directory at once.
func cmdCrash(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, "crash FOLDER", len(args) == 1)
	var pid int
	_, err := fmt.Sscan(ts.ReadFile(filepath.Join(args[0], "data", "postmaster.pid")), &pid)
	ts.Check(err)
	ts.Check(syscall.Kill(pid, syscall.SIGQUIT))
}

// job ID waits until a River job has ended, and prints the process that it became, if any.
func cmdJob(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, "job ID", len(args) == 1)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, databaseOf(ts))
	ts.Check(err)
	defer conn.Close(context.WithoutCancel(ctx))
	for {
		var process string
		var ended bool
		ts.Check(conn.QueryRow(ctx, "select coalesce(metadata->>'process_id', ''), finalized_at is not null from river_job where id = $1", args[0]).Scan(&process, &ended))
		if ended {
			fmt.Fprintln(ts.Stdout(), process)
			return
		}
		// River tells nobody that a job has ended, so this asks again.
		ts.Check(conn.QueryRow(ctx, "select pg_sleep(0.02)").Scan(new(any)))
	}
}
