package store_test

import (
	"errors"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/towpath/towpath/store"
)

// model says in a few lines what the functions must do with one operation, without locks, tables or time.
type model struct {
	disposition string
	status      string
	holder      string // who has the lease, lapsed or not
	lapsed      bool
	due         bool // the wait of a backoff is over
	first       string
	seq         int64
	spent, max  int
	said        bool // this attempt has spoken
	cancelled   bool // is asked for
	marked      bool
	endedBy     string // who completed it
}

func (m *model) final() bool {
	return m.status == "completed" || m.status == "cancelled" || m.status == "abandoned"
}

func (m *model) end(status string) {
	m.status, m.holder = status, ""
	m.seq++
}

func (m *model) owns(n string) bool { return m.holder == n && !m.lapsed && !m.final() }

func (m *model) requeue(status string) {
	m.status, m.holder, m.due = status, "", false
	m.seq++
}

func (m *model) claim(n string) string {
	switch {
	case m.final():
		return store.ActionSkip
	case m.owns(n):
		return store.ActionRun
	case m.holder != "" && !m.lapsed:
		return store.ActionBusy
	case m.disposition == "owner_bound" && m.first != "" && m.first != n,
		m.status == "waiting", m.status == "backoff" && !m.due:
		return store.ActionSkip
	case m.cancelled:
		m.end("cancelled")
		return store.ActionSkip
	case m.spent >= m.max:
		m.end("abandoned")
		return store.ActionSkip
	}
	if m.said {
		m.seq++ // what the attempt before has said is taken back
	}
	m.status, m.holder, m.lapsed, m.said = "running", n, false, false
	m.seq++
	m.spent++
	if m.first == "" {
		m.first = n
	}
	return store.ActionRun
}

func (m *model) sweep() {
	bound := m.disposition == "owner_bound" && m.first != ""
	switch {
	case m.final(), m.holder != "" && !m.lapsed, m.holder == "" && !m.marked:
	case m.cancelled && !bound:
		m.end("cancelled")
	case bound && m.marked:
		m.end("abandoned")
	case bound, m.status != "running":
	case m.spent >= m.max:
		m.end("abandoned")
	default:
		m.requeue("queued")
	}
}

// What continuous integration runs; -rapid.checks and -rapid.steps take other numbers.
const (
	sequences = 2000
	steps     = 12
)

// feature: D9 D10 D24 D54 D57 D58 D64
func TestAnySequenceOfOperations(t *testing.T) {
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, value := range map[string]int{"rapid.checks": sequences, "rapid.steps": steps} {
		f := flag.Lookup(name)
		if before := f.Value.String(); !given[name] {
			if err := f.Value.Set(fmt.Sprint(value)); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = f.Value.Set(before) }()
		}
	}
	w := newWorld(t)
	w.settle()
	nodes := map[string]store.Node{"a": node("a"), "b": node("b")}
	rapid.Check(t, func(r *rapid.T) {
		m := model{disposition: rapid.SampledFrom([]string{"rerunnable", "owner_bound"}).Draw(r, "disposition"), status: "queued", seq: 1,
			max: rapid.IntRange(1, 3).Draw(r, "max_attempts")}
		p := speaking("{}")
		p.Disposition, p.Options.MaxAttempts = m.disposition, m.max
		id, err := w.store.Start(t.Context(), p)
		if err != nil {
			r.Fatal(err)
		}
		run(r, w, id, &m, nodes)
		if wrong := get[string](w, "select coalesce(string_agg(r, '; '), '') from towpath.process p, towpath.refold(p.no) r where p.id = $1", id); wrong != "" {
			r.Fatalf("row and log differ: %s", wrong)
		}
		w.exec("with gone as (delete from towpath.process where id = $1 returning no) delete from towpath.event e using gone where e.process_no = gone.no", id)
	})
}

