package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/towpath/towpath/hostabi/engine"
	"github.com/towpath/towpath/worker/supervise"
)

func main() {
	engine.ChildMain()
	supervise.GuardMain()
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(exitInterrupted)
	}()
	os.Exit(execute(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}
