package queue

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestAJobWhoseTimeIsUpIsNotStopping(t *testing.T) {
	parent, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	ctx, release := translate(parent)
	defer release()
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(ctx.Err(), context.DeadlineExceeded) || !errors.Is(cause, context.DeadlineExceeded) {
		t.Errorf("error %v, cause %v", ctx.Err(), cause)
	}
}

func TestBackoffGrowsToAMinuteAndNeverOverflows(t *testing.T) {
	for attempt, most := range map[int]time.Duration{-1: time.Second, 0: time.Second, 1: time.Second, 2: 2 * time.Second,
		6: 32 * time.Second, 7: time.Minute, 25: time.Minute, 10_000: time.Minute, 1 << 30: time.Minute} {
		for range 100 {
			if d := backoff(attempt); d <= most/2 || d > most {
				t.Errorf("attempt %d: %s", attempt, d)
			}
		}
	}
}