func run(r *rapid.T, w *world, id string, m *model, nodes map[string]store.Node) {
	ctx := w.Context()
	no := get[int64](w, "select no from towpath.process where id = $1", id)
	fences := map[string]int64{}
	who := func() (string, store.Owner) {
		n := rapid.SampledFrom([]string{"a", "b"}).Draw(r, "node")
		return n, store.Owner{No: no, Fence: fences[n]}
	}
	expect := func(err, want error) {
		if want == nil && err != nil || want != nil && !errors.Is(err, want) {
			r.Fatalf("got error %v, want %v", err, want)
		}
	}
	fenced := func(n string) error {
		if m.owns(n) {
			return nil
		}
		return store.ErrFence
	}
	check := func(*rapid.T) {
		rows, err := w.pool.Query(ctx, `select p.status, coalesce(l.node_id, ''), p.last_seq, p.attempts_spent
			from towpath.process p left join towpath.lease l on l.process_no = p.no where p.no = $1`, no)
		var got struct {
			Status, Holder string
			Seq            int64
			Spent          int
		}
		if err == nil {
			got, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[struct {
				Status, Holder string
				Seq            int64
				Spent          int
			}])
		}
		expect(err, nil)
		if got.Status != m.status || got.Holder != m.holder || got.Seq != m.seq || got.Spent != m.spent {
			r.Fatalf("the row is %+v, the model %+v", got, *m)
		}
	}
	operations := map[string]func(*rapid.T){
		"": check,
		"claim": func(*rapid.T) {
			n, _ := who()
			want := m.claim(n)
			l, err := w.store.ClaimProcess(ctx, id, nodes[n], ttl, 0)
			expect(err, nil)
			if l.Action != want {
				r.Fatalf("claim: %s, want %s", l.Action, want)
			}
			if l.Action == store.ActionRun {
				if *l.Fence < fences["a"] || *l.Fence < fences["b"] {
					r.Fatalf("fence %d after %v", *l.Fence, fences)
				}
				fences[n] = *l.Fence
			}
		},
		"complete": func(*rapid.T) {
			n, o := who()
			want := fenced(n)
			switch {
			case want == nil:
				m.end("completed")
				m.endedBy = n
			case m.final() && m.endedBy == n:
				want = nil
			case m.final():
				want = store.ErrConflict
			}
			expect(w.store.Complete(ctx, o, done(n)), want)
		},
		"say": func(*rapid.T) {
			n, o := who()
			want := fenced(n)
			if want == nil {
				m.seq++
				m.said = true
			}
			_, err := w.store.AppendOwned(ctx, o, "line", raw("{}"), "")
			expect(err, want)
		},
		"comment": func(*rapid.T) {
			var want error
			if m.final() {
				want = store.ErrConflict
			} else {
				m.seq++
			}
			_, err := w.store.AppendEvent(ctx, id, "line", raw("{}"), "")
			expect(err, want)
		},
		"park": func(*rapid.T) {
			n, o := who()
			want := fenced(n)
			if want == nil {
				m.requeue("waiting")
				m.spent--
			}
			expect(w.store.Park(ctx, o, raw(`{"kind": "x"}`)), want)
		},
		"resume": func(*rapid.T) {
			want := store.ErrConflict
			if m.status == "waiting" {
				want = nil
				m.requeue("queued")
			}
			expect(w.store.Resume(ctx, id), want)
		},
		"retry": func(*rapid.T) {
			n, o := who()
			want := fenced(n)
			switch {
			case want != nil:
			case m.cancelled:
				m.end("cancelled")
			case m.spent >= m.max:
				m.end("abandoned")
			default:
				m.requeue("backoff")
			}
			_, err := w.store.Retry(ctx, o, "again", 30*time.Second, false, raw("{}"), "", false)
			expect(err, want)
		},
		"release": func(*rapid.T) {
			n, o := who()
			want := m.owns(n)
			if want && m.cancelled {
				m.end("cancelled")
			} else if want {
				m.requeue("queued")
				m.spent--
			}
			released, err := w.store.Release(ctx, o, "")
			expect(err, nil)
			if released != want {
				r.Fatalf("released %v, want %v", released, want)
			}
		},
		"cancel": func(*rapid.T) {
			if !m.final() {
				if !m.cancelled {
					m.cancelled = true
					m.seq++
				}
				if m.holder == "" {
					m.end("cancelled")
				}
			}
			status, err := w.store.Cancel(ctx, id, "no", time.Minute)
			expect(err, nil)
			if status != m.status {
				r.Fatalf("cancel says %s, want %s", status, m.status)
			}
		},
		"mark": func(*rapid.T) {
			var want error
			if m.final() {
				want = store.ErrConflict
			} else if !m.marked {
				m.marked = true
				m.seq++
			}
			_, err := w.store.RequestAbandon(ctx, id, "me", "")
			expect(err, want)
		},
		"drain": func(*rapid.T) {
			n, _ := who()
			if !m.final() && m.disposition == "owner_bound" && m.first == n {
				m.end("abandoned")
			}
			_, err := w.store.Drain(ctx, nodes[n])
			expect(err, nil)
		},
		"renew": func(*rapid.T) {
			n, _ := who()
			if m.holder == n {
				m.lapsed = false
			}
			_, err := w.store.Renew(ctx, nodes[n], ttl)
			expect(err, nil)
		},
		"a minute passes": func(*rapid.T) {
			m.lapsed, m.due = true, true
			w.shift("1 minute")
		},
		"sweep": func(*rapid.T) {
			m.sweep()
			w.sweep()
		},
	}
	r.Repeat(operations)
}
