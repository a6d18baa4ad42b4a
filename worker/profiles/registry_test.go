package profiles

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/towpath/towpath/hostabi"
)

// fakeModule stands for the engine's: its file is `module`, a manifest in JSON, and whatever else tells it apart.
type fakeModule struct {
	wasm     []byte
	manifest hostabi.Manifest
	limits   Limits
	closed   atomic.Int32
}

func (m *fakeModule) Digest() [32]byte           { return sha256.Sum256(m.wasm) }
func (m *fakeModule) Snapshot() [32]byte         { return sha256.Sum256(m.wasm) }
func (m *fakeModule) Manifest() hostabi.Manifest { return m.manifest }
func (m *fakeModule) Run(context.Context, hostabi.Host) error {
	if m.closed.Load() > 0 {
		return errors.New("closed")
	}
	return nil
}
func (m *fakeModule) Close(context.Context) error { m.closed.Add(1); return nil }

// folder is a plugins folder with a Registry that reads it.
type folder struct {
	*Registry
	t    *testing.T
	dir  string
	log  strings.Builder
	mu   sync.Mutex
	made []*fakeModule
}

var errNotAModule = errors.New("not a WebAssembly module; build it with GOOS=wasip1")

func newFolder(t *testing.T) *folder {
	f := &folder{t: t, dir: t.TempDir()}
	f.Registry = New(func(ctx context.Context, wasm []byte, limits Limits) (Module, error) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		m := &fakeModule{wasm: wasm, limits: limits}
		f.mu.Lock()
		f.made = append(f.made, m)
		f.mu.Unlock()
		rest, ok := strings.CutPrefix(string(wasm), "module ")
		if !ok {
			return nil, errNotAModule
		}
		return m, json.NewDecoder(strings.NewReader(rest)).Decode(&m.manifest)
	}, slog.New(slog.NewTextHandler(&f.log, nil)))
	t.Cleanup(func() {
		f.Close()
		for _, m := range f.made {
			if n := m.closed.Load(); n > 1 || n == 0 && strings.HasPrefix(string(m.wasm), "module ") {
				t.Errorf("module %.40q was closed %d times", m.wasm, n)
			}
		}
	})
	return f
}

func (f *folder) put(name, text string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f *folder) remove(name string) {
	f.t.Helper()
	if err := os.Remove(filepath.Join(f.dir, name)); err != nil {
		f.t.Fatal(err)
	}
}

func (f *folder) scan() {
	f.t.Helper()
	if err := f.Scan(f.t.Context(), f.dir); err != nil {
		f.t.Fatal(err)
	}
}

func (f *folder) get(name string) *Profile {
	f.t.Helper()
	p, err := f.Get(name)
	if err != nil {
		f.t.Fatal(err)
	}
	return p
}

// loads counts what was given to the loader.
func (f *folder) loads() int { return len(f.made) }

func TestADroppedFileIsServed(t *testing.T) {
	f := newFolder(t)
	f.put("echo.wasm", `module {"name":"echo","version":"1.2"}`)
	f.put("deepseek.wasm", `module {"name":"deepseek"}`)
	f.put("deepseek.toml", "[[http]]\nhost=\"api.example.com\"\nmethods=[\"POST\"]\n[limits]\nmemory_mb=32\n[config]\nmodel=\"small\"")
	f.put("notes.txt", "not a plugin")
	f.put(".echo.wasm.part", "half")
	f.scan()
	if got := f.Names(); !slices.Equal(got, []string{"deepseek", "echo"}) || len(f.Problems()) != 0 {
		t.Fatalf("served are %v, problems %v", got, f.Problems())
	}
	p := f.get("deepseek")
	defer p.Release()
	if want := fmt.Sprintf("%x", sha256.Sum256([]byte(`module {"name":"deepseek"}`))); p.Digest != want {
		t.Errorf("digest is %s, want %s", p.Digest, want)
	}
	if string(p.Permits.Config) != `{"model":"small"}` || p.Module.(*fakeModule).limits.Memory != 32<<20 {
		t.Errorf("profile is %+v", p.Permits)
	}
	bare := f.get("echo")
	defer bare.Release()
	if bare.Permits.Limits != DefaultLimits() || bare.Manifest.Version != "1.2" {
		t.Errorf("profile is %+v", bare)
	}
	_, err := bare.Egress.Open(t.Context(), hostabi.HTTPHead{Method: "GET", URL: "https://api.example.com"}, nil, nil)
	var refused *hostabi.Error
	if !errors.As(err, &refused) || refused.Code != hostabi.EDENIED {
		t.Errorf("a module without permits opens a request: %v", err)
	}
	if _, err := bare.Proc("sh"); !errors.As(err, &refused) || refused.Code != hostabi.EDENIED {
		t.Errorf("a module without permits gets a command: %v", err)
	}
}

