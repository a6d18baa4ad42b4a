//go:build linux

package supervise

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/store/embedded/pgtest"
)

func TestMain(m *testing.M) {
	GuardMain()
	if script := os.Getenv("SUPERVISE_TEST_WORKER"); script != "" {
		os.Exit(worker(script))
	}
	if mode := os.Getenv("SUPERVISE_TEST_DAEMON"); mode != "" {
		os.Exit(serve(mode))
	}
	if dsn := os.Getenv("SUPERVISE_TEST_KEEPER"); dsn != "" {
		os.Exit(keep(dsn, os.Getenv("SUPERVISE_TEST_DIR")))
	}
	os.Exit(pgtest.Main(m))
}

const patience = 30 * time.Second // for what must happen; nothing is measured by it

// shell is a spec for a script.
func shell(script string) Spec {
	return Spec{Path: "/bin/sh", Args: []string{"-c", script}, Feed: time.Hour, Grace: 100 * time.Millisecond}
}

// begin starts a child that ends with the test.
func begin(t *testing.T, s Spec) *Child {
	t.Helper()
	c, err := Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Kill(); <-c.Done() })
	return c
}

// ended waits for a child.
func ended(t *testing.T, c *Child) Exit {
	t.Helper()
	select {
	case <-c.Done():
	case <-time.After(patience):
		t.Fatal("the child does not end")
	}
	exit, err := c.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return exit
}

// witness holds on to a process of somebody else's.
type witness struct {
	pid int
	fd  int
}

// witnesses reads the numbers of n living processes, one a line.
func witnesses(t *testing.T, r io.Reader, n int) []witness {
	t.Helper()
	lines := bufio.NewReader(r)
	var all []witness
	for range n {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("read a process number: %v", err)
		}
		var w witness
		if _, err := fmt.Sscan(line, &w.pid); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if w.fd, err = unix.PidfdOpen(w.pid, 0); err != nil {
			t.Fatalf("process %d: %v", w.pid, err)
		}
		t.Cleanup(func() { unix.Close(w.fd) })
		all = append(all, w)
	}
	return all
}

// mustEnd waits until all are dead.
func mustEnd(t *testing.T, all []witness) {
	t.Helper()
	for _, w := range all {
		if !gone(w.fd, patience) {
			t.Errorf("process %d lives on", w.pid)
			unix.PidfdSendSignal(w.fd, unix.SIGKILL, nil, 0)
		}
	}
}

// mustBeDead looks once: what has ended in time needs no waiting for.
func mustBeDead(t *testing.T, all []witness) {
	t.Helper()
	for _, w := range all {
		if !gone(w.fd, 0) {
			t.Errorf("process %d outlives its guard's report", w.pid)
		}
	}
}

func TestACommandEndsAsItWill(t *testing.T) {
	for _, c := range []struct {
		script string
		want   Exit
		status int
	}{
		{"exit 0", Exit{}, 0},
		{"exit 7", Exit{Code: 7}, 7},
		{"exit 255", Exit{Code: 255}, 255},
		{"kill -TERM $$", Exit{Signal: syscall.SIGTERM}, 143},
		{"kill -KILL $$", Exit{Signal: syscall.SIGKILL}, 137},
		{"exec 1>&- 2>&-; exit 3", Exit{Code: 3}, 3},
	} {
		t.Run(c.script, func(t *testing.T) {
			exit := ended(t, begin(t, shell(c.script)))
			if exit != c.want || exit.Status() != c.status {
				t.Errorf("%+v status %d, want %+v %d", exit, exit.Status(), c.want, c.status)
			}
		})
	}
}

func TestInputAndOutputGoThrough(t *testing.T) {
	c := begin(t, shell("cat; echo to stderr >&2"))
	if err := c.Write(t.Context(), []byte("over and back")); err != nil {
		t.Fatal(err)
	}
	c.CloseStdin()
	out, err := io.ReadAll(c.Stdout)
	if err != nil || string(out) != "over and back" {
		t.Errorf("stdout %q, %v", out, err)
	}
	if out, err = io.ReadAll(c.Stderr); err != nil || string(out) != "to stderr\n" {
		t.Errorf("stderr %q, %v", out, err)
	}
	if exit := ended(t, c); exit != (Exit{}) {
		t.Errorf("exit %+v", exit)
	}
	if err := c.Write(t.Context(), []byte("x")); !errors.Is(err, ErrGone) {
		t.Errorf("writing to the dead: %v", err)
	}
}

