package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/spf13/cobra"

	"github.com/towpath/towpath/store"
)

func (c *cli) top() *cobra.Command {
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch nodes, queues, daemons and what runs",
		Long: `Watch nodes, queues, daemons and what runs, with the events a second of each, which need two looks, and the tokens of
turns: all that their responses have said so far, and how many a second since the turn began. q leaves. When the output is not a
terminal it prints what it sees once.`,
		Args: wanted(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if every < 100*time.Millisecond {
				return &usageError{err: fmt.Errorf("--every is %v: the least is 100ms", every)}
			}
			s, err := c.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer s.pool.Close()
			if !terminal(c.out) {
				v, err := s.view(cmd.Context())
				if err != nil {
					return err
				}
				_, err = fmt.Fprint(c.out, v.text(nil, 0))
				return err
			}
			_, err = tea.NewProgram(topScreen{ctx: cmd.Context(), read: s.view, every: every}, tea.WithContext(cmd.Context()), tea.WithInput(c.in), tea.WithOutput(c.out)).Run()
			return err
		},
	}
	cmd.Flags().DurationVar(&every, "every", 2*time.Second, "time between two looks")
	return cmd
}

// view is one look at the deployment.
type view struct {
	at     time.Time // by the database's clock
	nodes  []store.NodeRow
	gauges []store.Gauge
	live   []store.Process
	tokens map[string]store.TurnUsage // by process
	daemon []store.Daemon
}

func (s *session) view(ctx context.Context) (v view, err error) {
	if v.at, err = s.Now(ctx); err != nil {
		return v, err
	}
	if v.nodes, err = s.Nodes(ctx); err != nil {
		return v, err
	}
	if v.gauges, err = s.Gauges(ctx); err != nil {
		return v, err
	}
	daemons, err := s.Daemons(ctx)
	if err != nil {
		return v, err
	}
	for _, d := range daemons {
		if d.Process != nil { // somebody has started it once
			v.daemon = append(v.daemon, d)
		}
	}
	if v.live, err = newest(ctx, s.Store, nil, 200); err != nil {
		return v, err
	}
	var turns []string
	for _, p := range v.live {
		if p.Class == "turn" && p.Attempt > 0 {
			turns = append(turns, p.ID)
		}
	}
	told, err := s.TurnUsage(ctx, turns)
	v.tokens = map[string]store.TurnUsage{}
	for _, u := range told {
		v.tokens[u.Process] = u
	}
	return v, err
}

// gauge adds up a gauge over the labels that are not given.
func (v view) gauge(name string, labels map[string]string) float64 {
	sum := 0.0
next:
	for _, g := range v.gauges {
		if g.Name != name {
			continue
		}
		for k, want := range labels {
			if g.Labels[k] != want {
				continue next
			}
		}
		sum += g.Value
	}
	return sum
}

