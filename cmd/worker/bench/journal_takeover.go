package bench

import (
	"cmp"
	"context"
	"fmt"

	"github.com/towpath/towpath/cmd/worker/prove"
)

// takeover measures the time from kill -9 to the first live call of the turn elsewhere.
func takeover(ctx context.Context, o Options, emit func(Row)) error {
	took, err := prove.Takeovers(ctx, prove.Options{
		Program: o.Program, Plugin: deepseek(o), PostgresBin: o.PostgresBin,
	}, cmp.Or(o.Kills, 20))
	if err != nil {
		return err
	}
	for _, p := range []float64{0.5, 0.99} {
		emit(Row{Name: fmt.Sprintf("takeover_p%.0f_ms", p*100), Unit: "ms", Value: percentile(took, p)})
	}
	return nil
}