func TestAChildSeesNothingOfItsWorker(t *testing.T) {
	t.Setenv("TOWPATH_TEST_SECRET", "hunter2")
	// Whoever started the worker may have left it files that every program inherits.
	stray, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer stray.Close()
	if _, err := unix.FcntlInt(stray.Fd(), unix.F_SETFD, 0); err != nil {
		t.Fatal(err)
	}
	c := begin(t, shell(`env | cut -d= -f1 | sort | tr '\n' ' '; pwd; echo "$HOME"; ls -A | wc -l; stat -c %a .; ls /proc/self/fd | wc -l; echo left > file`))
	out, err := io.ReadAll(c.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 5 {
		t.Fatalf("output %q", out)
	}
	names, dir, _ := strings.Cut(lines[0], "/")
	dir = "/" + dir
	// PWD, OLDPWD, SHLVL and _ are the shell's own.
	for _, name := range strings.Fields(names) {
		if !slices.Contains([]string{"PATH", "HOME", "TMPDIR", "LANG", "PWD", "OLDPWD", "SHLVL", "_"}, name) {
			t.Errorf("the child has %s", name)
		}
	}
	if lines[1] != dir || lines[2] != "0" || lines[3] != "700" {
		t.Errorf("home, files and mode of %s: %q", dir, lines[1:4])
	}
	if lines[4] != "4" { // three, and the one that ls reads
		t.Errorf("%s open files", lines[4])
	}
	ended(t, c)
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left behind: %v", dir, err)
	}
}

