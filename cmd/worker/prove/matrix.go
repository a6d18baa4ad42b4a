package prove

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/towpath/towpath/worker/turn"
)

// Options of a run.
type Options struct {
	Program     string // the worker
	Plugin      string // deepseek.wasm
	Cache       string // of compiled plugins
	DatabaseURL string // empty: a private Postgres for each lane
	PostgresBin string
	Only        string    // cells whose name holds this; of a random run the one fault to inflict
	Lanes       int       // side by side; one on a named database
	Out         io.Writer // table and violations
	Progress    io.Writer
	Logger      *slog.Logger
}

// Matrices by name.
var Matrices = []string{"reduced", "full"}

// ErrBroken says that a guarantee does not hold; the violations are printed.
var ErrBroken = errors.New("guarantees are broken")

// Matrix plays all cells of a matrix and prints the table. It returns ErrBroken if any fails.
func Matrix(ctx context.Context, o Options, name string) (err error) {
	began := time.Now()
	if o.DatabaseURL != "" {
		o.Lanes = 1
	}
	lanes, err := open(ctx, o, 2)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAll(lanes)) }()
	want, points, err := lanes[0].undisturbed(ctx)
	if err != nil {
		return fmt.Errorf("the undisturbed turn: %w", err)
	}
	cells := reduced(points)
	if name == "full" {
		cells = full(points, o.DatabaseURL == "")
	}
	cells = slices.DeleteFunc(cells, func(c Cell) bool { return !strings.Contains(c.String(), o.Only) })
	fmt.Fprintf(o.Out, "A turn of %d host calls, %d cells, leases of %v.\n", calls(points), len(cells), LeaseTTL)
	results := play(ctx, o, lanes, cells, want)
	return errors.Join(table(o.Out, results, time.Since(began)), ctx.Err())
}

func open(ctx context.Context, o Options, nodes int) ([]*lane, error) {
	lanes := make([]*lane, o.Lanes)
	errs := make([]error, o.Lanes)
	var opening sync.WaitGroup
	for i := range lanes {
		opening.Go(func() { lanes[i], errs[i] = openLane(ctx, o, fmt.Sprint(i+1), nodes) })
	}
	opening.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, closeAll(lanes))
	}
	return lanes, nil
}

func closeAll(lanes []*lane) error {
	var errs []error
	for _, l := range lanes {
		if l != nil {
			errs = append(errs, l.close())
		}
	}
	return errors.Join(errs...)
}

// undisturbed plays the turn to its end a few times, and says what it leaves and what points it passes each time: those
// of the shortest, since pieces of an answer that arrive together make a turn of fewer calls.
func (l *lane) undisturbed(ctx context.Context) (want string, points []turn.Point, err error) {
	for n := range 4 {
		id := fmt.Sprintf("undisturbed-%d", n+1)
		l.forget()
		if err := l.submit(ctx, id); err != nil {
			return "", nil, err
		}
		if err := l.attend(ctx, id); err != nil {
			return "", nil, err
		}
		// Its node may still be telling of the last points: the turn ends for others with a commit.
		waiting, stop := context.WithTimeout(ctx, patience)
		_, err := l.await(waiting, "the last point of "+id, func(p passing) bool { return p.point.Process == id && p.point.Name == turn.AtLeft })
		stop()
		if err != nil {
			return "", nil, err
		}
		h, err := l.history(ctx, id)
		if err != nil {
			return "", nil, err
		}
		if want != "" && h.transcript != want {
			return "", nil, fmt.Errorf("two of them differ:\n%s\n%s", want, h.transcript)
		}
		want = h.transcript
		if !strings.HasPrefix(h.ended, "completed") {
			return "", nil, fmt.Errorf("it ended %s", h.ended)
		}
		l.mu.Lock()
		if n == 0 || len(l.passed) < len(points) {
			points = nil
			for _, p := range l.passed {
				points = append(points, p.point)
			}
		}
		l.mu.Unlock()
	}
	return want, points, l.broken(ctx)
}

func calls(points []turn.Point) (n int) {
	for _, p := range points {
		if p.Name == turn.AtCall {
			n++
		}
	}
	return n
}

// reduced has each kind of point once, and kills.
func reduced(points []turn.Point) (cells []Cell) {
	seen := map[string]int{}
	for _, p := range points {
		key := p.Name + " " + p.Op
		// Not the first of its kind, where there are two: the interesting ones are in the middle.
		if seen[key]++; seen[key] != min(2, count(points, p)) || p.Name == turn.AtLeft {
			continue
		}
		cell := Cell{Name: p.Name, Op: p.Op, N: seen[key], Fault: Kill}
		cells = append(cells, cell)
		if p.Name == turn.AtCall && (p.Op == "emit" || p.Op == "close") {
			cell.Settled = true
			cells = append(cells, cell)
		}
	}
	return append(cells, Cell{Name: AtSent, N: 2, Fault: Kill})
}

func count(points []turn.Point, like turn.Point) (n int) {
	for _, p := range points {
		if p.Name == like.Name && p.Op == like.Op {
			n++
		}
	}
	return n
}

