package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/towpath/towpath/store"
)

func ref[T any](v T) *T { return &v }

// A second look shows how fast each process speaks; what runs comes first.
func TestTopShowsRates(t *testing.T) {
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	first := view{at: noon, live: []store.Process{{ID: "p_1", Status: "running", LastSeq: 10, CreatedAt: noon}}}
	second := view{
		at:    noon.Add(4 * time.Second),
		nodes: []store.NodeRow{{ID: "one", Version: "v1", Queues: []string{"turns", "gc"}, Leases: 1, StartedAt: noon.Add(-time.Hour), SeenAt: noon.Add(time.Second)}},
		gauges: []store.Gauge{
			{Name: "processes", Labels: map[string]string{"class": "turn", "status": "queued"}, Value: 1},
			{Name: "processes", Labels: map[string]string{"class": "turn", "status": "running"}, Value: 1},
			{Name: "jobs", Labels: map[string]string{"queue": "turns", "state": "available"}, Value: 7},
			{Name: "oldest_job_seconds", Labels: map[string]string{"queue": "turns"}, Value: 90},
			{Name: "queue_paused", Labels: map[string]string{"queue": "gc"}, Value: 1},
		},
		daemon: []store.Daemon{
			{Name: "db", State: "healthy", Health: ref("ok"), Node: ref("one"), PID: ref(42), Port: ref(7001), Restarts: ref(1), MaxRestarts: ref(5)},
			{Name: "web", State: "stopped"},
		},
		tokens: map[string]store.TurnUsage{"p_1": {OutputTokens: 400, Seconds: 16}},
		live: []store.Process{
			{ID: "p_2", Class: "turn", Status: "queued", RiverJobID: ref(int64(4)), CreatedAt: noon},
			{ID: "p_1", Class: "turn", Status: "running", Profile: ref("deepseek"), Session: ref("s1"), Node: ref("one"), Attempt: 1, MaxAttempts: 3, LastSeq: 60, CreatedAt: noon},
		},
	}
	text := second.text(&first, 0)
	for _, line := range []string{
		"towpath  12:00:04  1 nodes  2 processes live  0 in doubt  0 quarantined",
		"turns      7        0        0      1m30s   ",
		"gc         0        0        0      0s      paused",
		"one   1       turns,gc  v1       1h0m4s  3s ago",
		"p_1  turn  running  deepseek  s1  one  1/3  60  12.5  400  25.0  4s",
		"db      healthy  ok      one   42   7001  1/5",
		"web     stopped  -       -     -    -     -",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("no line %q in\n%s", line, text)
		}
	}
	if strings.Index(text, "p_1") > strings.Index(text, "p_2") {
		t.Errorf("what waits comes before what runs:\n%s", text)
	}
	if short := second.text(&first, 3); strings.Count(short, "\n") != 3 {
		t.Errorf("three lines are %q", short)
	}
	if once := second.text(nil, 0); !strings.Contains(once, "60  -  400  25.0  4s") {
		t.Errorf("a first look knows no rate:\n%s", once)
	}
}

// The screen goes on through an error, and ends with q.
func TestTopOnATerminal(t *testing.T) {
	keys, press := io.Pipe()
	var out bytes.Buffer
	var looks atomic.Int32 // one may be under way when the screen has ended
	screen := topScreen{ctx: t.Context(), every: time.Millisecond, read: func(context.Context) (view, error) {
		switch looks.Add(1) {
		case 2:
			return view{}, errors.New("the database went away")
		case 4:
			go press.Write([]byte("q"))
		}
		return view{nodes: []store.NodeRow{{ID: "node-one"}}}, nil
	}}
	_, err := tea.NewProgram(screen, tea.WithContext(t.Context()), tea.WithInput(keys), tea.WithOutput(&out), tea.WithWindowSize(100, 20), tea.WithoutSignalHandler()).Run()
	if err != nil {
		t.Fatal(err)
	}
	press.Close()
	if looks.Load() < 4 || !strings.Contains(out.String(), "node-one") {
		t.Errorf("%d looks: %q", looks.Load(), out.String())
	}
}
