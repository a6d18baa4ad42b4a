package engine

import (
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// limitSelf bounds what this process may still use. Address space that it has already is not counted, as a Go
// program reserves much more than it uses.
func limitSelf(l LoadLimits) error {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return err
	}
	var pages int64
	if _, err := fmt.Fscan(bytes.NewReader(b), &pages); err != nil {
		return fmt.Errorf("read /proc/self/statm: %w", err)
	}
	space := uint64(pages*int64(os.Getpagesize()) + l.Memory)
	if err := unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: space, Max: space}); err != nil {
		return fmt.Errorf("RLIMIT_AS: %w", err)
	}
	// At the soft limit comes SIGXCPU, which Go ignores; at the hard one SIGKILL.
	cpu := uint64((l.CPU + time.Second - 1) / time.Second)
	if err := unix.Setrlimit(unix.RLIMIT_CPU, &unix.Rlimit{Cur: cpu, Max: cpu}); err != nil {
		return fmt.Errorf("RLIMIT_CPU: %w", err)
	}
	debug.SetMemoryLimit(l.Memory * 3 / 4)
	return nil
}

// childAttr puts the child into a group of its own, for lowerPriority.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// lowerPriority lets running turns go before the child. It is a courtesy: a failure changes nothing.
func lowerPriority(pid int) { unix.Setpriority(unix.PRIO_PGRP, pid, 10) }
