package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/engine"
	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker/turn"
)

func (c *cli) turn() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "turn",
		Short: "Look into the journal of a turn: show, replay, resolve",
		Args:  wanted(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.turnShow(), c.turnReplay(), c.turnResolve())
	return cmd
}

func (c *cli) turnShow() *cobra.Command {
	var show display
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Print the host calls of a turn as a timeline, with its events between them",
		Long: `Print the host calls of a turn as a timeline, with its events between them. OFFSET counts from the turn's begin, by the
turn's clock; TOOK is the time to the next call's answer; ATTEMPT is the one that made the call, later ones replayed it.`,
		Args: wanted(cobra.ExactArgs(1)),
		RunE: c.connected(func(cmd *cobra.Command, s *session, args []string) error {
			lines, err := timeline(cmd.Context(), s.Store, args[0])
			if err != nil {
				return err
			}
			if show.json {
				for _, l := range lines {
					if err := writeJSON(c.out, l); err != nil {
						return err
					}
				}
				return nil
			}
			w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "CALL\tOFFSET\tTOOK\tBYTES\tATTEMPT\tWHAT")
			for _, l := range lines {
				l.print(w)
			}
			return w.Flush()
		}),
	}
	show.addFlag(cmd.Flags())
	return cmd
}

// line is one host call, or one event of the database's own.
type line struct {
	Call     int          `json:"call,omitempty"`
	Op       string       `json:"op,omitempty"`
	OffsetMS float64      `json:"offset_ms"`
	TookMS   float64      `json:"took_ms"`
	Bytes    int          `json:"bytes"`
	Attempt  int          `json:"attempt,omitempty"`  // that made the call
	Replayed int          `json:"replayed,omitempty"` // by so many later attempts
	Handle   uint32       `json:"handle,omitempty"`
	Record   string       `json:"record,omitempty"`
	Error    string       `json:"error,omitempty"`
	InDoubt  bool         `json:"in_doubt,omitempty"`
	Event    *store.Event `json:"event,omitempty"`
}

var recordNames = map[hostabi.Kind]string{
	hostabi.KindHead: "head", hostabi.KindData: "data", hostabi.KindStderr: "stderr", hostabi.KindEnd: "end",
	hostabi.KindFailed: "failed", hostabi.KindInput: "input", hostabi.KindCancel: "cancel",
}

var errNoJournal = errors.New("the turn has no journal: it has not begun, or it ended more than a day ago")

// timeline reads what is known of a turn, in order.
func timeline(ctx context.Context, s *store.Store, id string) ([]line, error) {
	process, err := s.Process(ctx, id)
	if err != nil {
		return nil, err
	}
	rows, err := s.Journal(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, errNoJournal
	}
	calls, err := turn.Calls(rows)
	if err != nil {
		return nil, err
	}
	attempts, err := s.Fences(ctx, id)
	if err != nil {
		return nil, err
	}
	emitted, err := s.EmittedOf(ctx, id)
	if err != nil {
		return nil, err
	}
	events, err := allEvents(ctx, s, id)
	if err != nil {
		return nil, err
	}
	doubtful := inDoubt(calls, !process.Final() && process.Status != "running")
	var lines []line
	said := 0 // events that are printed
	own := func(upto int64) {
		for ; said < len(events) && events[said].Seq < upto; said++ {
			if e := events[said]; strings.HasPrefix(e.Type, "process.") {
				lines = append(lines, line{Event: &e})
			}
		}
	}
	for i, c := range calls {
		if i > 0 && c.Fence != calls[i-1].Fence {
			own(began(events, attempts[c.Fence]) + 1)
		}
		l := line{
			Call: c.N, Op: c.Op, OffsetMS: ms(c.At.Sub(calls[0].At)), Bytes: c.Bytes, Attempt: attempts[c.Fence], Handle: c.Handle,
			Replayed: process.Attempt - attempts[c.Fence],
		}
		if i+1 < len(calls) {
			l.TookMS = ms(calls[i+1].At.Sub(c.At))
		}
		if c.Record != nil {
			l.Record = recordNames[c.Record.Kind]
		}
		switch {
		case c.Code != 0:
			l.Error = c.Code.String()
		case c.Event > 0 && c.Event <= len(emitted):
			seq := emitted[c.Event-1]
			own(seq)
			if said < len(events) && events[said].Seq == seq {
				l.Event = &events[said]
				said++
			}
		}
		l.InDoubt = c.Record == nil && c.Handle != 0 && doubtful[c.Handle]
		lines = append(lines, l)
	}
	own(process.LastSeq + 1)
	return lines, nil
}

// began finds the sequence number with which an attempt began.
func began(events []store.Event, attempt int) int64 {
	for _, e := range events {
		var data struct{ Attempt int }
		if e.Type == "process.started" && json.Unmarshal(e.Data, &data) == nil && data.Attempt == attempt {
			return e.Seq
		}
	}
	return 0
}