func TestAGivenFolderStays(t *testing.T) {
	s := shell("echo kept > file; echo $NAME > name")
	s.Dir, s.Env = t.TempDir(), []string{"NAME=given"}
	ended(t, begin(t, s))
	for name, want := range map[string]string{"file": "kept\n", "name": "given\n"} {
		if text, err := os.ReadFile(s.Dir + "/" + name); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
}

func TestAStartThatFailsSaysWhy(t *testing.T) {
	for path, want := range map[string]string{"/nowhere/command": "no such file", "/": "permission denied"} {
		_, err := Start(t.Context(), Spec{Path: path, Feed: time.Hour})
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("changed our mind")
	cancel(why)
	if _, err := Start(ctx, shell("exit")); !errors.Is(err, why) {
		t.Errorf("a start that is cancelled: %v", err)
	}
}

// families are commands that leave more behind than themselves. Each prints the numbers of its processes, two of them.
var families = map[string]string{
	"a sibling in the background": `sleep 1000 & echo $!; echo $$; exec sleep 1000`,
	"deaf to TERM":                `trap '' TERM; sleep 1000 & echo $!; echo $$; while :; do sleep 1000; done`,
	"forked twice":                `(sleep 1000 & echo $!); echo $$; exec sleep 1000`,
	"a session of its own":        `setsid sh -c 'trap "" TERM; echo $$; exec sleep 1000' & echo $$; exec sleep 1000`,
	"stopped":                     `sleep 1000 & echo $!; echo $$; kill -STOP $$`,
}

func TestKillLeavesNobody(t *testing.T) {
	for name, script := range families {
		t.Run(name, func(t *testing.T) {
			c := begin(t, shell(script))
			all := witnesses(t, c.Stdout, 2)
			c.Kill()
			if exit := ended(t, c); exit.Cause != Killed || exit.Signal == 0 {
				t.Errorf("exit %+v", exit)
			}
			mustBeDead(t, all)
		})
	}
}

func TestWhatACommandLeavesBehindEndsWithIt(t *testing.T) {
	for name, script := range map[string]string{
		"in its group":   `trap '' TERM; sleep 1000 & echo $!; read _; exit 5`,
		"forked twice":   `(sleep 1000 & echo $!); read _; exit 5`,
		"in a session":   `setsid sh -c 'echo $$; exec sleep 1000' & read _; exit 5`,
		"a whole family": `setsid sh -c 'setsid sleep 1000 & echo $$; exec sleep 1000' & read _; exit 5`,
	} {
		t.Run(name, func(t *testing.T) {
			c := begin(t, shell(script))
			all := witnesses(t, c.Stdout, 1)
			c.CloseStdin()
			if exit := ended(t, c); exit != (Exit{Code: 5}) {
				t.Errorf("exit %+v", exit)
			}
			mustBeDead(t, all)
		})
	}
}

func TestOrphansThatEndLeaveNoZombies(t *testing.T) {
	c := begin(t, shell(`for i in 1 2 3 4 5; do (true & echo $!); done; read _`))
	lines := bufio.NewReader(c.Stdout)
	for range 5 {
		var pid int
		if line, err := lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		} else if _, err := fmt.Sscan(line, &pid); err != nil {
			t.Fatal(err)
		}
		// A process that is reaped has no number. There is nothing to wait on but the number itself.
		for deadline := time.Now().Add(patience); unix.Kill(pid, 0) == nil; {
			if time.Now().After(deadline) {
				t.Fatalf("process %d is not reaped", pid)
			}
		}
	}
}

func TestTermComesFirst(t *testing.T) {
	// What it says meanwhile is more than a pipe holds, and nobody reads it.
	s := shell(`trap 'head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2; echo saved > saved; exit 0' TERM; echo ready; while :; do sleep 0.01; done`)
	s.Dir, s.Grace = t.TempDir(), patience
	c := begin(t, s)
	if _, err := c.Stdout.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	c.Kill()
	if n, err := c.Stdout.Read(make([]byte, 10)); n != 0 || !errors.Is(err, os.ErrClosed) {
		t.Errorf("a read after Kill: %d bytes, %v", n, err)
	}
	if exit := ended(t, c); exit != (Exit{Cause: Killed}) {
		t.Errorf("exit %+v", exit)
	}
	if text, err := os.ReadFile(s.Dir + "/saved"); err != nil || string(text) != "saved\n" {
		t.Errorf("the command could not save: %q, %v", text, err)
	}
}

func TestAWorkerThatReadsNothingStopsTheCommand(t *testing.T) {
	s := shell(`head -c 1073741824 /dev/zero; echo written > done`)
	s.Dir = t.TempDir()
	c := begin(t, s)
	if _, err := io.CopyN(io.Discard, c.Stdout, 10<<20); err != nil {
		t.Fatal(err)
	}
	c.Kill()
	ended(t, c)
	if _, err := os.Stat(s.Dir + "/done"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a gigabyte found room in a pipe: %v", err)
	}
}

func TestAGigabyteComesThrough(t *testing.T) {
	c := begin(t, shell(`head -c 1073741824 /dev/zero`))
	n, err := io.Copy(io.Discard, c.Stdout)
	if err != nil || n != 1<<30 {
		t.Errorf("%d bytes, %v", n, err)
	}
	if exit := ended(t, c); exit != (Exit{}) {
		t.Errorf("exit %+v", exit)
	}
}

func TestAWriteToADeafCommandEndsWithItsContext(t *testing.T) {
	c := begin(t, shell(`exec sleep 1000`))
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	var writing sync.WaitGroup
	writing.Go(func() {
		if err := c.Write(ctx, make([]byte, 1<<20)); !errors.Is(err, why) {
			t.Errorf("write: %v", err)
		}
	})
	cancel(why)
	writing.Wait()
}

// feature: C12
func TestAChildThatIsNotFedEnds(t *testing.T) {
	s := shell(families["deaf to TERM"])
	s.Feed = 2 * time.Second // in which it must have spoken
	c := begin(t, s)
	all := witnesses(t, c.Stdout, 2)
	if exit := ended(t, c); exit.Cause != Starved {
		t.Errorf("exit %+v", exit)
	}
	mustBeDead(t, all)
	c.Feed(time.Hour) // too late, and harmless
}

// feature: C12
func TestAFedChildLives(t *testing.T) {
	s := shell(`read line; exit 4`)
	s.Feed = 3 * time.Second
	c := begin(t, s)
	c.Feed(time.Hour)
	time.AfterFunc(s.Feed+time.Second, c.CloseStdin)
	if exit := ended(t, c); exit != (Exit{Code: 4}) {
		t.Errorf("exit %+v", exit)
	}
}

func TestAGuardThatDiesTakesItsChildAlong(t *testing.T) {
	for name, script := range families {
		if name == "a session of its own" {
			continue // nothing marks it as ours then: see the package comment
		}
		t.Run(name, func(t *testing.T) {
			c := begin(t, shell(script))
			all := witnesses(t, c.Stdout, 2)
			c.guard.Process.Kill()
			<-c.Done()
			if _, err := c.Wait(); !errors.Is(err, ErrGuard) {
				t.Errorf("wait: %v", err)
			}
			mustBeDead(t, all)
		})
	}
}

func TestAGuardThatIsStoppedIsKilled(t *testing.T) {
	c := begin(t, shell(families["a sibling in the background"]))
	all := witnesses(t, c.Stdout, 2)
	if err := c.guard.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	c.Kill()
	<-c.Done()
	if _, err := c.Wait(); !errors.Is(err, ErrGuard) {
		t.Errorf("wait: %v", err)
	}
	mustBeDead(t, all)
}

func TestAGuardHearsOnlyItsWorker(t *testing.T) {
	c := begin(t, shell(`read line; exit 6`))
	for _, s := range []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		if err := c.guard.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	c.CloseStdin()
	if exit := ended(t, c); exit != (Exit{Code: 6}) {
		t.Errorf("exit %+v", exit)
	}
}

// worker is a process of its own that starts a child, says the numbers of the child's processes, and feeds it.
func worker(script string) int {
	s := shell(script)
	s.Feed = 2 * time.Second
	c, err := Start(context.Background(), s)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go io.Copy(os.Stdout, c.Stdout)
	for range time.Tick(s.Feed / 10) {
		c.Feed(s.Feed)
	}
	return 0
}

func TestChildrenEndWithTheirWorker(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		for name, script := range families {
			t.Run(fmt.Sprint(s, " ", name), func(t *testing.T) {
				t.Parallel()
				self, err := os.Executable()
				if err != nil {
					t.Fatal(err)
				}
				w := exec.Command(self)
				w.Env = append(os.Environ(), "SUPERVISE_TEST_WORKER="+script)
				w.Stderr = os.Stderr
				out, err := w.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := w.Start(); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { w.Process.Kill(); w.Wait() })
				all := witnesses(t, out, 2)
				if err := w.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
				mustEnd(t, all)
			})
		}
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		c, err := Start(b.Context(), Spec{Path: "/bin/true", Feed: time.Hour})
		if err != nil {
			b.Fatal(err)
		}
		if exit, err := c.Wait(); exit != (Exit{}) || err != nil {
			b.Fatal(exit, err)
		}
		c.Kill()
	}
}
