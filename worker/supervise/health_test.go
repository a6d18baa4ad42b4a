//go:build linux

package supervise

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/towpath/towpath/store"
)

// feature: B5 B8
func TestHealthByURL(t *testing.T) {
	y := newYard(t)
	d, _ := y.node("n")
	program, err := os.Executable()
	y.ok(err)
	spec := func(mode, more string) string {
		return fmt.Sprintf(`{"command": %q, "env": {"SUPERVISE_TEST_DAEMON": %q, "PORT": "{port}"}, "health_url": "/health", "interval_s": 0.1,
			"timeout_s": 1, "failures": 3, "grace_s": 0.2, "backoff_s": 0.1%s}`, program, mode, more)
	}
	y.spec("well", spec("well", ""))
	y.start(d, "well")
	now := y.until("well", "healthy", func(d store.Daemon) bool { return d.State == "running" && d.Health != nil && *d.Health == "healthy" })

	// One failure changes nothing: it fails every second time, and is never unhealthy.
	y.spec("moody", spec("moody", ""))
	y.start(d, "moody")
	before := y.until("moody", "ready", func(d store.Daemon) bool { return d.State == "running" })
	y.until("moody", "asked ten times", func(store.Daemon) bool { return strings.Count(y.said("moody", Stdout), "asked") >= 10 })
	if after := y.seen("moody"); *after.PID != *before.PID || *after.Health != "healthy" {
		t.Errorf("a moody daemon: %+v", after)
	}

	// Many in a row do, and the policy restarts it.
	y.spec("sick", spec("sick", ""))
	y.start(d, "sick")
	if after := y.state("sick", "restarting"); !strings.Contains(*after.LastEnd, "unhealthy: answer 503") {
		t.Errorf("a sick daemon ended by %s", *after.LastEnd)
	}
	y.spec("hangs", spec("hangs", ""))
	y.start(d, "hangs")
	if after := y.state("hangs", "restarting"); !strings.Contains(*after.LastEnd, "unhealthy: no answer within 1s") {
		t.Errorf("a hanging daemon ended by %s", *after.LastEnd)
	}
	// Where it is not to be restarted, it is left and shown.
	y.spec("left", spec("sick", `, "restart": "never"`))
	y.start(d, "left")
	y.until("left", "unhealthy", func(d store.Daemon) bool { return d.State == "running" && d.Health != nil && *d.Health == "unhealthy" })

	// Never ready.
	y.spec("slow", spec("never", `, "ready_s": 1`))
	y.start(d, "slow")
	if after := y.state("slow", "restarting"); !strings.HasPrefix(*after.LastEnd, "not ready within 1s: ") {
		t.Errorf("a daemon that is never ready ended by %s", *after.LastEnd)
	}

	// A stranger's answer is none: this daemon's port is another daemon's.
	y.spec("liar", fmt.Sprintf(`{"command": "/bin/sleep", "args": ["1000"], "port": %d, "health_url": "http://127.0.0.1:%d/health", "ready_s": 1, "timeout_s": 0.5, "grace_s": 0.1}`,
		freePort(t), *now.Port))
	y.start(d, "liar")
	if d := y.state("liar", "restarting"); d.ReadyAt != nil || !strings.Contains(*d.LastEnd, "a stranger listens on port") {
		t.Errorf("a stranger's answer is health: %s", *d.LastEnd)
	}

	// Somebody asks for a look now.
	asked, err := y.store.CheckDaemon(t.Context(), "well")
	y.ok(err)
	y.until("well", "looked at", func(d store.Daemon) bool { return d.CheckedAt.After(asked) })
	y.sound()
}

// feature: B6
func TestHealthByCommand(t *testing.T) {
	y := newYard(t)
	d, _ := y.node("n")
	mark := filepath.Join(t.TempDir(), "well")
	y.ok(os.WriteFile(mark, nil, 0o600))
	y.spec("d", fmt.Sprintf(`{"command": "/bin/sleep", "args": ["1000"], "dir": %q, "env": {"FILE": "well"}, "health_cmd": ["/bin/sh", "-c", "test -e $FILE"],
		"interval_s": 0.1, "failures": 2, "grace_s": 0.1, "backoff_s": 0.1, "outlives": true}`, filepath.Dir(mark)))
	y.start(d, "d")
	y.until("d", "healthy", func(d store.Daemon) bool { return d.State == "running" && *d.Health == "healthy" })
	y.ok(os.Remove(mark))
	if after := y.state("d", "restarting"); !strings.Contains(*after.LastEnd, "unhealthy: exit status 1") {
		t.Errorf("it ended by %s", *after.LastEnd)
	}
	// A command that never ends is ended.
	y.spec("e", `{"command": "/bin/sleep", "args": ["1000"], "health_cmd": ["/bin/sh", "-c", "sleep 1000"], "timeout_s": 0.2, "ready_s": 1, "grace_s": 0.1}`)
	y.start(d, "e")
	if after := y.state("e", "restarting"); !strings.HasPrefix(*after.LastEnd, "not ready within 1s: ") {
		t.Errorf("it ended by %s", *after.LastEnd)
	}
	y.sound()
}

// serve is a daemon for these tests, in a process of its own.
func serve(mode string) int {
	n := 0
	http.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) {
		n++
		fmt.Println("asked", n)
		switch {
		case mode == "moody" && n%2 == 0, mode == "sick" && n > 1, mode == "never":
			http.Error(w, "no", http.StatusServiceUnavailable)
		case mode == "hangs" && n > 1:
			<-r.Context().Done()
		}
	})
	fmt.Println(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
	return 1
}