// inDoubt finds the outside calls whose outcome is not known: those that a later attempt found lost, and, when nobody
// runs the turn, those that are open.
func inDoubt(calls []turn.Call, abandoned bool) map[uint32]bool {
	doubtful := map[uint32]bool{}
	for _, c := range calls {
		switch {
		case c.Record == nil && c.Handle != 0 && c.Code == 0:
			doubtful[c.Handle] = abandoned
		case c.Record != nil && c.Record.Kind == hostabi.KindFailed && c.Record.Code == -int32(hostabi.ELOST):
			doubtful[c.Handle] = true
		case c.Record != nil && (c.Record.Kind == hostabi.KindEnd || c.Record.Kind == hostabi.KindFailed):
			doubtful[c.Handle] = false
		}
	}
	return doubtful
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (l line) print(w *tabwriter.Writer) {
	event := ""
	if l.Event != nil {
		event = fmt.Sprintf("#%d %s %s", l.Event.Seq, l.Event.Type, compact(l.Event.Data))
	}
	if l.Op == "" {
		fmt.Fprintf(w, "\t\t\t\t\t%s\n", event)
		return
	}
	what := []string{l.Op}
	if l.Handle != 0 {
		what = append(what, fmt.Sprintf("handle %d", l.Handle))
	}
	for _, more := range []string{l.Record, l.Error, event} {
		if more != "" {
			what = append(what, more)
		}
	}
	if l.InDoubt {
		what = append(what, "IN DOUBT")
	}
	attempt := fmt.Sprint(l.Attempt)
	if l.Replayed > 0 {
		attempt += ", replayed"
	}
	fmt.Fprintf(w, "%d\t%.3f ms\t%.3f ms\t%d\t%s\t%s\n", l.Call, l.OffsetMS, l.TookMS, l.Bytes, attempt, strings.Join(what, " "))
}

func allEvents(ctx context.Context, s *store.Store, id string) (events []store.Event, err error) {
	const page = 1000
	for after := int64(0); ; after = events[len(events)-1].Seq {
		more, err := s.Events(ctx, id, after, page)
		if err != nil {
			return nil, err
		}
		events = append(events, more...)
		if len(more) < page {
			return events, nil
		}
	}
}

func (c *cli) turnReplay() *cobra.Command {
	var plugin string
	cmd := &cobra.Command{
		Use:   "replay ID --plugin FILE",
		Short: "Run a turn again from its journal against a build of its plugin, and print the first difference",
		Long: `Run a turn again from its journal against a build of its plugin, and print the first difference. Nothing leaves the
machine and nothing is stored: what the turn was told then it is told again. Exit code 1: the plugin does something else.`,
		Args: wanted(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if plugin == "" {
				return &usageError{err: errors.New("--plugin is missing"), hint: "name a plugin's .wasm file"}
			}
			wasm, err := os.ReadFile(plugin)
			if err != nil {
				return &usageError{err: err}
			}
			s, err := c.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer s.pool.Close()
			return c.replay(cmd.Context(), s, args[0], wasm)
		},
	}
	cmd.Flags().StringVar(&plugin, "plugin", "", "the plugin's .wasm file")
	return cmd
}

func (c *cli) replay(ctx context.Context, s *session, id string, wasm []byte) error {
	if _, err := s.Process(ctx, id); err != nil {
		return err
	}
	rows, err := s.Journal(ctx, id)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return errNoJournal
	}
	seed, err := s.Seed(ctx)
	if err != nil {
		return err
	}
	eng, err := engine.New(ctx, engine.Config{CacheDir: s.Cache, Seed: seed, Logger: s.logger(c.err)})
	if err != nil {
		return err
	}
	defer eng.Close(context.WithoutCancel(ctx))
	module, err := eng.Load(ctx, wasm, engine.Limits{})
	if err != nil {
		return err
	}
	defer module.Close(context.WithoutCancel(ctx))
	n, err := turn.Offline(ctx, rows, seed, module.Run)
	var difference *turn.Difference
	if !errors.As(err, &difference) {
		if err == nil {
			_, err = fmt.Fprintf(c.out, "all %d calls agree\n", n)
		}
		return err
	}
	fmt.Fprintf(c.out, "%d calls agree\n", n)
	if difference.Event > 0 {
		if emitted, err := s.EmittedOf(ctx, id); err == nil && difference.Event <= len(emitted) {
			if was, err := s.Events(ctx, id, emitted[difference.Event-1]-1, 1); err == nil && len(was) == 1 {
				fmt.Fprintf(c.out, "then the journal has %s %s\n", was[0].Type, compact(json.RawMessage(was[0].Data)))
			}
		}
	}
	return difference
}

func (c *cli) turnResolve() *cobra.Command {
	var retry, fail bool
	cmd := &cobra.Command{
		Use:   "resolve ID --retry|--fail",
		Short: "Decide about a turn that waits because an outside call is in doubt, and print its status",
		Args:  wanted(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if retry == fail {
				return &usageError{err: errors.New("pass --retry or --fail"),
					hint: "--retry lets the plugin ask again, --fail ends the turn; `worker turn show` has the call"}
			}
			s, err := c.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer s.pool.Close()
			decision := "fail"
			if retry {
				decision = "retry"
			}
			status, err := s.Resolve(cmd.Context(), args[0], decision)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.out, status)
			return err
		},
	}
	cmd.Flags().BoolVar(&retry, "retry", false, "let the plugin ask again")
	cmd.Flags().BoolVar(&fail, "fail", false, "end the turn as failed")
	return cmd
}
