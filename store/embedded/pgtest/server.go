package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/towpath/towpath/store/embedded"
)

// settings trade durability, which a throwaway server does not need, for speed, and leave room for parallel tests.
var settings = map[string]string{
	"fsync":              "off",
	"full_page_writes":   "off",
	"synchronous_commit": "off",
	"max_connections":    "300",
	"shared_buffers":     "64MB",
}

// throwaway is the server of this test binary.
type throwaway struct {
	server *embedded.Server
	guard  guard
}

var (
	mu      sync.Mutex
	running *throwaway
)

// Main runs a package's tests, stops the server, and fails a package that passed but left goroutines behind.
func Main(m *testing.M, options ...goleak.Option) int {
	code := m.Run()
	err := stop()
	if code == 0 && err == nil {
		err = goleak.Find(options...)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		code = max(code, 1)
	}
	return code
}

// Server is the server of this test binary, started at the first call. It is an error to ask for it when
// TOWPATH_TEST_DATABASE_URL is set: most tests want [CreateDatabase], which works in both cases.
func Server(tb testing.TB) *embedded.Server {
	tb.Helper()
	if os.Getenv(urlVariable) != "" {
		tb.Fatalf("this test needs a server of its own: unset %s", urlVariable)
	}
	mu.Lock()
	defer mu.Unlock()
	if running == nil {
		t, err := start(context.WithoutCancel(tb.Context()))
		if err != nil {
			tb.Fatalf("pgtest: %v", err)
		}
		running = t
	}
	return running.server
}

func start(ctx context.Context) (*throwaway, error) {
	template, err := dataTemplate(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := makeFolder()
	if err != nil {
		return nil, err
	}
	guard, err := startGuard(dir)
	if err != nil {
		return nil, err
	}
	server, err := startIn(ctx, template, dir)
	if err != nil {
		return nil, errors.Join(err, guard.Close())
	}
	return &throwaway{server, guard}, nil
}

// startIn starts a server on a copy of template, or on a fresh data directory when that is "".
func startIn(ctx context.Context, template, dir string) (*embedded.Server, error) {
	if template != "" {
		if err := copyFolder(ctx, template, filepath.Join(dir, "data")); err != nil {
			return nil, err
		}
	}
	return embedded.Start(ctx, embedded.Config{Dir: dir, Settings: settings})
}

func stop() error {
	mu.Lock()
	defer mu.Unlock()
	if running == nil {
		return nil
	}
	t := running
	running = nil
	// The guard ends the server at once: a clean shutdown would write a checkpoint that nobody reads.
	err := t.guard.Close()
	<-t.server.Done()
	return errors.Join(err, t.server.Stop(context.Background()))
}

// guardScript waits until its standard input ends, which it does at the latest with this process.
const guardScript = `read -r _
if { read -r pid <"$1/data/postmaster.pid"; } 2>/dev/null; then
	kill -QUIT "$pid" 2>/dev/null
	n=0
	while kill -0 "$pid" 2>/dev/null && [ $n -lt 100 ]; do n=$((n+1)); sleep 0.05; done
fi
rm -rf "$1"`

// guard stops the server of a folder and removes the folder: at Close, or when this process dies.
type guard struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

func startGuard(dir string) (guard, error) {
	cmd := exec.Command("sh", "-c", guardScript, "towpath-pgtest-guard", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // survives a Ctrl-C
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return guard{}, err
	}
	return guard{cmd, pipe}, cmd.Start()
}

func (g guard) Close() error { return errors.Join(g.pipe.Close(), g.cmd.Wait()) }