// surely is how many flushes each turn has; more are a matter of time.
const surely = 3

// full has every call in memory and committed, every other point, and all faults.
func full(points []turn.Point, own bool) (cells []Cell) {
	seen := map[string]int{}
	for _, fault := range Faults {
		if fault == Postgres && !own {
			continue
		}
		clear(seen)
		for _, p := range points {
			seen[p.Name]++
			late := (p.Name == turn.AtAppend || p.Name == turn.AtAppended) && seen[p.Name] > surely
			if p.Name == turn.AtLeft || late {
				continue
			}
			cell := Cell{Name: p.Name, N: seen[p.Name], Fault: fault}
			cells = append(cells, cell)
			if p.Name == turn.AtCall {
				cell.Settled = true
				cells = append(cells, cell)
			}
		}
		for n := range seen[turn.AtIntent] {
			cells = append(cells, Cell{Name: AtSent, N: n + 1, Fault: fault})
		}
	}
	return cells
}

// play shares the cells out among the lanes.
func play(ctx context.Context, o Options, lanes []*lane, cells []Cell, want string) []Result {
	results := make([]Result, len(cells))
	next := make(chan int)
	var working sync.WaitGroup
	var done sync.Mutex
	ended := 0
	for _, l := range lanes {
		working.Go(func() {
			for i := range next {
				results[i] = l.cell(ctx, i, cells[i], want)
				done.Lock()
				ended++
				fmt.Fprintf(o.Progress, "\r%d of %d cells; %s took %v   ", ended, len(cells), cells[i], results[i].Took.Round(time.Millisecond))
				if err := results[i].Err; err != nil {
					fmt.Fprintf(o.Progress, "\nbroken: %s: %v\n", cells[i], err)
				}
				done.Unlock()
			}
		})
	}
	for i := range cells {
		if ctx.Err() != nil {
			results[i] = Result{Cell: cells[i], Err: context.Cause(ctx)}
			continue
		}
		next <- i
	}
	close(next)
	working.Wait()
	fmt.Fprintln(o.Progress)
	return results
}

// tries of a cell: its turn may be shorter than the shortest undisturbed one.
const tries = 3

func (l *lane) cell(ctx context.Context, i int, cell Cell, want string) (r Result) {
	for try := range tries {
		if r.Err = l.fill(ctx, 2); r.Err != nil {
			r.Cell = cell
			return r
		}
		id := fmt.Sprintf("cell-%d-%d", i+1, try+1)
		r = l.run(ctx, id, cell, want)
		if r.Err == nil {
			return r
		}
		l.clear(ctx, id)
		if !errors.Is(r.Err, errNotReached) {
			return r
		}
	}
	return r
}

// clear leaves nothing of a broken cell behind that could disturb the next one.
func (l *lane) clear(ctx context.Context, ids ...string) {
	for _, c := range l.nodes {
		c.kill()
	}
	l.failed = append(l.failed, ids...)
	l.provider.release()
	for _, id := range ids {
		_, _ = l.store.Cancel(ctx, id, "broken", 0) // the sweep ends it, now that nobody runs it
	}
	for {
		if repaired, err := l.store.Sweep(ctx, time.Millisecond, none, 100); err != nil || len(repaired) == 0 {
			return
		}
	}
}

// table prints a line for each kind of point, and what is broken.
func table(out io.Writer, results []Result, took time.Duration) error {
	type square struct{ cells, broken, again int }
	var rows []string
	var faults []Fault
	squares := map[string]map[Fault]*square{}
	broken := 0
	for _, r := range results {
		if r.At == "" {
			r.At = r.Name + ", not reached"
		}
		if squares[r.At] == nil {
			squares[r.At] = map[Fault]*square{}
			rows = append(rows, r.At)
		}
		if !slices.Contains(faults, r.Fault) {
			faults = append(faults, r.Fault)
		}
		s := squares[r.At][r.Fault]
		if s == nil {
			s = &square{}
			squares[r.At][r.Fault] = s
		}
		s.cells++
		s.again += r.Reissued
		if r.Err != nil {
			s.broken++
			broken++
		}
	}
	slices.Sort(rows)
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprint(w, "POINT")
	for _, f := range faults {
		fmt.Fprintf(w, "\t%s", f)
	}
	fmt.Fprintln(w)
	for _, row := range rows {
		fmt.Fprint(w, row)
		for _, f := range faults {
			s := squares[row][f]
			switch {
			case s == nil:
				fmt.Fprint(w, "\t-")
			case s.broken > 0:
				fmt.Fprintf(w, "\t%d of %d BROKEN", s.broken, s.cells)
			case s.again > 0:
				fmt.Fprintf(w, "\t%d ok, %d asked again", s.cells, s.again)
			default:
				fmt.Fprintf(w, "\t%d ok", s.cells)
			}
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d cells, %d broken, %v.\n", len(results), broken, took.Round(time.Second))
	if broken == 0 {
		return nil
	}
	for _, r := range results {
		if r.Err != nil {
			fmt.Fprintf(out, "\nbroken: %s (%s): %v\n", r.Cell, r.At, r.Err)
		}
	}
	return ErrBroken
}