func TestAnUnchangedFolderLoadsNothing(t *testing.T) {
	f := newFolder(t)
	f.put("echo.wasm", "module {}")
	f.put("broken.wasm", "junk")
	f.scan()
	before := f.loads()
	f.scan()
	f.scan()
	if f.loads() != before || len(f.Problems()) != 1 {
		t.Errorf("%d more loads, problems %v", f.loads()-before, f.Problems())
	}
	if n := strings.Count(f.log.String(), "refused"); n != 1 {
		t.Errorf("the problem is logged %d times", n)
	}
	// To touch a file is to ask again.
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(f.dir, "broken.wasm"), later, later); err != nil {
		t.Fatal(err)
	}
	f.scan()
	if f.loads() != before+1 {
		t.Errorf("%d more loads after a touch, want 1", f.loads()-before)
	}
}

func TestAReplacedModuleServesNewTurnsOnly(t *testing.T) {
	f := newFolder(t)
	f.put("echo.wasm", `module {"version":"1"}`)
	f.scan()
	one, two := f.get("echo"), f.get("echo")
	f.put("echo.wasm", `module {"version":"2"}`)
	f.scan()
	next := f.get("echo")
	if one.Manifest.Version != "1" || next.Manifest.Version != "2" {
		t.Errorf("running %s, new %s", one.Manifest.Version, next.Manifest.Version)
	}
	if err := one.Module.Run(t.Context(), nil); err != nil {
		t.Errorf("the running turn lost its module: %v", err)
	}
	one.Release()
	if n := two.Module.(*fakeModule).closed.Load(); n != 0 {
		t.Error("closed while a turn still runs")
	}
	two.Release()
	if n := two.Module.(*fakeModule).closed.Load(); n != 1 {
		t.Errorf("closed %d times after the last use", n)
	}
	next.Release()
	if n := next.Module.(*fakeModule).closed.Load(); n != 0 {
		t.Error("a served module is closed")
	}
}

func TestAChangedPermitFileMakesANewProfile(t *testing.T) {
	f := newFolder(t)
	f.put("echo.wasm", "module {}")
	f.scan()
	f.put("echo.toml", "[limits]\ncapacity=1")
	f.scan()
	p := f.get("echo")
	if p.Permits.Limits.Capacity != 1 {
		t.Errorf("capacity is %d", p.Permits.Limits.Capacity)
	}
	p.Release()
	f.remove("echo.toml")
	f.scan()
	p = f.get("echo")
	if p.Permits.Limits.Capacity != DefaultLimits().Capacity {
		t.Errorf("capacity is %d after the file is gone", p.Permits.Limits.Capacity)
	}
	p.Release()
}

func TestARemovedFileIsRefusedByName(t *testing.T) {
	f := newFolder(t)
	f.put("echo.wasm", "module {}")
	f.put("other.wasm", `module {"name":"other"}`)
	f.scan()
	running := f.get("echo")
	f.remove("echo.wasm")
	f.scan()
	_, err := f.Get("echo")
	var unknown *ErrUnknownProfile
	if !errors.As(err, &unknown) || unknown.Name != "echo" || !slices.Equal(unknown.Known, []string{"other"}) {
		t.Fatalf("error is %v", err)
	}
	if err.Error() != `unknown profile "echo": known are other` {
		t.Errorf("error reads %q", err)
	}
	if err := running.Module.Run(t.Context(), nil); err != nil {
		t.Errorf("the running turn lost its module: %v", err)
	}
	running.Release()
	f.remove("other.wasm")
	f.scan()
	if _, err := f.Get("other"); err == nil || !strings.Contains(err.Error(), "plugins folder") {
		t.Errorf("error is %v", err)
	}
}

