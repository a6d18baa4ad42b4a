package prove

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/towpath/towpath/worker/turn"
)

// Takeovers kills a node in the middle of a turn n times, and measures the milliseconds until the turn makes its next
// live call elsewhere.
func Takeovers(ctx context.Context, o Options, n int) (took []float64, err error) {
	l, err := openLane(ctx, o, "1", 2)
	if err != nil {
		return nil, err
	}
	defer func() {
		if closeErr := l.close(); err == nil {
			err = closeErr
		}
	}()
	if _, _, err := l.undisturbed(ctx); err != nil {
		return nil, err
	}
	for i := range n {
		ms, err := l.takeover(ctx, fmt.Sprintf("takeover-%d", i+1), 5+i*7%50)
		if err != nil {
			return nil, fmt.Errorf("takeover %d: %w", i+1, err)
		}
		took = append(took, ms)
	}
	return took, nil
}

func (l *lane) takeover(ctx context.Context, id string, call int) (float64, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("nothing after %v", patience))
	defer cancel()
	l.forget()
	if err := l.order(order{Arm: &Arm{Process: id, Name: turn.AtCall, N: call}}); err != nil {
		return 0, err
	}
	if err := l.submit(ctx, id); err != nil {
		return 0, err
	}
	attended := make(chan error, 1)
	go func() { attended <- l.attend(ctx, id) }()
	victim, _, err := l.blocked(ctx, id)
	if err != nil {
		return 0, err
	}
	if err := l.order(order{Disarm: true}); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := victim.signal(syscall.SIGKILL); err != nil {
		return 0, err
	}
	p, err := l.await(ctx, "the first live call elsewhere", func(p passing) bool {
		return p.node != victim && p.point.Process == id && p.point.Name == turn.AtCall
	})
	if err != nil {
		return 0, err
	}
	<-victim.done
	// The next turn's second node starts while this turn goes on.
	if err := l.fill(ctx, 2); err != nil {
		return 0, err
	}
	return float64(p.at.Sub(began).Microseconds()) / 1000, <-attended
}
