package profiles

import (
	"fmt"
	"time"
)

// Limits bound the turns of a profile. All fields are set; only Fuel may be 0, which leaves it to the engine.
type Limits struct {
	Memory         int64         // bytes of linear memory of one instance
	Turn           time.Duration // wall time of a turn
	Idle           time.Duration // without anything happening in a turn
	Fuel           int64         // units of computation of a turn
	CallsPerSecond int           // host calls of one turn
	Event          int64         // bytes of one event
	Events         int64         // bytes of all events of a turn
	Journal        int64         // bytes of recorded calls of a turn
	Handles        int           // requests and children open at once in a turn
	Capacity       int           // turns at once on one node
	Attempts       int           // executions of one turn, over all nodes
	InDoubt        InDoubt
}

// InDoubt is what happens to a turn whose worker died between an outside call's intent and its outcome.
type InDoubt string

const (
	InDoubtRetry InDoubt = "retry" // the guest is told that the call is lost, and decides
	InDoubtFail  InDoubt = "fail"  // the turn fails
	InDoubtAsk   InDoubt = "ask"   // the turn waits for an operator
)

// rawLimits is the table [limits] as it is written: a number, or a duration as text.
type rawLimits struct {
	MemoryMB  any    `toml:"memory_mb"`
	Turn      any    `toml:"turn"`
	Idle      any    `toml:"idle"`
	Fuel      any    `toml:"fuel"`
	CallsPerS any    `toml:"calls_per_s"`
	EventKB   any    `toml:"event_kb"`
	EventsMB  any    `toml:"events_mb"`
	JournalMB any    `toml:"journal_mb"`
	Handles   any    `toml:"handles"`
	Capacity  any    `toml:"capacity"`
	Attempts  any    `toml:"attempts"`
	InDoubt   string `toml:"in_doubt"`
}

const (
	kb = 1 << 10
	mb = 1 << 20
)

// limit is one row of the table of limits.
type limit struct {
	key           string
	unit          int64 // what 1 in the file stands for; times are written with their unit
	def, min, max int64 // in the file's unit; times in nanoseconds
	about         string
	raw           func(*rawLimits) any
	field         func(*Limits) any // pointer to int, int64 or time.Duration
}

// limits is the one place where keys, units, defaults and ranges stand. 0 and an absent key mean the default.
var limits = []limit{
	{"memory_mb", mb, 64, 1, 4096, "linear memory of one instance",
		func(r *rawLimits) any { return r.MemoryMB }, func(l *Limits) any { return &l.Memory }},
	{"turn", 1, int64(10 * time.Minute), int64(time.Second), int64(7 * 24 * time.Hour), "wall time of a turn",
		func(r *rawLimits) any { return r.Turn }, func(l *Limits) any { return &l.Turn }},
	{"idle", 1, int64(5 * time.Minute), int64(time.Second), int64(7 * 24 * time.Hour), "time in which nothing happens in a turn",
		func(r *rawLimits) any { return r.Idle }, func(l *Limits) any { return &l.Idle }},
	{"fuel", 1, 0, 1 << 20, 1 << 60, "computation of a turn; 0 is the engine's default",
		func(r *rawLimits) any { return r.Fuel }, func(l *Limits) any { return &l.Fuel }},
	{"calls_per_s", 1, 20_000, 10, 10_000_000, "host calls of a turn, per second; one that wants more is slowed down, and ended after ten such seconds on end",
		func(r *rawLimits) any { return r.CallsPerS }, func(l *Limits) any { return &l.CallsPerSecond }},
	{"event_kb", kb, 1024, 1, 1024, "one event",
		func(r *rawLimits) any { return r.EventKB }, func(l *Limits) any { return &l.Event }},
	{"events_mb", mb, 64, 1, 4096, "all events of a turn",
		func(r *rawLimits) any { return r.EventsMB }, func(l *Limits) any { return &l.Events }},
	{"journal_mb", mb, 256, 1, 4096, "recorded host calls of a turn",
		func(r *rawLimits) any { return r.JournalMB }, func(l *Limits) any { return &l.Journal }},
	{"handles", 1, 16, 1, 64, "requests and children open at once in a turn",
		func(r *rawLimits) any { return r.Handles }, func(l *Limits) any { return &l.Handles }},
	{"capacity", 1, 100, 1, 10_000, "turns at once on one node",
		func(r *rawLimits) any { return r.Capacity }, func(l *Limits) any { return &l.Capacity }},
	{"attempts", 1, 3, 1, 1000, "executions of one turn, over all nodes",
		func(r *rawLimits) any { return r.Attempts }, func(l *Limits) any { return &l.Attempts }},
}