// text shows a look, with rates when there is one before it, in at most height lines when that is not 0.
func (v view) text(before *view, height int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "towpath  %s  %d nodes  %.0f processes live  %.0f in doubt  %.0f quarantined\n\n", v.at.UTC().Format(time.TimeOnly),
		len(v.nodes), v.gauge("processes", nil), v.gauge("in_doubt", nil), v.gauge("quarantined_sessions", nil))
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "QUEUE\tWAITING\tRUNNING\tLATER\tOLDEST\t")
	for _, q := range []string{"turns", "lifecycle", "gc"} {
		count := func(state string) float64 { return v.gauge("jobs", map[string]string{"queue": q, "state": state}) }
		paused := ""
		if v.gauge("queue_paused", map[string]string{"queue": q}) > 0 {
			paused = "paused"
		}
		oldest := time.Duration(v.gauge("oldest_job_seconds", map[string]string{"queue": q}) * float64(time.Second)).Round(time.Second)
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\t%v\t%s\n", q, count("available"), count("running"), count("scheduled")+count("retryable"), oldest, paused)
	}
	fmt.Fprintln(w, "\nNODE\tLEASES\tQUEUES\tVERSION\tUP\tSEEN")
	for _, n := range v.nodes {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%v\t%v ago\n", n.ID, n.Leases, strings.Join(n.Queues, ","), n.Version,
			v.at.Sub(n.StartedAt).Round(time.Second), v.at.Sub(n.SeenAt).Round(time.Second))
	}
	if len(v.daemon) > 0 {
		fmt.Fprintln(w, "\nDAEMON\tSTATE\tHEALTH\tNODE\tPID\tPORT\tRESTARTS")
	}
	for _, d := range v.daemon {
		restarts := "-"
		if d.Restarts != nil && d.MaxRestarts != nil {
			restarts = fmt.Sprintf("%d/%d", *d.Restarts, *d.MaxRestarts)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.Name, d.State, or(d.Health), or(d.Node), or(d.PID), or(d.Port), restarts)
	}
	fmt.Fprintln(w, "\nPROCESS\tCLASS\tSTATUS\tPROFILE\tSESSION\tNODE\tATTEMPT\tEVENTS\tPER SECOND\tTOKENS\tPER SECOND\tAGE")
	_ = w.Flush()
	w = tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, p := range v.busiest() {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d/%d\t%d\t%s\t%s\t%v\n", p.ID, p.Class, statusOf(p), or(p.Profile), or(p.Session), or(p.Node), p.Attempt, p.MaxAttempts,
			p.LastSeq, v.rate(before, p), v.spoken(p), v.at.Sub(p.CreatedAt).Round(time.Second))
	}
	_ = w.Flush()
	lines := strings.SplitAfter(b.String(), "\n")
	if height > 0 && len(lines) > height {
		lines = lines[:height]
	}
	return strings.Join(lines, "")
}

// busiest are the live processes, those that run first.
func (v view) busiest() []store.Process {
	rank := map[string]int{"running": 0, "waiting": 1, "backoff": 2, "queued": 3}
	list := slices.Clone(v.live)
	slices.SortStableFunc(list, func(a, b store.Process) int { return rank[a.Status] - rank[b.Status] })
	return list
}

// rate is the events a second of a process since the look before.
func (v view) rate(before *view, p store.Process) string {
	if before == nil || !v.at.After(before.at) {
		return "-"
	}
	i := slices.IndexFunc(before.live, func(old store.Process) bool { return old.ID == p.ID })
	if i < 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", float64(p.LastSeq-before.live[i].LastSeq)/v.at.Sub(before.at).Seconds())
}

// spoken are the tokens of a turn, and those a second.
func (v view) spoken(p store.Process) string {
	u, ok := v.tokens[p.ID]
	if !ok {
		return "-\t-"
	}
	if u.Seconds <= 0 {
		return fmt.Sprintf("%d\t-", u.OutputTokens)
	}
	return fmt.Sprintf("%d\t%.1f", u.OutputTokens, float64(u.OutputTokens)/u.Seconds)
}

// topScreen is the terminal.
type topScreen struct {
	ctx    context.Context
	read   func(context.Context) (view, error)
	every  time.Duration
	height int

	now, before *view
	err         error
}

type looked struct {
	view view
	err  error
}

func (s topScreen) look() tea.Msg {
	v, err := s.read(s.ctx)
	return looked{v, err}
}

// Init looks for the first time.
func (s topScreen) Init() tea.Cmd { return s.look }

// Update takes a look's result, a key or a new size.
func (s topScreen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		s.height = msg.Height
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q", "esc", "ctrl+c":
			return s, tea.Quit
		}
	case looked:
		if s.err = msg.err; s.err == nil {
			s.before, s.now = s.now, &msg.view
		}
		return s, tea.Tick(s.every, func(time.Time) tea.Msg { return s.look() })
	}
	return s, nil
}

// View shows the newest look, and an error above it while there is one.
func (s topScreen) View() tea.View {
	text := "looking …"
	if s.now != nil {
		text = s.now.text(s.before, max(s.height-1, 0))
	}
	if s.err != nil {
		text = "error: " + s.err.Error() + "\n" + text
	}
	v := tea.NewView(text)
	v.AltScreen = true
	return v
}