func TestABrokenFileDisturbsNothing(t *testing.T) {
	f := newFolder(t)
	f.put("good.wasm", "module {}")
	f.put("kept.wasm", `module {"version":"1"}`)
	f.scan()
	f.put("kept.wasm", "modu") // half-written
	f.put("junk.wasm", "junk")
	f.put("typo.wasm", "module {}")
	f.put("typo.toml", "[limit]")
	f.put("lonely.toml", "")
	f.put("Bad Name.wasm", "module {}")
	f.put("needs.wasm", "module {}")
	f.put("needs.toml", "[[proc]]\nname=\"x\"\ncommand=\"/nonexistent/x\"")
	if err := os.Mkdir(filepath.Join(f.dir, "dir.wasm"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(f.dir, "fifo.wasm"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(f.dir, "link.wasm")); err != nil {
		t.Fatal(err)
	}
	big, err := os.Create(filepath.Join(f.dir, "big.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	if err := big.Truncate(hostabi.MaxModule + 1); err != nil {
		t.Fatal(err)
	}
	big.Close()
	f.scan()

	want := map[string]string{
		"Bad Name.wasm": "rename it", "big.wasm": "16384 KiB", "dir.wasm": "not a regular file", "fifo.wasm": "not a regular file",
		"junk.wasm": "GOOS=wasip1", "kept.wasm": "still served", "link.wasm": "no such file", "lonely.toml": "no lonely.wasm",
		"needs.wasm": "needs.toml: proc x: command /nonexistent/x cannot be run here", "typo.wasm": "typo.toml: line 1: limit is not known",
	}
	for _, p := range f.Problems() {
		base := filepath.Base(p.File)
		if says, ok := want[base]; !ok || !strings.Contains(p.String(), says) {
			t.Errorf("problem %q, want it to say %q", p, says)
		}
		delete(want, base)
	}
	if len(want) != 0 {
		t.Errorf("no problem with %v", want)
	}
	if got := f.Names(); !slices.Equal(got, []string{"good", "kept"}) {
		t.Errorf("served are %v", got)
	}
	p := f.get("kept")
	if p.Manifest.Version != "1" {
		t.Errorf("version is %s", p.Manifest.Version)
	}
	p.Release()
	var unknown *ErrUnknownProfile
	if _, err := f.Get("junk"); !errors.As(err, &unknown) || !errors.Is(err, errNotAModule) {
		t.Errorf("error is %v, want the file's problem", err)
	}

	f.put("kept.wasm", `module {"version":"2"}`) // written to its end
	f.scan()
	p = f.get("kept")
	defer p.Release()
	if p.Manifest.Version != "2" {
		t.Errorf("version is %s", p.Manifest.Version)
	}
}

func TestTwoFoldersOneName(t *testing.T) {
	f := newFolder(t)
	f.put("echo.wasm", `module {"version":"ours"}`)
	f.scan()
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "echo.wasm"), []byte(`module {"version":"theirs"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	scanOther := func() {
		if err := f.Scan(t.Context(), other); err != nil {
			t.Fatal(err)
		}
	}
	scanOther()
	if all := f.Problems(); len(all) != 1 || !strings.Contains(all[0].String(), "remove one of the two") {
		t.Errorf("problems are %v", all)
	}
	p := f.get("echo")
	if p.Manifest.Version != "ours" {
		t.Errorf("served is %s", p.Manifest.Version)
	}
	p.Release()
	f.remove("echo.wasm")
	f.scan()
	scanOther()
	p = f.get("echo")
	defer p.Release()
	if p.Manifest.Version != "theirs" || len(f.Problems()) != 0 {
		t.Errorf("served is %s, problems %v", p.Manifest.Version, f.Problems())
	}
}

func TestAScanThatIsStoppedKeepsWhatIsServed(t *testing.T) {
	f := newFolder(t)
	f.put("echo.wasm", "module {}")
	f.scan()
	f.remove("echo.wasm")
	f.put("new.wasm", "module {}")
	stop := errors.New("shutting down")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	if err := f.Scan(ctx, f.dir); !errors.Is(err, stop) {
		t.Errorf("error is %v", err)
	}
	if got := f.Names(); !slices.Equal(got, []string{"echo"}) || len(f.Problems()) != 0 {
		t.Errorf("served are %v, problems %v", got, f.Problems())
	}
	f.scan() // the refusal was the stop's, not the file's
	if got := f.Names(); !slices.Equal(got, []string{"new"}) {
		t.Errorf("served are %v", got)
	}
}

func TestAMissingFolder(t *testing.T) {
	r := New(nil, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err := r.Scan(t.Context(), filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "create it") {
		t.Errorf("error is %v", err)
	}
}

// Turns come and go while a module is replaced again and again: none sees a closed one.
func TestReplacingUnderLoad(t *testing.T) {
	f := newFolder(t)
	f.put("echo.wasm", `module {"version":"0"}`)
	f.scan()
	var turns sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		turns.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				p, err := f.Get("echo")
				if err != nil {
					t.Error(err)
					return
				}
				if err := p.Module.Run(t.Context(), nil); err != nil {
					t.Errorf("a turn found its module %v", err)
				}
				p.Release()
			}
		})
	}
	for i := range 50 {
		f.put("echo.wasm.new", fmt.Sprintf(`module {"version":"%d"}`, i+1))
		if err := os.Rename(filepath.Join(f.dir, "echo.wasm.new"), filepath.Join(f.dir, "echo.wasm")); err != nil {
			t.Fatal(err)
		}
		f.scan()
		f.Report()
	}
	close(stop)
	turns.Wait()
}

func TestRequestedBesidePermitted(t *testing.T) {
	f := newFolder(t)
	dir := t.TempDir()
	tool := filepath.Join(dir, "tool")
	if err := os.WriteFile(tool, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	f.put("x.wasm", `module {"name":"x","version":"3","memory_mb":128,"turn_s":60,
		"http":[{"host":"API.example.com:443","methods":["POST"],"secrets":["KEY"]},{"host":"more.example.com","methods":["GET"]},
		        {"host":"part.example.com","methods":["GET","POST"]}],
		"proc":[{"name":"tool"},{"name":"other","secrets":["KEY"]}]}`)
	f.put("x.toml", `
[[http]]
host = "api.example.com"
methods = ["POST"]
secrets = ["KEY"]
[[http]]
host = "part.example.com"
methods = ["GET"]
[[http]]
host = "extra.example.com"
methods = ["PUT"]
[[proc]]
name = "tool"
command = "`+tool+`"
args = ["run", "*"]
[[proc]]
name = "spare"
command = "`+tool+`"
[secrets.KEY]
env = "EXAMPLE_KEY"
`)
	f.scan()
	if len(f.Problems()) != 0 {
		t.Fatal(f.Problems())
	}
	all := f.Report()
	if len(all) != 1 || all[0].Name != "x" || all[0].Version != "3" || len(all[0].Settings) == 0 {
		t.Fatalf("report is %+v", all)
	}
	want := []Line{
		{"http API.example.com:443", "POST with KEY", "POST with KEY", false},
		{"http more.example.com", "GET", "", true},
		{"http part.example.com", "GET POST", "GET", true},
		{"http extra.example.com", "", "PUT", false},
		{"proc tool", "run", tool + " run *", false},
		{"proc other", "run with KEY", "", true},
		{"proc spare", "", tool, false},
		{"memory", "128 MB", "64 MB", true},
		{"turn", "1m0s", "10m0s", false},
	}
	if !slices.Equal(all[0].Lines, want) {
		t.Errorf("lines are\n%+v\nwant\n%+v", all[0].Lines, want)
	}
}

func TestAnExtraReleaseIsABug(t *testing.T) {
	f := newFolder(t)
	f.put("echo.wasm", "module {}")
	f.scan()
	p := f.get("echo")
	p.Release()
	f.Close()
	defer func() {
		if recover() == nil {
			t.Error("a release too many goes unnoticed")
		}
	}()
	p.Release()
}
