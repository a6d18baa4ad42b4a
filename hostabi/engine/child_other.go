//go:build !linux

package engine

import "syscall"

// Elsewhere than on Linux the child is bounded by its deadline only.
func limitSelf(LoadLimits) error { return nil }

func childAttr() *syscall.SysProcAttr { return nil }

func lowerPriority(int) {}