// limits reads the table; DefaultLimits is what an empty one gives.
func (r *rawLimits) limits() (Limits, error) {
	l := Limits{InDoubt: InDoubt(r.InDoubt)}
	for _, row := range limits {
		n, err := row.number(row.raw(r))
		if err != nil {
			return Limits{}, fmt.Errorf("limits.%s: %w", row.key, err)
		}
		switch field := row.field(&l).(type) {
		case *int:
			*field = int(n * row.unit)
		case *int64:
			*field = n * row.unit
		case *time.Duration:
			*field = time.Duration(n)
		}
	}
	switch l.InDoubt {
	case "":
		l.InDoubt = InDoubtRetry
	case InDoubtRetry, InDoubtFail, InDoubtAsk:
	default:
		return Limits{}, fmt.Errorf("limits.in_doubt: %q is not one of retry, fail, ask", r.InDoubt)
	}
	return l, nil
}

// DefaultLimits are those of a profile whose permit file names none.
func DefaultLimits() Limits {
	l, err := new(rawLimits).limits()
	if err != nil {
		panic(err) // the table contradicts itself
	}
	return l
}

// isTime reports whether the row's value is written as a duration.
func (row limit) isTime() bool {
	_, ok := row.field(new(Limits)).(*time.Duration)
	return ok
}

// number gives the value in the row's unit.
func (row limit) number(raw any) (int64, error) {
	var n int64
	switch v := raw.(type) {
	case nil:
		return row.def, nil
	case int64:
		if v == 0 {
			return row.def, nil
		}
		if row.isTime() {
			return 0, fmt.Errorf("%d has no unit: %s", v, row.allowed())
		}
		n = v
	case string:
		d, err := time.ParseDuration(v)
		if err != nil || !row.isTime() {
			return 0, fmt.Errorf("%.40q is not what belongs here: %s", v, row.allowed())
		}
		n = int64(d)
	default:
		return 0, fmt.Errorf("%.40v is not what belongs here: %s", v, row.allowed())
	}
	if n < row.min || n > row.max {
		return 0, fmt.Errorf("%s is out of range: %s", row.text(n), row.allowed())
	}
	return n, nil
}

func (row limit) allowed() string {
	if row.isTime() {
		return fmt.Sprintf("write a time from %q to %q", row.text(row.min), row.text(row.max))
	}
	return fmt.Sprintf("write a number from %d to %d, or 0 for the default", row.min, row.max)
}

// text writes a value as a permit file does.
func (row limit) text(n int64) string {
	if row.isTime() {
		return time.Duration(n).String()
	}
	return fmt.Sprint(n)
}

// Setting is one limit as a person reads it.
type Setting struct {
	Key, Value, Default, About string
}

// Settings lists the limits in the units of the permit file.
func (l Limits) Settings() []Setting {
	var all []Setting
	for _, row := range limits {
		var n int64
		switch field := row.field(&l).(type) {
		case *int:
			n = int64(*field) / row.unit
		case *int64:
			n = *field / row.unit
		case *time.Duration:
			n = int64(*field)
		}
		all = append(all, Setting{row.key, row.text(n), row.text(row.def), row.about})
	}
	return append(all, Setting{"in_doubt", string(l.InDoubt), string(InDoubtRetry), "what to do about a call whose outcome is unknown"})
}
