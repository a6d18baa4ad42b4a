//go:build linux

package turn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/worker/egress"
)

// scripts makes every command of a runner's guests a shell script of that name. It counts the permits it gives.
func scripts(r *Runner, table map[string]string, secrets *egress.Secrets) *atomic.Int32 {
	permits := new(atomic.Int32)
	before := r.Backend
	r.Backend = func(ctx context.Context, name string) (Backend, error) {
		b, err := before(ctx, name)
		b.Proc = func(ctx context.Context, wish hostabi.ProcSpec) (Command, error) {
			script, known := table[wish.Name]
			if !known {
				return Command{}, hostabi.Errorf(hostabi.EDENIED, "command %q is not permitted", wish.Name)
			}
			permits.Add(1)
			return Command{
				Path: "/bin/sh", Args: append([]string{"-c", script, "sh"}, wish.Args...), Scrub: secrets.Scrubber,
				Fill: func(p []byte) ([]byte, error) {
					if !strings.Contains(string(p), "{{secret:PW}}") {
						return p, nil
					}
					value, err := secrets.Value(ctx, "PW")
					return []byte(strings.ReplaceAll(string(p), "{{secret:PW}}", value)), err
				},
			}, nil
		}
		return b, err
	}
	return permits
}

func children(t *testing.T, table map[string]string) *bench {
	b := newBench(t)
	scripts(b.runner, table, new(egress.Secrets))
	return b
}

func procOpen(ctx context.Context, t *testing.T, h hostabi.Host, spec string) uint32 {
	t.Helper()
	handle, err := h.ProcOpen(ctx, []byte(spec))
	if err != nil {
		t.Errorf("proc_open %s: %v", spec, err)
	}
	return handle
}

// told is what a guest was told of a handle up to its end: one record each, the DATA of raw framing joined.
func told(ctx context.Context, h hostabi.Host, handle uint32) (string, error) {
	var all []string
	for {
		r, err := h.Wait(ctx, handle, -1)
		if err != nil {
			return "", err
		}
		switch r.Kind {
		case hostabi.KindData:
			all = append(all, "out "+string(r.Payload))
		case hostabi.KindStderr:
			all = append(all, "err "+string(r.Payload))
		case hostabi.KindEnd:
			return strings.Join(append(all, fmt.Sprintf("end %d", r.Code)), "|"), nil
		default:
			return strings.Join(append(all, fmt.Sprintf("failed %v", hostabi.Code(-r.Code))), "|"), nil
		}
	}
}

func refusedWith(t *testing.T, what string, err error, want hostabi.Code) {
	t.Helper()
	var refused *hostabi.Error
	if !errors.As(err, &refused) || refused.Code != want {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// dead fails the test when a process whose number is in a file runs. It has ended when this is asked, or never will.
func dead(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d lives on: %v", pid, err)
		}
	}
}

func TestAGuestTalksWithAChild(t *testing.T) {
	b := children(t, map[string]string{"echo": `while read -r line; do echo "$1 $line"; done; echo bye >&2; exit 7`})
	p := b.run(func(ctx context.Context, h hostabi.Host) error {
		handle := procOpen(ctx, t, h, `{"name":"echo","args":["heard"]}`)
		for _, text := range []string{"one\ntw", "o\n\n"} {
			if err := h.ProcWrite(ctx, handle, []byte(text)); err != nil {
				return err
			}
		}
		if r, err := h.Wait(ctx, 0, -1); err != nil || r.Kind != hostabi.KindData || string(r.Payload) != "heard one" || r.Handle != handle {
			t.Errorf("while standard input is open: %+v, %v", r, err)
		}
		if err := h.ProcWrite(ctx, handle, nil); err != nil {
			return err
		}
		refusedWith(t, "a write after the end", h.ProcWrite(ctx, handle, []byte("x")), hostabi.ESTATE)
		// Its two outputs are two streams: one may be heard before the other.
		if s, err := told(ctx, h, handle); err != nil || strings.Count(s, "err bye\n|") != 1 || strings.Replace(s, "err bye\n|", "", 1) != "out heard two|out heard |end 7" {
			t.Errorf("told %q, %v", s, err)
		}
		if err := h.Close(ctx, handle); err != nil {
			t.Error(err)
		}
		refusedWith(t, "a write to a closed handle", h.ProcWrite(ctx, handle, []byte("x")), hostabi.EBADF)
		return finish(ctx, h)
	})
	if p.Status != "completed" {
		t.Errorf("%s %s", p.Status, p.Outcome)
	}
	b.check()
}

