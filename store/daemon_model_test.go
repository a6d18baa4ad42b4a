package store_test

import (
	"errors"
	"flag"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"pgregory.net/rapid"

	"github.com/towpath/towpath/store"
)

// daemonModel says in a few lines what the functions must do with one daemon, without locks, tables or jitter.
type daemonModel struct {
	policy   string
	max      int
	outlives bool

	status    string // "" before the first start
	holder    string // who has the lease, lapsed or not
	lapsed    bool
	due       bool
	cancelled bool
	attempt   int
	spent     int
	restartOf int

	child   string // where its child may be: "" is nowhere
	pid     bool
	ready   bool
	minutes int // half minutes since it was ready
}

func (m *daemonModel) final() bool {
	return m.status == "completed" || m.status == "failed" || m.status == "cancelled" || m.status == "abandoned"
}

func (m *daemonModel) owns(n string) bool { return m.status == "running" && m.holder == n && !m.lapsed }

func (m *daemonModel) to(status string) {
	m.status, m.holder, m.due = status, "", false
	if status != "waiting" {
		m.child, m.pid, m.ready, m.minutes = "", false, false, 0
	}
}

func (m *daemonModel) start() string {
	if m.status != "" && !m.final() {
		return "TW409"
	}
	*m = daemonModel{policy: m.policy, max: m.max, outlives: m.outlives, status: "queued"}
	return ""
}

func (m *daemonModel) stop() {
	if m.status == "" || m.final() {
		return
	}
	m.cancelled = true
	if m.holder == "" && m.child == "" {
		m.to("cancelled")
	}
}

func (m *daemonModel) restart() string {
	switch {
	case m.status == "" || m.final():
		return m.start()
	case m.cancelled || m.status == "waiting":
		return "TW409"
	case m.status == "running":
		m.restartOf = m.attempt
	case m.status == "backoff":
		m.to("queued")
	}
	m.spent = 0
	return ""
}

func (m *daemonModel) claim(n, machine string) string {
	switch {
	case m.status == "" || m.final():
		return store.ActionSkip
	case m.child != "" && m.outlives && (m.pid || m.holder != n):
		return store.ActionBusy
	case m.holder == n && !m.lapsed:
	case m.status == "queued" || m.status == "backoff" && m.due:
		m.attempt++
		m.spent++
		m.status, m.holder, m.lapsed = "running", n, false
	case m.holder == n: // lapsed, and nobody has swept
		if m.cancelled {
			m.to("cancelled")
			return store.ActionSkip
		}
		if m.spent >= m.max {
			m.to("abandoned")
			return store.ActionSkip
		}
		m.attempt++
		m.spent++
		m.lapsed = false
	default:
		return store.ActionSkip
	}
	m.child, m.pid, m.ready, m.minutes = machine, false, false, 0
	return store.ActionRun
}

func (m *daemonModel) exit(code int, refund bool) {
	if m.ready && m.minutes >= 2 {
		m.spent = min(m.spent, 1)
	}
	switch {
	case m.cancelled:
		m.to("cancelled")
	case m.restartOf == m.attempt:
		m.spent = 0
		m.to("queued")
	case refund:
		m.spent = max(m.spent, 1) - 1
		m.to("queued")
	case m.policy != "always" && code == 0:
		m.to("completed")
	case m.policy == "never", m.spent >= m.max:
		m.to("failed")
	default:
		m.to("backoff")
	}
}

func (m *daemonModel) adopt(n, machine string) bool {
	if m.final() || m.child != machine || !m.outlives || m.holder == n || m.holder == "" && m.status != "waiting" {
		return false
	}
	if m.restartOf == m.attempt {
		m.restartOf++
	}
	m.attempt++
	m.status, m.holder, m.lapsed = "running", n, false
	return true
}

func (m *daemonModel) sweep() {
	switch {
	case m.status != "running" || !m.lapsed:
	case m.child != "" && m.outlives:
		m.to("waiting")
	case m.cancelled:
		m.to("cancelled")
	case m.spent >= m.max:
		m.to("failed")
	default:
		m.to("backoff")
	}
}

// What continuous integration lives through; by hand -rapid.checks=25000 is as many on each lane.
const (
	lives = 5200
	lanes = 4
)

