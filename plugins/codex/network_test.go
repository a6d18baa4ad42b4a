//go:build linux

package main

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// alone says to this test binary that it runs in a network namespace of its own, where even loopback is down.
const alone = "TOWPATH_TEST_ALONE"

func init() {
	if os.Getenv(alone) != "" {
		if err := loopback(); err != nil {
			panic(err)
		}
	}
}

func loopback() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo)
}

// Codex needs the provider and nobody else: turns go well where no other address can be reached.
func TestTurnsNeedNoNetwork(t *testing.T) {
	const inside = "TestATurnAndTheNextOne"
	if os.Getenv(alone) != "" {
		t.Skip("already inside")
	}
	if os.Getenv("TOWPATH_TEST_CODEX") == "" {
		t.Skip("needs codex: make codex")
	}
	if _, err := program(); err != nil { // out here, where npm reaches its registry
		t.Fatalf("scripts/codex.sh: %v", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run", "^("+inside+"|TestACommandOfTheModelRuns)$", "-test.v")
	cmd.Env = append(os.Environ(), alone+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil && len(out) == 0 {
		t.Skipf("this machine gives nobody a network namespace: %v", err)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: "+inside) {
		t.Errorf("%v\n%s", err, out)
	}
}