func TestHowChildrenEnd(t *testing.T) {
	b := children(t, map[string]string{
		"fine": `exit 0`, "wrong": `exit 3`, "killed": `kill -TERM $$`, "quiet": `exec 1>&- 2>&-; exit 4`,
		"open end": `printf 'a\n\nb'`, "crlf": `printf 'a\r\n'`,
		"left": `sleep 1000 & echo left; exit 5`,
		"long": `echo first; head -c 65537 /dev/zero; echo; sleep 1000`,
		"fits": `head -c 65536 /dev/zero | tr '\0' x; echo; echo next`,
	})
	want := map[string]string{
		"fine": "end 0", "wrong": "end 3", "killed": "end 143", "quiet": "end 4",
		"open end": "out a|out |out b|end 0", "crlf": "out a\r|end 0", "left": "out left|end 5",
		"long": "out first|failed E2BIG", "fits": "out " + strings.Repeat("x", 65536) + "|out next|end 0",
	}
	p := b.run(func(ctx context.Context, h hostabi.Host) error {
		for name, want := range want {
			handle := procOpen(ctx, t, h, fmt.Sprintf(`{"name":%q}`, name))
			if s, err := told(ctx, h, handle); err != nil || s != want {
				t.Errorf("%s: told %.100q, %v, want %.100q", name, s, err, want)
			}
			if err := h.Close(ctx, handle); err != nil {
				t.Error(err)
			}
		}
		return finish(ctx, h)
	})
	if p.Status != "completed" {
		t.Errorf("%s %s", p.Status, p.Outcome)
	}
}

func TestWhatIsNotPermittedIsNotStarted(t *testing.T) {
	b := newBench(t)
	open := func(spec string) (err error) {
		p := b.run(func(ctx context.Context, h hostabi.Host) error {
			_, err = h.ProcOpen(ctx, []byte(spec))
			return finish(ctx, h)
		})
		if p.Status != "completed" {
			t.Errorf("%s: %s %s", spec, p.Status, p.Outcome)
		}
		return err
	}
	refusedWith(t, "a worker without children", open(`{"name":"x"}`), hostabi.EDENIED)
	scripts(b.runner, map[string]string{"x": "exit"}, new(egress.Secrets))
	for spec, want := range map[string]hostabi.Code{
		`{"name":"y"}`: hostabi.EDENIED, `{}`: hostabi.EDENIED, `{"name":"x","framing":"words"}`: hostabi.EINVAL,
		`{"name":"x","args":["a\u0000b"]}`: hostabi.EINVAL, `{"name":`: hostabi.EINVAL,
		`{"name":"` + strings.Repeat("x", hostabi.MaxHead) + `"}`: hostabi.E2BIG,
	} {
		refusedWith(t, fmt.Sprintf("%.50s", spec), open(spec), want)
	}
	b.run(func(ctx context.Context, h hostabi.Host) error {
		for range 4 {
			procOpen(ctx, t, h, `{"name":"x"}`)
		}
		_, err := h.ProcOpen(ctx, []byte(`{"name":"x"}`))
		refusedWith(t, "one handle too many", err, hostabi.EQUOTA)
		refusedWith(t, "a write to nothing", h.ProcWrite(ctx, 99, []byte("x")), hostabi.EBADF)
		return finish(ctx, h)
	})
}

func TestAChildThatDoesNotStartIsAFailedCall(t *testing.T) {
	b := newBench(t)
	before := b.runner.Backend
	b.runner.Backend = func(ctx context.Context, name string) (Backend, error) {
		backend, err := before(ctx, name)
		backend.Proc = func(context.Context, hostabi.ProcSpec) (Command, error) {
			return Command{Path: "/nowhere/x", Scrub: new(egress.Secrets).Scrubber}, nil
		}
		return backend, err
	}
	b.run(func(ctx context.Context, h hostabi.Host) error {
		handle := procOpen(ctx, t, h, `{"name":"x"}`)
		refusedWith(t, "a write", h.ProcWrite(ctx, handle, []byte("x")), hostabi.EIO)
		if s, err := told(ctx, h, handle); err != nil || s != "failed EIO" {
			t.Errorf("told %q, %v", s, err)
		}
		return finish(ctx, h)
	})
}

