// Command pgversion prints the major version of the Postgres that a worker would run, or none.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/towpath/towpath/store/embedded"
)

func main() {
	version, err := embedded.Version(context.Background(), os.Getenv("TOWPATH_POSTGRES_BIN"))
	switch {
	case errors.Is(err, embedded.ErrNoServer):
		fmt.Println("none")
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	default:
		fmt.Println(version)
	}
}
