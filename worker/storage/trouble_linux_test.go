package storage

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ordinary runs f as an ordinary user: for root, on a thread whose rights on files are nobody's.
func ordinary(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // not unlocked: the thread ends with the goroutine
		if os.Geteuid() == 0 {
			unix.RawSyscall(unix.SYS_SETFSUID, nobody, 0, 0)
		}
		f()
	}()
	<-done
}

const nobody = 65534

// A directory that cannot be removed, since its root is not writable or it holds somebody else's files: it is told, what is
// there stays under its name, others go, and the next time it goes too.
func TestADirectoryThatCannotBeRemoved(t *testing.T) {
	base, err := os.MkdirTemp("", "towpath-storage-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(base)
	path := filepath.Join(base, "root")
	r, err := Open(path, false, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	stuck, other := r.put(t, "stuck", "deep/file", "x"), r.put(t, "other", "file", "x")
	if os.Geteuid() == 0 {
		for _, p := range []string{base, path, stuck, filepath.Join(stuck, "deep"), filepath.Join(stuck, "deep", "file"), other, filepath.Join(other, "file")} {
			if err := os.Lchown(p, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
	}
	mode := func(m os.FileMode) {
		t.Helper()
		if err := os.Chmod(path, m); err != nil {
			t.Fatal(err)
		}
	}
	whole := func() {
		t.Helper()
		if text, err := os.ReadFile(filepath.Join(stuck, "deep", "file")); err != nil || string(text) != "x" {
			t.Errorf("what stays is %q, %v", text, err)
		}
	}
	mode(0o500)
	var removed, orphans error
	ordinary(t, func() {
		removed = r.Remove(t.Context(), Name("stuck"))
		_, orphans = r.Orphans(t.Context(), 0, none)
	})
	if !errors.Is(removed, os.ErrPermission) || !errors.Is(orphans, os.ErrPermission) || !strings.Contains(removed.Error(), Name("stuck")) {
		t.Errorf("got %v and %v", removed, orphans)
	}
	whole()
	mode(0o700)
	if os.Geteuid() == 0 {
		// Below it somebody else's directory, which its owner's right to the root does not open.
		if err := os.Lchown(filepath.Join(stuck, "deep"), 0, 0); err != nil {
			t.Fatal(err)
		}
		ordinary(t, func() { removed = r.Remove(t.Context(), Name("stuck")) })
		if !errors.Is(removed, os.ErrPermission) {
			t.Errorf("got %v", removed)
		}
		whole()
	}
	if n, err := r.Orphans(t.Context(), 0, func([]string) ([]string, error) { return []string{Name("stuck")}, nil }); n != 1 || err != nil || there(other) {
		t.Errorf("the other one: %d, %v", n, err)
	}
	if err := r.Remove(t.Context(), Name("stuck")); err != nil || there(stuck) {
		t.Errorf("not removed: %v", err)
	}
}

// child runs a test of this file again in a process of its own.
func child(t *testing.T, test, scene string, attr *syscall.SysProcAttr, folder string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+test+"$", "-test.v")
	cmd.Env = append(os.Environ(), "TOWPATH_TEST_SCENE="+scene, "TOWPATH_TEST_FOLDER="+folder)
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// On a disk that takes no byte more nothing is made by half, and what is there can be removed.
func TestAFullDisk(t *testing.T) {
	folder := os.Getenv("TOWPATH_TEST_FOLDER")
	switch os.Getenv("TOWPATH_TEST_SCENE") {
	case "no byte":
		withoutAByte(t, folder)
		return
	case "small disk":
		onASmallDisk(t, folder)
		return
	}
	path := filepath.Join(t.TempDir(), "root")
	if out, err := child(t, "TestAFullDisk", "no byte", nil, path); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r, err := Open(path, false, 0)
	if err != nil {
		t.Fatalf("after the disk was full: %v", err)
	}
	defer r.Close()
	if names, err := os.ReadDir(path); err != nil || len(names) != 1 {
		t.Errorf("left are %v, %v", names, err)
	}

	attr := &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		attr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
		}
	}
	switch out, err := child(t, "TestAFullDisk", "small disk", attr, t.TempDir()); {
	case strings.Contains(out, "mounts nothing") || err != nil && !strings.Contains(out, "=== RUN"):
		t.Logf("a small disk cannot be had here: %v", err)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	}
}

// withoutAByte opens a root in a process that may write no file.
func withoutAByte(t *testing.T, path string) {
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{}); err != nil {
		t.Fatal(err)
	}
	if r, err := Open(path, false, 0); !errors.Is(err, syscall.EFBIG) {
		t.Errorf("opened %v, %v", r, err)
	}
}

// onASmallDisk fills one, and frees it by a removal.
func onASmallDisk(t *testing.T, folder string) {
	if err := syscall.Mount("towpath", folder, "tmpfs", 0, "size=256k,nr_inodes=20,mode=0700"); err != nil {
		t.Logf("this machine mounts nothing: %v", err)
		return
	}
	defer syscall.Unmount(folder, syscall.MNT_DETACH)
	r, err := Open(filepath.Join(folder, "root"), false, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	dir := r.put(t, "s", "a/b", "x")
	if err := os.WriteFile(filepath.Join(dir, "big"), make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("it is not full: %v", err)
	}
	for i := 0; ; i++ {
		_, err := r.Make(t.Context(), string(rune('a'+i)), 0)
		if errors.Is(err, syscall.ENOSPC) {
			break
		}
		if err != nil || i == 20 {
			t.Fatalf("directory %d: %v", i, err)
		}
	}
	if err := r.Remove(t.Context(), Name("s")); err != nil || there(dir) {
		t.Errorf("not removed: %v", err)
	}
	if n, err := r.Orphans(t.Context(), 0, none); n == 0 || err != nil {
		t.Errorf("%d orphans, %v", n, err)
	}
	r.put(t, "s", "again", strings.Repeat("x", 1<<16))

	// Another disk over the root: neither is touched.
	over := filepath.Join(folder, "root")
	if err := syscall.Mount("towpath", over, "tmpfs", 0, "size=64k,mode=0700"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(over, Name("s")), 0o700); err != nil {
		t.Fatal(err)
	}
	_, made := r.Make(t.Context(), "s", 0)
	_, orphans := r.Orphans(t.Context(), time.Duration(0), none)
	for what, err := range map[string]error{"make": made, "remove": r.Remove(t.Context(), Name("s")), "orphans": orphans} {
		if !errors.Is(err, ErrMoved) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if !there(filepath.Join(over, Name("s"))) {
		t.Error("what is on the other disk is gone")
	}
	if err := syscall.Unmount(over, 0); err != nil {
		t.Fatal(err)
	}
	// And one inside a session's directory, which nobody can remove as long as it is mounted.
	busy := filepath.Join(over, Name("s"), "busy")
	if err := os.Mkdir(busy, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("towpath", busy, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	if err := r.Remove(t.Context(), Name("s")); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("removed what is mounted: %v", err)
	}
	if !there(busy) {
		t.Error("it is not under its name any more")
	}
	if err := syscall.Unmount(busy, 0); err != nil {
		t.Fatal(err)
	}
	if err := r.Remove(t.Context(), Name("s")); err != nil {
		t.Error(err)
	}
}
