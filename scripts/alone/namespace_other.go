//go:build !linux

package main

import (
	"fmt"
	"os"
)

func run(_ string, args []string) error {
	fmt.Fprintln(os.Stderr, "alone: only Linux has network namespaces: the command can reach the network")
	return plain(args)
}