func TestASecretGoesInAndDoesNotComeOut(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pw")
	if err := os.WriteFile(file, []byte("correct horse battery"), 0o600); err != nil {
		t.Fatal(err)
	}
	secrets, err := egress.NewSecrets(map[string]egress.Source{"PW": {File: file}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := secrets.Value(t.Context(), "PW"); err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	// The child says it in two halves, so that no chunk holds all of it.
	scripts(b.runner, map[string]string{"login": `read -r pw; [ "$pw" = "correct horse battery" ] || exit 9
		printf '<correct hor'; printf '<correct hor' >&2; sleep 0.2; printf 'se battery>\n'; printf 'se battery>\n' >&2`}, secrets)
	p := b.run(func(ctx context.Context, h hostabi.Host) error {
		for _, framing := range []string{"lines", "raw"} {
			handle := procOpen(ctx, t, h, fmt.Sprintf(`{"name":"login","framing":%q}`, framing))
			if err := h.ProcFill(ctx, handle, []byte("{{secret:PW}}\n")); err != nil {
				return err
			}
			s, err := told(ctx, h, handle)
			if err != nil || strings.Contains(s, "correct") || strings.Count(s, "[redacted:PW]") != 2 || !strings.HasSuffix(s, "|end 0") {
				t.Errorf("%s: told %q, %v", framing, s, err)
			}
		}
		return finish(ctx, h)
	})
	if p.Status != "completed" {
		t.Errorf("%s %s", p.Status, p.Outcome)
	}
	var leaks int
	if err := b.pool.QueryRow(t.Context(), `select count(*) from towpath.journal where position('horse' in encode(entries, 'escape')) > 0`).Scan(&leaks); err != nil || leaks > 0 {
		t.Errorf("%d rows of the journal hold the secret, %v", leaks, err)
	}
}

// A user may write a placeholder too.
func TestOnlyWhatThePluginMarksIsFilled(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pw")
	if err := os.WriteFile(file, []byte("correct horse battery"), 0o600); err != nil {
		t.Fatal(err)
	}
	secrets, err := egress.NewSecrets(map[string]egress.Source{"PW": {File: file}})
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	// The child counts, since what it gives back would be scrubbed.
	scripts(b.runner, map[string]string{"count": `while read -r line; do echo "${#line}"; done`}, secrets)
	p := b.run(func(ctx context.Context, h hostabi.Host) error {
		handle := procOpen(ctx, t, h, `{"name":"count"}`)
		for _, write := range []func(context.Context, uint32, []byte) error{h.ProcWrite, h.ProcFill} {
			if err := write(ctx, handle, []byte("say {{secret:PW}}\n")); err != nil {
				return err
			}
		}
		if err := h.ProcWrite(ctx, handle, nil); err != nil {
			return err
		}
		want := fmt.Sprintf("out %d|out %d|end 0", len("say {{secret:PW}}"), len("say correct horse battery"))
		if s, err := told(ctx, h, handle); err != nil || s != want {
			t.Errorf("told %q, %v, want %q", s, err, want)
		}
		return finish(ctx, h)
	})
	if p.Status != "completed" {
		t.Errorf("%s %s", p.Status, p.Outcome)
	}
}

func TestAGuestThatDoesNotListenStopsTheChild(t *testing.T) {
	dir := t.TempDir()
	b := children(t, map[string]string{"flood": `while head -c 65536 /dev/zero; do echo x >> ` + dir + `/count; done`})
	const heard = 50
	p := b.run(func(ctx context.Context, h hostabi.Host) error {
		handle := procOpen(ctx, t, h, `{"name":"flood","framing":"raw"}`)
		bytes := 0
		for bytes < heard*hostabi.MaxData {
			r, err := h.Wait(ctx, handle, -1)
			if err != nil || r.Kind != hostabi.KindData || len(r.Payload) > hostabi.MaxData {
				t.Fatalf("record %v, %v", r, err)
			}
			bytes += len(r.Payload)
		}
		if err := h.Sleep(ctx, 200*time.Millisecond); err != nil { // in which a pipe without a brake takes much more
			return err
		}
		return finish(ctx, h)
	})
	if p.Status != "completed" {
		t.Errorf("%s %s", p.Status, p.Outcome)
	}
	count, err := os.ReadFile(dir + "/count")
	// What was heard, what lies in the inbox, one on its way, and a pipe that holds one more.
	if n := len(count) / 2; err != nil || n < heard || n > heard+ahead+3 {
		t.Errorf("the child wrote %d pieces, %v", n, err)
	}
}

func TestADeafChildHoldsItsGuestOnlySoLong(t *testing.T) {
	b := children(t, map[string]string{"deaf": `exec sleep 1000`})
	b.limits.Idle = 300 * time.Millisecond
	p := b.run(func(ctx context.Context, h hostabi.Host) error {
		return h.ProcWrite(ctx, procOpen(ctx, t, h, `{"name":"deaf"}`), make([]byte, 1<<20))
	})
	if p.Status != "failed" || *p.FailureKind != "idle" {
		t.Errorf("%s %s", p.Status, p.Outcome)
	}
}

// The first write into a pipe that nobody reads is dropped, as one that came a moment sooner would be; the next is refused.
func TestAChildThatClosesItsInput(t *testing.T) {
	b := children(t, map[string]string{"shut": `exec <&-; echo shut; exec sleep 1000`})
	p := b.run(func(ctx context.Context, h hostabi.Host) error {
		handle := procOpen(ctx, t, h, `{"name":"shut"}`)
		if r, err := h.Wait(ctx, handle, -1); err != nil || string(r.Payload) != "shut" {
			t.Fatalf("record %v, %v", r, err)
		}
		if err := h.ProcWrite(ctx, handle, []byte("one")); err != nil {
			t.Errorf("the first write: %v", err)
		}
		refusedWith(t, "the second write", h.ProcWrite(ctx, handle, []byte("two")), hostabi.EIO)
		if err := h.Close(ctx, handle); err != nil {
			t.Errorf("close: %v", err)
		}
		return finish(ctx, h)
	})
	if p.Status != "completed" {
		t.Errorf("%s %s", p.Status, p.Outcome)
	}
}

// A session whose files are above its quota starts no child, and the guest hears why.
func TestAChildWithoutRoomDoesNotStart(t *testing.T) {
	for want, err := range map[string]error{"failed EQUOTA": hostabi.Errorf(hostabi.EQUOTA, "the files are above the quota"), "failed EIO": errors.New("the disk is gone")} {
		b := children(t, map[string]string{"greeter": `echo hello`})
		b.runner.Dir = func(context.Context, string) (string, error) { return "", err }
		p := b.run(func(ctx context.Context, h hostabi.Host) error {
			if got, err := told(ctx, h, procOpen(ctx, t, h, `{"name":"greeter"}`)); got != want || err != nil {
				t.Errorf("the guest was told %q, %v; want %q", got, err, want)
			}
			return finish(ctx, h)
		})
		if p.Status != "completed" {
			t.Errorf("%s %s", p.Status, p.Outcome)
		}
	}
}

func TestCloseAndTheTurnsEndLeaveNobody(t *testing.T) {
	for name, end := range map[string]func(context.Context, hostabi.Host, []uint32) error{
		"close": func(ctx context.Context, h hostabi.Host, all []uint32) error {
			for _, handle := range all {
				if err := h.Close(ctx, handle); err != nil {
					return err
				}
			}
			return finish(ctx, h)
		},
		"finish":  func(ctx context.Context, h hostabi.Host, _ []uint32) error { return finish(ctx, h) },
		"trouble": func(context.Context, hostabi.Host, []uint32) error { return errLost },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			b := children(t, map[string]string{"family": `trap '' TERM; (sleep 1000 & echo $! >> ` + dir + `/pids); setsid sleep 1000 & echo $$ $! >> ` + dir + `/pids; echo ready; wait`})
			b.run(func(ctx context.Context, h hostabi.Host) error {
				var all []uint32
				for range 3 {
					handle := procOpen(ctx, t, h, `{"name":"family"}`)
					if r, err := h.Wait(ctx, handle, -1); err != nil || string(r.Payload) != "ready" {
						t.Errorf("record %+v, %v", r, err)
					}
					all = append(all, handle)
				}
				return end(ctx, h, all)
			})
			dead(t, dir+"/pids")
		})
	}
}

