package storage

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newRoot(t *testing.T, quota int64) *Root {
	t.Helper()
	r, err := Open(filepath.Join(t.TempDir(), "root"), false, quota)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func (r *Root) put(t *testing.T, session, path, text string) string {
	t.Helper()
	dir, err := r.Dir(session)
	if err != nil {
		t.Fatal(err)
	}
	full := filepath.Join(dir, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// none knows no directory.
func none([]string) ([]string, error) { return nil, nil }

func TestASessionHasOneDirectoryThatNobodyElseMayEnter(t *testing.T) {
	r := newRoot(t, 0)
	dir := r.put(t, "s", "notes/a.txt", "hello")
	if again, err := r.Dir("s"); err != nil || again != dir {
		t.Errorf("%s, then %s, %v", dir, again, err)
	}
	if other, err := r.Dir("../s"); err != nil || other == dir || filepath.Dir(other) != filepath.Dir(dir) {
		t.Errorf("another session has %s, %v", other, err)
	}
	for _, path := range []string{dir, filepath.Dir(dir)} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if err := r.Remove(t.Context(), Name("s")); err != nil || there(dir) {
		t.Errorf("not removed: %v", err)
	}
	if err := r.Remove(t.Context(), Name("s")); err != nil {
		t.Errorf("removed again: %v", err)
	}
}

func TestARootKeepsItsID(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root")
	ids := make([]string, 8)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			r, err := Open(path, false, 0)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = r.ID
			r.Close()
		})
	}
	wg.Wait()
	if slices.Sort(ids); ids[0] == "" || ids[0] != ids[7] {
		t.Errorf("ids are %v", ids)
	}
}

func TestRootsThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		make func(t *testing.T, path string) error
		says string
	}{
		"in use for something else": {func(t *testing.T, path string) error {
			if err := os.Mkdir(path, 0o700); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(path, "thesis.txt"), nil, 0o600)
		}, "name an empty folder"},
		"open to others": {func(t *testing.T, path string) error {
			return errors.Join(os.Mkdir(path, 0o700), os.Chmod(path, 0o755))
		}, "chmod 700"},
		"a file": {func(t *testing.T, path string) error { return os.WriteFile(path, nil, 0o600) }, "not a directory"},
		"without an id": {func(t *testing.T, path string) error {
			return errors.Join(os.Mkdir(path, 0o700), os.WriteFile(filepath.Join(path, marker), []byte("x"), 0o600))
		}, "holds no id"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "root")
			if err := c.make(t, path); err != nil {
				t.Fatal(err)
			}
			if r, err := Open(path, false, 0); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, %v", r, err)
			}
		})
	}
	if _, err := Open("relative", false, 0); err == nil || !strings.Contains(err.Error(), "absolute") {
		t.Errorf("got %v", err)
	}
}

// A device that is unmounted, or mounted over the root: nothing there is touched.
func TestARootThatWasReplaced(t *testing.T) {
	r := newRoot(t, 0)
	r.put(t, "s", "a", "x")
	moved := r.path + ".moved"
	if err := os.Rename(r.path, moved); err != nil {
		t.Fatal(err)
	}
	check := func(what string) {
		t.Helper()
		_, made := r.Dir("s")
		_, measured := r.Measure(t.Context(), "s")
		_, orphans := r.Orphans(t.Context(), 0, none)
		for name, err := range map[string]error{"make": made, "measure": measured, "remove": r.Remove(t.Context(), Name("s")), "orphans": orphans} {
			if !errors.Is(err, ErrMoved) {
				t.Errorf("%s: %s: %v", what, name, err)
			}
		}
	}
	check("missing")
	if err := os.MkdirAll(filepath.Join(r.path, Name("s")), 0o700); err != nil {
		t.Fatal(err)
	}
	check("another device")
	if !there(filepath.Join(r.path, Name("s"))) || !there(filepath.Join(moved, Name("s"), "a")) {
		t.Error("something is gone")
	}
}

