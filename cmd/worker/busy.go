package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// busy shows a person who waits for more than a second what for. Call what it returns, once, when that is over and before
// anything else is printed. Where nobody looks at stderr it shows nothing.
func (c *cli) busy(what string) (over func()) {
	if !terminal(c.err) {
		return func() {}
	}
	second := time.NewTicker(time.Second)
	hush := busy(c.err, what, second.C)
	return func() {
		second.Stop()
		hush()
	}
}

// busy writes a line, and writes it anew, with every tick.
func busy(w io.Writer, what string, second <-chan time.Time) (over func()) {
	end := make(chan struct{})
	var shown sync.WaitGroup
	shown.Go(func() {
		for n := 1; ; n++ {
			select {
			case <-second:
				fmt.Fprintf(w, "\r%s … %d s", what, n)
			case <-end:
				if n > 1 {
					fmt.Fprint(w, "\r\x1b[K")
				}
				return
			}
		}
	})
	return func() {
		close(end)
		shown.Wait()
	}
}
