package bench

import (
	"context"

	"github.com/towpath/towpath/hostabi/engine/enginebench"
)

// guest is the suite guest: the engine beside plain wazero, native programs and Extism.
func guest(ctx context.Context, o Options, emit func(Row)) error {
	_, err := enginebench.Run(ctx, enginebench.Options{
		Turns: o.Turns, ExtismDir: o.Extism,
		Row: func(r enginebench.Row) {
			emit(Row{Name: r.Name, Value: r.Value, Unit: r.Unit, Baseline: r.Baseline, Ratio: r.Ratio})
		},
		Log: func(line string) { o.Logger.Warn(line) },
	})
	return err
}
