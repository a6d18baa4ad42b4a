package turn

import (
	"testing"
	"time"
)

func TestAnEventAfterAPauseIsStoredSoonAndABurstIsNot(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	at := func(d time.Duration) time.Time { return start.Add(d) }
	for _, c := range []struct {
		name           string
		due, now, told time.Time
		want           time.Time
	}{
		{"nothing was ever told", at(flushEvery), at(0), time.Time{}, at(flushSoon)},
		{"the last was told long ago", at(flushEvery), at(0), at(-time.Minute), at(flushSoon)},
		{"one was told just now", at(flushEvery), at(0), at(-10 * time.Millisecond), at(flushEvery - 10*time.Millisecond)},
		{"the pause ends within soon", at(flushEvery), at(0), at(time.Millisecond - flushEvery), at(flushSoon)},
		{"an entry is due sooner", at(time.Millisecond), at(0), at(0), at(time.Millisecond)},
		{"an entry is due between", at(20 * time.Millisecond), at(0), at(0), at(20 * time.Millisecond)},
	} {
		if got := hastened(c.due, c.now.Add(flushSoon), c.told); !got.Equal(c.want) {
			t.Errorf("%s: stored after %v, want %v", c.name, got.Sub(start), c.want.Sub(start))
		}
	}
}

func TestWhatAReaderWaitsForIsStoredBeforeWhatNobodyReads(t *testing.T) {
	x := &execution{}
	x.batch.Journal.Count = 1
	if got := x.haste(); got != later {
		t.Errorf("an entry without an event has haste %d", got)
	}
	x.batch.Types = []string{"message.delta"}
	if got := x.haste(); got != soon {
		t.Errorf("an event has haste %d", got)
	}
	x.size = flushBytes
	if got := x.haste(); got != atOnce {
		t.Errorf("%d bytes have haste %d", x.size, got)
	}
}
