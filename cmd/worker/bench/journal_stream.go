package bench

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/worker/turn"
)

const chunks = 1000

// overhead measures turns of a thousand pieces with the journal and without.
func overhead(ctx context.Context, o Options, s *server, emit func(Row)) error {
	pool, err := s.open(ctx, "overhead")
	if err != nil {
		return err
	}
	defer pool.Close()
	provider := answers{pieces: chunks, piece: bytes.Repeat([]byte("x"), 200)}
	var took [2][]float64
	var nodes [2]*guests
	for i := range nodes {
		if nodes[i], err = startGuests(ctx, o, pool, provider, func(c *turn.Config) { c.NoJournal = i == 1 }); err != nil {
			return err
		}
		defer nodes[i].stop()
		nodes[i].guest = asking(1)
	}
	// Side by side, so that both meet the same machine.
	for round := range 24 {
		for i, g := range nodes {
			ids, err := g.submit(ctx, 8)
			if err != nil {
				return err
			}
			d, err := g.work(ctx, ids)
			if err == nil {
				err = g.completed(ctx, ids)
			}
			if err != nil {
				return err
			}
			if round >= 4 {
				took[i] = append(took[i], d.Seconds())
			}
		}
	}
	with, without := 8*chunks/percentile(took[0], 0.5), 8*chunks/percentile(took[1], 0.5)
	emit(Row{Name: "journalled_chunks_per_s", Unit: "1/s", Value: with, Baseline: without})
	emit(Row{Name: "journal_overhead_pct", Unit: "%", Value: 100 * (1 - with/without)})
	return nil
}

const recorded = 1000

// replay measures how soon a turn that is taken over is where it was.
func replay(ctx context.Context, o Options, s *server, emit func(Row)) error {
	pool, err := s.open(ctx, "replay")
	if err != nil {
		return err
	}
	defer pool.Close()
	died := errors.New("died")
	var live time.Time // the first live call
	g, err := startGuests(ctx, o, pool, answers{pieces: 2, piece: bytes.Repeat([]byte("x"), 200)}, func(c *turn.Config) {
		c.Fault = func(p turn.Point) {
			if p.Name == turn.AtCall && live.IsZero() {
				live = time.Now()
			}
		}
	})
	if err != nil {
		return err
	}
	defer g.stop()
	var took, first []float64
	for range 12 {
		ids, err := g.submit(ctx, 1)
		if err != nil {
			return err
		}
		calls := 0
		dies := true
		g.guest = func(ctx context.Context, h hostabi.Host) error {
			for calls = 0; calls < recorded; calls += 6 { // http_open, wait, twice wait and emit, close make up more: the tail is cut below
				if err := ask(ctx, h); err != nil {
					return err
				}
			}
			if dies {
				return died // the host's trouble: the turn goes back with its journal
			}
			return h.Finish(ctx, []byte(`{"status":"completed"}`))
		}
		d, err := g.work(ctx, ids)
		if err != nil {
			return err
		}
		dies, live = false, time.Time{}
		began := time.Now()
		if _, err := g.work(ctx, ids); err != nil {
			return err
		}
		if err := g.completed(ctx, ids); err != nil {
			return err
		}
		took, first = append(took, live.Sub(began).Seconds()*1000), append(first, d.Seconds()*1000)
	}
	slices.Sort(took)
	emit(Row{Name: "replay_1000_calls_ms", Unit: "ms", Value: percentile(took, 0.5), Baseline: percentile(first, 0.5)})
	return nil
}