// A restart policy is only worth its name if no sequence of crashes, stops, starts and clocks gets around it.
//
// feature: B3 B9 B10 B14
func TestAnySequenceInTheLifeOfADaemon(t *testing.T) {
	t.Parallel()
	each := lives / lanes / 100 // rapid checks a property 100 times, unless it is told otherwise
	if testing.Short() {
		each = 1
	}
	flag.Visit(func(f *flag.Flag) {
		if f.Name == "rapid.checks" {
			each = 1
		}
	})
	for lane := range lanes {
		t.Run(fmt.Sprint(lane), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.settle()
			nodes := map[string]store.Node{"a": node("a"), "b": node("b"), "c": node("c")}
			for _, policy := range []string{"always", "on_failure", "never"} {
				for most := 1; most <= 3; most++ {
					for _, outlives := range []bool{false, true} {
						w.ok(w.store.PutSpec(t.Context(), fmt.Sprintf("%s-%d-%v", policy, most, outlives), fmt.Appendf(nil,
							`{"command": "x", "restart": %q, "restarts": %d, "outlives": %v, "backoff_s": 10, "stable_s": 60}`, policy, most-1, outlives)))
					}
				}
			}
			rapid.Check(t, func(r *rapid.T) {
				for range each {
					daemonLife(r, w, nodes)
				}
			})
			w.sound()
		})
	}
}

// daemonLook is what the model says, as the rows say it, and what a row must have beside it.
const daemonLook = `select coalesce((select format('%s %s %s %s %s %s %s %s', p.status, l.node_id, y.no[(p.cancel_requested_at is not null)::int],
		p.attempt, p.attempts_spent, c.machine, y.no[(c.pid is not null)::int], y.no[(c.ready_at is not null)::int])
	|| case when p.status in ('queued', 'backoff') and (j.finalized_at is not null or j.kind <> case p.attempt when 0 then 'start' else 'restart' end
	     or (j.args ->> 'generation')::int <> p.generation) then ' without its job' else '' end
	|| case when p.finalized_at is not null and j.finalized_at is null then ' with a job' else '' end
	|| case when p.status = 'backoff' and p.next_attempt_at - (select max(a.ended_at) from towpath.attempt a where a.process_no = p.no)
	     not between '0.1 s' and least(10, 2 ^ p.attempts_spent) * interval '1 s' then ' not in time' else '' end
	from (values ('[0:1]={false,true}'::text[])) y(no), towpath.daemon d join towpath.process p on p.id = d.process_id left join towpath.lease l on l.process_no = p.no
	left join towpath.child c on c.process_no = p.no left join river_job j on j.id = p.river_job_id where d.name = $1), 'none')`

