package bench

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
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

	Missing string `json:"missing,omitempty"` // why it was not measured
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

// suites by name.
var suites = map[string]func(context.Context, Options, func(Row)) error{
	"daemons":   daemons,
	"guest":     guest,
	"journal":   journal,
	"plugins":   plugins,
	"process":   process,
	"retention": retention,
	"soak":      soak,
	"stream":    stream,
	"tasks":     tasks,
	"turn":      turns,
}

// Suites lists the names that Run takes.
func Suites() []string { return slices.Sorted(maps.Keys(suites)) }

// Run measures a suite and hands over its rows as they come.
func Run(ctx context.Context, suite string, o Options, emit func(Row)) error {
	run := suites[suite]
	if run == nil {
		return fmt.Errorf("no suite %q; suites are %s", suite, strings.Join(Suites(), ", "))
	}
	if o.Idle == 0 {
		o.Idle = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	err := run(ctx, o, func(r Row) {
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