func TestAChildIsFedByRenewals(t *testing.T) {
	b := newBench(t)
	one := func(r *Runner) (said string) {
		t.Helper()
		scripts(r, map[string]string{"wait": `read -r x; exit 3`}, new(egress.Secrets))
		b.guest = func(ctx context.Context, h hostabi.Host) error {
			handle := procOpen(ctx, t, h, `{"name":"wait"}`)
			if err := h.Sleep(ctx, 2*r.TTL); err != nil {
				return err
			}
			if err := h.ProcWrite(ctx, handle, nil); err != nil {
				refusedWith(t, "a write to a child that was let go", err, hostabi.EIO)
			}
			var err error
			if said, err = told(ctx, h, handle); err != nil {
				return err
			}
			return finish(ctx, h)
		}
		if err := b.work(t.Context(), r, b.submit("")); err != nil {
			t.Fatal(err)
		}
		return said
	}
	config := b.runner.Config
	// A node that renews no lease, as one that is cut off from the database.
	ctx, cancel := context.WithCancel(t.Context())
	config.TTL = time.Second
	hungry := New(config)
	done := make(chan struct{})
	go func() { defer close(done); hungry.flusher.run(ctx) }()
	if said := one(hungry); said != "failed EIO" {
		t.Errorf("a child of a node that does not renew: told %q", said)
	}
	cancel()
	<-done
	hungry.brood.guards.Close()

	ctx, cancel = context.WithCancel(t.Context())
	config.TTL = 6 * time.Second
	healthy := New(config)
	done = make(chan struct{})
	go func() { defer close(done); healthy.Run(ctx) }()
	if said := one(healthy); said != "end 3" {
		t.Errorf("a child of a healthy node: told %q", said)
	}
	cancel()
	<-done
}