func daemonLife(r *rapid.T, w *world, nodes map[string]store.Node) {
	ctx := w.Context()
	machines := map[string]string{"a": "m1", "b": "m2", "c": "m1"}
	m := &daemonModel{policy: rapid.SampledFrom([]string{"always", "on_failure", "never"}).Draw(r, "policy"),
		max: rapid.IntRange(1, 3).Draw(r, "max"), outlives: rapid.Bool().Draw(r, "outlives")}
	name := fmt.Sprintf("%s-%d-%v", m.policy, m.max, m.outlives)
	fences := map[string]int64{}
	trail := ""
	// A step and a look at what it made, in one round trip.
	rows := "none"
	step := func(code, sql string, args ...any) string {
		var batch pgx.Batch
		var got string
		batch.Queue(sql, args...).QueryRow(func(row pgx.Row) error { return row.Scan(&got) })
		batch.Queue(daemonLook, name).QueryRow(func(row pgx.Row) error { return row.Scan(&rows) })
		err := w.pool.SendBatch(ctx, &batch).Close()
		var pg *pgconn.PgError
		if errors.As(err, &pg) && pg.Code == code {
			if err := w.pool.QueryRow(ctx, daemonLook, name).Scan(&rows); err != nil {
				r.Fatal(err)
			}
			return ""
		}
		if err != nil || code != "" {
			r.Fatalf("%s: error %v, want code %q; model %+v", trail, err, code, *m)
		}
		return got
	}
	check := func() {
		want := fmt.Sprintf("%s %s %v %d %d %s %v %v", m.status, m.holder, m.cancelled, m.attempt, m.spent, m.child, m.pid, m.ready)
		if m.status == "" {
			want = "none"
		}
		if rows != want {
			r.Fatalf("%s: the rows say %q, the model %q", trail, rows, want)
		}
	}
	step("", "with forgotten as (update towpath.daemon d set process_id = null, restart_of = null where d.name = $1) select ''", name)
	// Numbers come from the rows: they are no part of the policy.
	const of = "(select p.no from towpath.daemon d join towpath.process p on p.id = d.process_id where d.name = $1)"
	const pass = "with moved as (insert into towpath.clock (shift) values ('31 s') on conflict (one) do update set shift = clock.shift + excluded.shift) select ''"
	for range rapid.IntRange(3, 12).Draw(r, "steps") {
		n := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(r, "node")
		op := rapid.SampledFrom([]string{"start", "claim", "claim", "claim", "child", "ready", "exit", "exit", "refund", "stop", "restart", "pass", "pass",
			"sweep", "adopt", "park", "resume"}).Draw(r, "op")
		trail += " " + op + ":" + n
		fenced := ""
		if !m.owns(n) {
			fenced = "TW40L"
		}
		switch op {
		case "start":
			step(m.start(), "select towpath.daemon_start($1)", name)
		case "stop":
			m.stop()
			step("", "select towpath.daemon_stop($1)", name)
		case "restart":
			step(m.restart(), "select towpath.daemon_restart($1)", name)
		case "claim":
			want := m.claim(n, machines[n])
			got := step("", `select coalesce((select format('%s %s', c.action, c.fence) from towpath.daemon d join towpath.process p on p.id = d.process_id,
				towpath.daemon_claim(p.id, p.generation, p.river_job_id, $2, $3, '30 s', $4, 'boot') c where d.name = $1), 'skip ')`, name, n, nodes[n].Incarnation, machines[n])
			var action string
			var fence int64
			fmt.Sscan(got, &action, &fence)
			if action != want {
				r.Fatalf("%s: claim says %q, want %s; model %+v", trail, got, want, *m)
			}
			if action == store.ActionRun {
				fences[n] = fence
			}
		case "child", "ready":
			if m.owns(n) {
				if m.child == "" {
					r.Fatalf("%s: an owner without a child", trail)
				}
				m.pid, m.ready = true, m.ready || op == "ready"
			}
			step(fenced, "select towpath.daemon_child("+of+", $2, 7, 7, $3)::text", name, fences[n], op == "ready")
		case "exit", "refund":
			code := rapid.IntRange(0, 1).Draw(r, "code")
			if m.owns(n) {
				m.exit(code, op == "refund")
			}
			step(fenced, "select towpath.daemon_exit("+of+", $2, 'exit', $3, null, $4)", name, fences[n], code, op == "refund")
		case "park":
			code := fenced
			if code == "" && !m.outlives {
				code = "TW409"
			} else if code == "" {
				m.to("waiting")
			}
			step(code, "select towpath.daemon_park("+of+", $2)", name, fences[n])
		case "adopt":
			want := m.adopt(n, machines[n])
			got := step("", `select coalesce((select a.fence from towpath.daemon_orphans($2, $3) o, towpath.daemon_adopt(o.process_no, o.attempt, $4, $3, '30 s') a
				where o.name = $1), 0)::text`, name, machines[n], nodes[n].Incarnation, n)
			if (got != "0") != want {
				r.Fatalf("%s: adoption gives fence %s, want it %v; model %+v", trail, got, want, *m)
			}
			if want {
				var fence int64
				fmt.Sscan(got, &fence)
				fences[n] = fence
			}
		case "resume":
			code := "TW409"
			if m.status == "waiting" {
				m.spent = max(m.spent-1, 0)
				if code = ""; m.cancelled {
					m.to("cancelled")
				} else {
					m.to("queued")
				}
			}
			if m.status == "" {
				code = "TW404"
			}
			step(code, "select towpath.resume((select d.process_id from towpath.daemon d where d.name = $1))", name)
		case "pass":
			m.lapsed, m.due = true, true
			m.minutes++
			step("", pass)
		case "sweep":
			m.sweep()
			for step("", "select coalesce(towpath.sweep('30 s'), '')") != "" {
			}
		}
		check()
	}
	// Its end, so that the next life of that name finds nothing of it.
	m.stop()
	step("", "select towpath.daemon_stop($1)", name)
	check()
	if m.status != "" && !m.final() {
		m.lapsed = true
		step("", pass)
		m.sweep()
		for step("", "select coalesce(towpath.sweep('30 s'), '')") != "" {
		}
		if m.status == "waiting" {
			m.spent = max(m.spent-1, 0)
			m.to("cancelled")
			step("", "select towpath.resume((select d.process_id from towpath.daemon d where d.name = $1))", name)
		}
		check()
	}
}
