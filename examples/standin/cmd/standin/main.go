// Command standin serves the provider stand-in on a loopback address and prints its base URL on the first line.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/towpath/towpath/examples/standin"
)

func main() {
	if err := serve(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func serve(args []string) error {
	flags := flag.NewFlagSet("standin", flag.ContinueOnError)
	address := flags.String("addr", "127.0.0.1:0", "loopback `address` to listen on; port 0 takes a free one")
	pace := flags.Duration("pace", 30*time.Millisecond, "wait before each event of a stream")
	key := flags.String("key", "", "the only API key that is let in; any when empty")
	if err := flags.Parse(args); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	defer listener.Close()
	if at, ok := listener.Addr().(*net.TCPAddr); !ok || !at.IP.IsLoopback() {
		return fmt.Errorf("%s is no loopback address: use 127.0.0.1", listener.Addr())
	}
	fmt.Printf("http://%s\n", listener.Addr())
	server := &http.Server{Handler: standin.New(standin.Options{Key: *key, Pace: *pace}), ReadHeaderTimeout: 10 * time.Second}
	return server.Serve(listener)
}
