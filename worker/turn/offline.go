package turn

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/store"
)

// Call is one recorded host call.
type Call struct {
	N      int             // number in the journal, from 1
	Op     string          // name of the import
	At     time.Time       // on the turn's clock, when it was answered
	Bytes  int             // of what the guest was told
	Code   hostabi.Code    // of a refusal; 0: none
	Handle uint32          // that it gave out, or whose record it was
	Record *hostabi.Record // what a wait yielded; nil when it timed out
	Event  int             // for an emit: the event's number among the turn's own, from 1
	Fence  int64           // of the attempt that made it; later attempts replayed it
}

// Calls reads a journal as its calls, in order.
func Calls(rows []store.Journal) ([]Call, error) {
	past, _, err := unpack(rows)
	if err != nil {
		return nil, err
	}
	calls := make([]Call, 0, len(past))
	row := 0
	for n, e := range past {
		for n >= rows[row].First+rows[row].Count {
			row++
		}
		c := Call{N: n, Op: e.op.String(), At: time.Unix(0, e.at).UTC(), Bytes: len(e.data), Fence: rows[row].Fence}
		switch {
		case e.op == opHead:
			continue
		case e.ret < 0:
			c.Code = hostabi.Code(-e.ret)
		case e.op == opWait && e.ret > 0:
			r, err := hostabi.ParseRecord(e.data)
			if err != nil {
				return nil, fmt.Errorf("%w: call %d: %w", errJournal, n, err)
			}
			c.Record, c.Handle, c.Bytes = &r, r.Handle, len(r.Payload)
		case e.op == opHTTPOpen || e.op == opProcOpen:
			c.Handle = uint32(e.ret)
		case e.op == opEmit:
			c.Event = int(e.ret)
		}
		calls = append(calls, c)
	}
	return calls, nil
}

// Difference is the first call of a re-run turn that is not the recorded one.
type Difference struct {
	N         int // number of the call
	Want, Got string
	Event     int      // for a recorded emit: the event's number among the turn's own, from 1
	Args      [][]byte // what the guest passed
}

func (d *Difference) Error() string {
	switch {
	case d.Want == "":
		return fmt.Sprintf("call %d: the journal has ended, the plugin calls %s(%s)", d.N, d.Got, clip(string(bytes.Join(d.Args, []byte(", ")))))
	case d.Got == "":
		return fmt.Sprintf("call %d: the journal has %s, the plugin has ended", d.N, d.Want)
	case d.Got == d.Want:
		return fmt.Sprintf("call %d: other arguments for %s: the plugin passes %s", d.N, d.Got, clip(string(bytes.Join(d.Args, []byte(", ")))))
	}
	return fmt.Sprintf("call %d: the journal has %s, the plugin calls %s(%s)", d.N, d.Want, d.Got, clip(string(bytes.Join(d.Args, []byte(", ")))))
}

// Offline runs a turn again from nothing but its journal: nothing leaves the machine and nothing is stored. key is the
// deployment's key of digests. It returns how many calls agree, and a *Difference for the first that does not. A turn
// that was ended from outside is compared up to there.
func Offline(ctx context.Context, rows []store.Journal, key []byte, run func(context.Context, hostabi.Host) error) (int, error) {
	past, h, err := unpack(rows)
	if err != nil {
		return 0, err
	}
	if h.Semantics != semantics {
		return 0, fmt.Errorf("turn: the journal has semantics %d, this worker %d", h.Semantics, semantics)
	}
	var request hostabi.TurnRequest
	if err := json.Unmarshal(h.Request, &request); err != nil {
		return 0, fmt.Errorf("%w: request: %w", errJournal, err)
	}
	none := int64(0)
	x := newExecution(New(Config{Logger: slog.New(slog.DiscardHandler), DigestKey: key}), store.Claim{
		ProcessID: &request.Process, SessionID: &request.Session, Profile: &request.Profile, Attempt: &request.Attempt, No: &none, Fence: &none,
	}, slog.New(slog.DiscardHandler))
	x.offline = true
	x.backend.Limits = Limits{EventBytes: math.MaxInt64, EventsBytes: math.MaxInt64, Handles: math.MaxInt, Calls: math.MaxInt}
	x.past, x.request, x.n, x.now = past, h.Request, 1, past[0].at
	x.ctx = ctx
	err = run(ctx, x)
	whole := past[len(past)-1].op == opFinish
	var difference *Difference
	switch {
	case x.ended && !whole:
		return x.n - 1, nil // what ended the turn is not in the journal
	case errors.As(err, &difference):
		return x.n - 1, difference
	case x.n < len(past):
		e := past[x.n]
		return x.n - 1, errors.Join(&Difference{N: x.n, Want: e.op.String(), Event: eventOf(e)}, err)
	}
	return x.n - 1, err
}

func eventOf(e entry) int {
	if e.op == opEmit && e.ret > 0 {
		return int(e.ret)
	}
	return 0
}

// differ ends a re-run: at a call that is not the recorded one, or beyond the last.
func (x *execution) differ(o op, parts [][]byte) error {
	d := &Difference{N: x.n, Got: o.String()}
	if x.replaying() {
		d.Want, d.Event = x.past[x.n].op.String(), eventOf(x.past[x.n])
	} else {
		x.ended = true
	}
	for _, p := range parts {
		d.Args = append(d.Args, bytes.Clone(p))
	}
	return d
}
