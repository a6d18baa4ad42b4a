package bench

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// Row is one figure.
type Row struct {
	Suite    string  `json:"suite"`
	Name     string  `json:"name"`
	Value    float64 `json:"value"`
	Unit     string  `json:"unit"`
	Baseline float64 `json:"baseline"`
	Ratio    float64 `json:"ratio"` // value over baseline; 0 without one

	Missing string `json:"missing,omitempty"` // why it was not measured; without a name: why the rest of the suite was not
}

// Options of a run. The suite turn takes about two minutes with the defaults.
type Options struct {
	// Program is the worker to run as a child.
	Program string
	// PostgresBin is the folder of the server programs; empty: they are looked for.
	PostgresBin string
	// Codex is the program of codex; empty: what it adds is not measured.
	Codex string
	// Turns is how many turns each figure is made from. Default: the suite's own, 400 for turn and 2000 for guest.
	Turns int
	// Kills is how many nodes the suite journal kills. Default: 20.
	Kills int
	// Idle is how long a node is watched doing nothing. Default: 30 s.
	Idle time.Duration
	// Extism is the folder of the module that the suite guest compares with; empty: it does not.
	Extism string
	// Plugin is the module that the suite plugins drops. Default: one that is built for it.
	Plugin string
	// Profiles is how many profiles the suite plugins loads at once. Default: 20.
	Profiles int
	// Logger gets what the node under test warns about. Default: nothing is logged.
	Logger *slog.Logger
}

// Suite is a group of figures that are measured together.
type Suite struct {
	Name  string
	Takes time.Duration // about, with the defaults on a quiet machine with two processors
	Alone bool          // is no part of all: it takes longer than the others together
	What  string        // it measures

	run func(context.Context, Options, func(Row)) error
}

// Suites lists what [Run] takes, in the order of all.
func Suites() []Suite { return slices.Clone(suites) }

var suites = []Suite{
	{"turn", 90 * time.Second, false, "submit to guest, events a second, an idle node", turns},
	{"process", 10 * time.Second, false, "functions of the process model", process},
	{"guest", 30 * time.Second, false, "starting, holding and metering guests", guest},
	{"journal", time.Minute, false, "durable calls, and takeover from killed nodes", journal},
	{"stream", 90 * time.Second, false, "chunks of answers, and how late readers see them", stream},
	{"tasks", 20 * time.Second, false, "a queue of 100,000 tasks", tasks},
	{"plugins", 2 * time.Minute, false, "dropped and replaced plugins, hostile turns", plugins},
	{"retention", 80 * time.Second, false, "pruning a million events, collecting files", retention},
	{"daemons", 3 * time.Minute, false, "a node that keeps a thousand daemons", daemons},
	{"soak", 15 * time.Minute, true, "200,000 turns with retention on", soak},
}

// Run measures a suite and hands over its rows as they come. It ends soon after ctx, and leaves nothing behind.
func Run(ctx context.Context, suite string, o Options, emit func(Row)) error {
	i := slices.IndexFunc(suites, func(s Suite) bool { return s.Name == suite })
	if i < 0 {
		return fmt.Errorf("no suite %q", suite)
	}
	if o.Idle == 0 {
		o.Idle = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	err := suites[i].run(ctx, o, func(r Row) {
		r.Suite = suite
		if r.Baseline != 0 {
			r.Ratio = r.Value / r.Baseline
		}
		emit(r)
	})
	if err != nil {
		return fmt.Errorf("suite %s: %w", suite, err)
	}
	return nil
}
