package main

import (
	"strings"
	"testing"
	"time"
)

// A machine whose clock is off is told how far; the way to the database is no difference of clocks.
func TestClocksAreCompared(t *testing.T) {
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name         string
		after, their time.Duration // after the question was asked
		says         string
	}{
		{"the same clock", time.Millisecond, time.Millisecond / 2, ""},
		{"a slow answer", time.Minute, 50 * time.Second, ""},
		{"theirs is ahead", time.Second, 8 * time.Second, "are 7s apart"},
		{"theirs is behind", time.Second, -time.Hour, "are 1h0m0s apart"},
	} {
		found := skew(noon, noon.Add(c.after), noon.Add(c.their))
		if len(found) > 0 != (c.says != "") || len(found) > 0 && !strings.Contains(found[0].Text, c.says) {
			t.Errorf("%s: %+v", c.name, found)
		}
	}
}
