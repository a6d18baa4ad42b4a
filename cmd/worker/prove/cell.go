package prove

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/towpath/towpath/worker/turn"
)

// AtSent is the one point that the provider tells: it has counted the request and not answered.
const AtSent = "sent"

// Cell is one turn, one point and one fault.
type Cell struct {
	Name    string // of the point: one of package turn, or AtSent
	Op      string // of the call, for turn.AtCall; empty: any
	N       int    // the nth such point
	Settled bool   // the fault waits until everything before the point is committed
	Fault   Fault
}

func (c Cell) String() string {
	text := fmt.Sprintf("%s %d", c.Name, c.N)
	if c.Op != "" {
		text = fmt.Sprintf("%s %s %d", c.Name, c.Op, c.N)
	}
	if c.Settled {
		text += ", settled"
	}
	return text + ", " + string(c.Fault)
}

// Result is what became of a cell.
type Result struct {
	Cell
	At       string // the point that was hit, for people
	Reissued int
	Took     time.Duration
	Err      error // why the guarantee does not hold
}

var errNotReached = errors.New("the turn did not come to the point")

// patience bounds one cell.
const patience = 90 * time.Second

// run plays a cell. The error of the result says what is wrong.
func (l *lane) run(ctx context.Context, id string, cell Cell, want string) (r Result) {
	began := time.Now()
	r.Cell = cell
	defer func() { r.Took = time.Since(began) }()
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("nothing after %v", patience))
	defer cancel()
	r.Err = l.play(ctx, id, cell, want, &r)
	if r.Err != nil {
		for _, c := range l.nodes {
			r.Err = fmt.Errorf("%w\nlog of %s: %s", r.Err, c.id, c.log)
		}
	}
	return r
}

func (l *lane) play(ctx context.Context, id string, cell Cell, want string, r *Result) error {
	l.forget()
	asked := l.provider.asked()
	if cell.Name == AtSent {
		l.provider.hold(cell.N, func() { l.heard(nil, report{Hit: true, Point: &turn.Point{Process: id, Name: AtSent}}) })
		defer l.provider.release()
	} else if err := l.order(order{Arm: &Arm{Process: id, Name: cell.Name, Op: cell.Op, N: cell.N}}); err != nil {
		return err
	}
	if err := l.submit(ctx, id); err != nil {
		return err
	}
	attended := make(chan error, 1)
	go func() { attended <- l.attend(ctx, id) }()

	victim, point, err := l.blocked(ctx, id)
	if err != nil {
		return errors.Join(err, l.order(order{Disarm: true, Go: true}))
	}
	r.At = label(cell, point)
	if err := l.order(order{Disarm: true}); err != nil {
		return err
	}
	if cell.Settled {
		if err := l.until(ctx, "the calls so far are committed", `select sum(j.count) = $2 from towpath.journal j
			join towpath.process p on p.no = j.process_no where p.id = $1`, id, point.Call); err != nil {
			return err
		}
	}
	var open int
	if err := l.pool.QueryRow(ctx, `select coalesce((select jsonb_array_length(j.open) from towpath.journal j join towpath.process p on p.no = j.process_no
		where p.id = $1 and p.finalized_at is null order by j.first_n desc limit 1), 0)`, id).Scan(&open); err != nil {
		return err
	}
	sent := l.provider.asked()
	if err := l.strike(ctx, cell.Fault, victim); err != nil {
		return fmt.Errorf("fault: %w", err)
	}
	l.provider.release()
	sweeping, swept := context.WithCancel(ctx)
	go l.sweeping(sweeping)
	err = <-attended
	swept()
	if err != nil {
		return err
	}
	switch cell.Fault {
	case Stop:
		err = l.resume(ctx, victim, id)
	case Connections, Postgres:
		err = l.awaitLeft(ctx, victim, id)
	}
	if err != nil {
		return err
	}
	return l.judge(ctx, id, cell, want, asked, sent, open, r)
}

// blocked waits until the armed turn stands at its point, and says on which node.
func (l *lane) blocked(ctx context.Context, id string) (*child, turn.Point, error) {
	p, err := l.await(ctx, "the point", func(p passing) bool {
		return p.point.Process == id && (p.hit || p.point.Name == turn.AtLeft)
	})
	switch {
	case err != nil:
		return nil, p.point, err
	case !p.hit:
		return nil, p.point, errNotReached
	case p.node != nil:
		return p.node, p.point, nil
	}
	row, err := l.store.Process(ctx, id)
	if err != nil {
		return nil, p.point, err
	}
	for _, c := range l.nodes {
		if row.Node != nil && *row.Node == c.id {
			return c, p.point, nil
		}
	}
	return nil, p.point, fmt.Errorf("turn %s runs on no node of ours", id)
}

// judge compares what is left of a turn with what it shall be. asked and sent are the provider's counts before the turn
// and at the fault, open is how many outside calls were in doubt then.
func (l *lane) judge(ctx context.Context, id string, cell Cell, want string, asked, sent map[string]int, open int, r *Result) error {
	h, err := l.history(ctx, id)
	if err != nil {
		return err
	}
	if err := h.check(want); err != nil {
		return err
	}
	calls := 0
	for key, n := range l.provider.asked() {
		n -= asked[key]
		if n == 0 {
			continue
		}
		calls++
		again := h.reissued[key]
		r.Reissued += again
		delete(h.reissued, key)
		unsent := again > 0 && sent[key] == asked[key] // the intent was committed, the request had not left
		if n != 1+again && !(unsent && n == again) {
			return fmt.Errorf("call %s was asked %d times, %d times reported as made again", key, n, again)
		}
	}
	if len(h.reissued) > 0 {
		return fmt.Errorf("reported as made again, and never asked: %v", h.reissued)
	}
	if calls != 2 {
		return fmt.Errorf("the provider knows %d calls, want 2", calls)
	}
	// Who goes on after the fault may still lose the turn later, with a call in doubt that was not one before.
	if goesOn := cell.Fault == Connections || cell.Fault == Postgres; h.attempts == 1 && r.Reissued > 0 || !goesOn && r.Reissued > open {
		return fmt.Errorf("%d calls were made again: %d were in doubt, %d attempts", r.Reissued, open, h.attempts)
	}
	if cell.Fault == Kill && h.lapsed > 0 {
		return errors.New("nobody took over before the dead node's lease had run out")
	}
	return l.broken(ctx)
}

// label names a point for the table.
func label(c Cell, p turn.Point) string {
	switch p.Name {
	case turn.AtClaim:
		return "claim decided"
	case turn.AtCall:
		text := "before " + p.Op
		if c.Settled {
			return text + ", all committed"
		}
		return text
	case turn.AtIntent:
		return "intent committed"
	case AtSent:
		return "request sent"
	case turn.AtAppend:
		return "flush begins"
	case turn.AtAppended:
		return "flush committed"
	case turn.AtFinish:
		return "finish begins"
	case turn.AtFinished:
		return "finish committed"
	}
	return p.Name
}