// feature: D110
func TestLinksLeadNowhere(t *testing.T) {
	r := newRoot(t, 0)
	outside := filepath.Join(t.TempDir(), "outside")
	if err := errors.Join(os.Mkdir(outside, 0o755), os.WriteFile(filepath.Join(outside, "precious"), []byte("0123456789"), 0o600)); err != nil {
		t.Fatal(err)
	}
	dir := r.put(t, "s", "a", "abc")
	for name, to := range map[string]string{"out": outside, "file": filepath.Join(outside, "precious"), "up": "../..", "loop": "loop", "gone": "/nowhere"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	// Measured is what is inside; a link counts as itself.
	m, err := r.Measure(t.Context(), "s")
	if err != nil || m.Bytes != 3 || m.Files != 6 {
		t.Errorf("%+v, %v", m, err)
	}
	// A session's directory that somebody has replaced by a link is neither used nor followed.
	evil := filepath.Join(r.path, Name("evil"))
	if err := os.Symlink(outside, evil); err != nil {
		t.Fatal(err)
	}
	if path, err := r.Dir("evil"); err == nil {
		t.Errorf("made %s", path)
	}
	if m, err := r.Measure(t.Context(), "evil"); err == nil {
		t.Errorf("measured %+v", m)
	}
	for _, session := range []string{"s", "evil"} {
		if err := r.Remove(t.Context(), Name(session)); err != nil || there(filepath.Join(r.path, Name(session))) {
			t.Errorf("%s is not removed: %v", session, err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(outside, "precious")); err != nil || string(text) != "0123456789" {
		t.Errorf("what was outside is %q, %v", text, err)
	}
	if info, _ := os.Stat(outside); info.Mode().Perm() != 0o755 {
		t.Errorf("the folder outside has mode %v", info.Mode())
	}
	for _, name := range []string{"..", "../outside", marker, "x", ""} {
		if err := r.Remove(t.Context(), name); err == nil {
			t.Errorf("removed %q", name)
		}
	}
}

func TestADigestSaysWhatIsThere(t *testing.T) {
	r := newRoot(t, 0)
	r.put(t, "a", "x/1", "one")
	r.put(t, "a", "y", "two")
	r.put(t, "b", "y", "two")
	r.put(t, "b", "x/1", "one")
	digest := func(session string) []byte {
		t.Helper()
		m, err := r.Measure(t.Context(), session)
		if err != nil || len(m.SHA256) != 32 {
			t.Fatal(m, err)
		}
		return m.SHA256
	}
	first := digest("a")
	if !bytes.Equal(first, digest("b")) {
		t.Error("equal files, other digests")
	}
	r.put(t, "b", "y", "twо")
	if bytes.Equal(first, digest("b")) {
		t.Error("another file, the same digest")
	}
	if _, err := r.Measure(t.Context(), "none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestAQuotaLeavesNoRoom(t *testing.T) {
	r := newRoot(t, 10)
	r.put(t, "s", "a", "123456789")
	if err := r.Room(t.Context(), "s", 0); err != nil {
		t.Error(err)
	}
	r.put(t, "s", "b", "0")
	if err := r.Room(t.Context(), "s", 0); !errors.Is(err, ErrQuota) || !strings.Contains(err.Error(), "10 bytes in 2 files") {
		t.Errorf("got %v", err)
	}
}

// What cannot be written in is removed all the same, as long as it is ours.
func TestADirectoryThatResists(t *testing.T) {
	r := newRoot(t, 0)
	dir := r.put(t, "s", "deep/er/file", "x")
	for _, name := range []string{"deep/er", "deep", "."} {
		if err := os.Chmod(filepath.Join(dir, name), 0o500); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Remove(t.Context(), Name("s")); err != nil || there(dir) {
		t.Errorf("not removed: %v", err)
	}
}

func TestOrphansGoAndOthersStay(t *testing.T) {
	r := newRoot(t, 0)
	known, orphan, young := r.put(t, "known", "a", "x"), r.put(t, "orphan", "a", "x"), r.put(t, "young", "a", "x")
	left := filepath.Join(r.path, trash+Name("left")+"-1") // by a removal that was killed
	stranger := filepath.Join(r.path, "stranger")
	old := time.Now().Add(-2 * time.Hour)
	for _, path := range []string{left, stranger} {
		if err := os.MkdirAll(filepath.Join(path, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{known, orphan, left, stranger, filepath.Join(r.path, marker)} {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	future := r.put(t, "future", "a", "x") // the clock was set back since it was made
	if err := os.Chtimes(future, time.Now().Add(time.Hour), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	asked := 0
	n, err := r.Orphans(t.Context(), time.Hour, func(names []string) ([]string, error) { asked += len(names); return []string{Name("known")}, nil })
	if err != nil || n != 2 || asked != 2 {
		t.Errorf("removed %d, asked for %d, %v", n, asked, err)
	}
	for path, stays := range map[string]bool{known: true, young: true, future: true, stranger: true, orphan: false, left: false} {
		if there(path) != stays {
			t.Errorf("%s is there: %v", path, !stays)
		}
	}
	down := errors.New("the database is away")
	if _, err := r.Orphans(t.Context(), 0, func([]string) ([]string, error) { return nil, down }); !errors.Is(err, down) || !there(known) || !there(young) {
		t.Errorf("without an answer: %v", err)
	}
}

// Two that remove at once, and one that looks for orphans.
func TestRemovalsSideBySide(t *testing.T) {
	r := newRoot(t, 0)
	for _, s := range []string{"a", "b", "c", "d"} {
		for _, f := range []string{"1", "2/3", "2/4/5"} {
			r.put(t, s, f, "x")
		}
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, s := range []string{"a", "b", "c", "d"} {
				if err := r.Remove(t.Context(), Name(s)); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			if _, err := r.Orphans(t.Context(), 0, none); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, err := r.Orphans(t.Context(), 0, none); err != nil {
		t.Error(err)
	}
	left, err := os.ReadDir(r.path)
	if err != nil || len(left) != 1 {
		t.Errorf("left are %v, %v", left, err)
	}
}

// A pipe or socket in a session's directory blocks nobody.
func TestAPipeIsNotOpened(t *testing.T) {
	r := newRoot(t, 0)
	dir := r.put(t, "s", "a", "x")
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if m, err := r.Measure(t.Context(), "s"); err != nil || m.Files != 2 {
		t.Errorf("%+v, %v", m, err)
	}
}
