package supervise

import (
	"io"
	"os"
	"sync"
	"time"
)

// output is what a child says. Until Kill it is the reader's; from then on it is dropped, so that a command that
// still says something while it ends is not ended by that.
type output struct {
	file    *os.File
	killed  <-chan struct{}
	reading sync.Mutex
}

// Read fails with os.ErrClosed once Kill is called.
func (o *output) Read(p []byte) (int, error) {
	o.reading.Lock()
	defer o.reading.Unlock()
	select {
	case <-o.killed:
		return 0, os.ErrClosed
	default:
		return o.file.Read(p)
	}
}

// drop waits for Kill, and reads until everybody who could write is dead.
func (o *output) drop(done <-chan struct{}) {
	<-o.killed
	defer o.file.Close()
	o.file.SetReadDeadline(past) // who reads now gives way, and nobody begins
	o.reading.Lock()
	o.file.SetReadDeadline(time.Time{})
	o.reading.Unlock()
	dropped := make(chan struct{})
	go func() {
		defer close(dropped)
		io.Copy(io.Discard, o.file)
	}()
	<-done
	o.file.SetReadDeadline(past) // somebody who got away may have it open
	<-dropped
}
