package main

import (
	"bytes"
	"testing"
	"time"
)

// What takes a while says so, second by second, and leaves no trace; what is done at once says nothing.
func TestBusy(t *testing.T) {
	var out bytes.Buffer
	second := make(chan time.Time)
	over := busy(&out, "migrating", second)
	for range 2 {
		second <- time.Time{}
	}
	over()
	if got := out.String(); got != "\rmigrating … 1 s\rmigrating … 2 s\r\x1b[K" {
		t.Errorf("it shows %q", got)
	}
	out.Reset()
	busy(&out, "migrating", second)()
	if out.Len() != 0 {
		t.Errorf("it shows %q", out.String())
	}
	// A pipe is nobody.
	(&cli{err: &out}).busy("migrating")()
	if out.Len() != 0 {
		t.Errorf("a pipe gets %q", out.String())
	}
}
