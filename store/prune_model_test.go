package store_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/towpath/towpath/store"
)

var (
	graphs    = flag.Int("prune.graphs", 200, "random graphs that prune is compared with its model on")
	graphSeed = flag.Uint64("prune.seed", uint64(time.Now().UnixNano()), "seed of the first graph; each next one adds 1")
)

// member is a process of a graph, as the model knows it.
type member struct {
	id, class, kind string
	parent          string
	session         string
	shared          string // with which session
	turns           int    // of a run
	ends            bool
	status          string
	age             time.Duration // since its end
	step            int           // its end's place among the ends
}

// graph is a random set of processes, live and ended, and how to prune it.
type graph struct {
	tenant   string
	sessions map[string]time.Duration // age of the last change
	members  []*member
	script   strings.Builder // builds it
	prune    store.Prune
	cutoff   time.Duration // what is older goes; for class "turn" profile p may differ
	ofTurns  time.Duration
	rest     time.Duration // for sessions
	filter   map[string]string
	upto     int // ends before this step are below the watermark; -1: none
}

const day = 24 * time.Hour

// newGraph draws a graph and the script that builds it.
func newGraph(r *rand.Rand, tenant string) *graph {
	g := &graph{tenant: tenant, sessions: map[string]time.Duration{}, upto: -1, filter: map[string]string{"tenant": tenant}}
	ages := []time.Duration{time.Hour, 9 * day, 39 * day, 99 * day}
	add := func(format string, args ...any) { fmt.Fprintf(&g.script, "begin; "+format+"; commit;\n", args...) }
	for i := range 1 + r.IntN(3) {
		id := fmt.Sprintf("%s.s%d", tenant, i)
		g.sessions[id] = ages[r.IntN(len(ages))]
		add(`select towpath.session_put('%s', 'p', '{"tenant": "%s"}')`, id, tenant)
		if r.IntN(2) == 0 {
			add(`select towpath.put_snapshot('%s', '{k}', '{v}', 0), towpath.mark_read('me', '%[1]s')`, id)
		}
	}
	named := slices.Sorted(maps.Keys(g.sessions))
	for i := range 1 + r.IntN(10) {
		m := &member{id: fmt.Sprintf("%s.p%d", tenant, i), class: []string{"operation", "operation", "external", "turn", "run"}[r.IntN(5)]}
		g.members = append(g.members, m)
		options := fmt.Sprintf(`"id": "%s", "tenant": "%s"`, m.id, tenant)
		switch m.class {
		case "turn":
			m.session = named[r.IntN(len(named))]
			add(`select towpath.submit('p', '{"text": "hi"}', '%s', '%s', '{%s}')`, m.session, m.id, options)
		case "run":
			m.session, m.turns = named[r.IntN(len(named))], r.IntN(3)
			add(`select towpath.create_run('p', '%s', null, '{%s}')`, m.session, options)
			for range m.turns {
				add(`select towpath.create_command('%s', 'turn', '{}')`, m.id)
			}
			if m.turns > 0 && r.IntN(2) == 0 {
				add(`select towpath.create_command('%s', 'steer', '{"text": "shorter"}')`, m.id)
			}
		default:
			if other := g.members[r.IntN(i+1)]; other != m && other.class != "run" && r.IntN(3) > 0 { // the end of a run is its children's
				m.parent = other.id
				options += fmt.Sprintf(`, "parent": "%s"`, m.parent)
			}
			if r.IntN(3) == 0 {
				m.session = named[r.IntN(len(named))]
				options += fmt.Sprintf(`, "session": "%s"`, m.session)
			}
			if m.kind = []string{"", "x", "y"}[r.IntN(3)]; m.kind != "" {
				options += fmt.Sprintf(`, "kind": "%s"`, m.kind)
			}
			if r.IntN(2) == 0 {
				m.shared = named[r.IntN(len(named))]
				options += fmt.Sprintf(`, "share": ["session:%s", "session:%[1]s/frame:f", "host:h"]`, m.shared)
			}
			options += `, "event_types": {"line": {"type": "object"}}`
			disposition := "externally_owned"
			if m.class == "operation" {
				disposition = "rerunnable"
				options += `, "env": {"image": "` + tenant + `"}`
			}
			add(`select towpath.start('%s', '%s', '{}', '{%s}')`, m.class, disposition, options)
			if r.IntN(2) == 0 {
				add(`select towpath.append_event('%s', 'line')`, m.id)
			}
			if m.class == "operation" {
				claim := `towpath.claim_process('%s', 'n', gen_random_uuid(), '1 minute') c`
				switch r.IntN(4) {
				case 0:
					add(`select towpath.park(c.process_no, c.fence, '{"kind": "signal"}') from `+claim, m.id)
				case 1:
					add(`select towpath.release(c.process_no, c.fence) from `+claim, m.id)
				case 2:
					add(`select * from `+claim, m.id) // runs
				}
			}
		}
	}
	g.end(r, ages, add)
	g.draw(r, add)
	return g
}

// end ends some members, in any order, and gives them ages.
func (g *graph) end(r *rand.Rand, ages []time.Duration, add func(string, ...any)) {
	var aging strings.Builder
	age := func(where string, d time.Duration) {
		fmt.Fprintf(&aging, "; update towpath.process set finalized_at = towpath.now() - '%d seconds'::interval where %s and finalized_at is not null", int(d.Seconds()), where)
	}
	for step, i := range r.Perm(len(g.members)) {
		m := g.members[i]
		m.step = step
		if m.ends = r.IntN(4) > 0; !m.ends {
			if m.turns > 0 { // one of its turns has ended all the same
				add(`select towpath.cancel(p.id) from towpath.process p where p.parent_id = '%s' and p.class = 'turn' and p.turn_no > 0 order by p.no limit 1`, m.id)
				age(fmt.Sprintf("parent_id = '%s' and class = 'turn'", m.id), 99*day)
			}
			add("select 1")
			continue
		}
		m.age, m.status = ages[r.IntN(len(ages))], "cancelled"
		switch m.class {
		case "external":
			m.status = "completed"
			add(`select towpath.complete_by('external_owner', '%s', 'completed', '{}', 'k')`, m.id)
		case "operation":
			m.status = "failed"
			// Whatever it does, it is ended by whoever knows how; a lease of this story's owner is let go first.
			add(`with l as (delete from towpath.lease l using towpath.process p where p.no = l.process_no and p.id = '%s' returning l.process_no),
				a as (update towpath.attempt a set ended_at = towpath.now(), end_reason = 'x' from l where a.process_no = l.process_no and a.ended_at is null)
				select 1 from l;
				select towpath.finalize(p.no, 'failed', '{}', 'broken') from towpath.locked('%[1]s') p`, m.id)
		case "run":
			add(`select towpath.cancel_run('%s')`, m.id)
			age(fmt.Sprintf("parent_id = '%s' and class = 'turn'", m.id), m.age)
		default:
			add(`select towpath.cancel('%s')`, m.id)
		}
		age(fmt.Sprintf("id = '%s'", m.id), m.age)
	}
	for id, d := range g.sessions {
		fmt.Fprintf(&aging, "; update towpath.session set updated_at = towpath.now() - '%d seconds'::interval, created_at = towpath.now() - '200 days'::interval where id = '%s'", int(d.Seconds()), id)
	}
	add("set local session_replication_role = replica%s", aging.String())
}

// draw says what to prune.
func (g *graph) draw(r *rand.Rand, add func(string, ...any)) {
	limits := []time.Duration{5 * day, 20 * day, 60 * day, 300 * day}
	limit := func() time.Duration { return limits[r.IntN(len(limits))] }
	g.prune.Batch = 1 + r.IntN(5)
	if r.IntN(2) == 0 {
		g.cutoff = limit()
		g.ofTurns, g.rest = g.cutoff, g.cutoff
		at := time.Now().Add(-g.cutoff)
		g.prune.Cutoff = &at
	} else {
		g.cutoff, g.ofTurns, g.rest = limit(), limit(), limit()
		add(`select towpath.retention_put('{"processes": "%d days", "sessions": "%d days"}', '%s'), towpath.retention_put('{"processes": "%d days"}', '%[3]s', 'p')`,
			g.cutoff/day, g.rest/day, g.tenant, g.ofTurns/day)
	}
	switch r.IntN(5) {
	case 0:
		g.filter["class"] = g.members[0].class
	case 1:
		g.filter["status"] = "cancelled"
	case 2:
		g.filter["kind"] = "x"
	}
	if r.IntN(4) == 0 {
		g.upto = r.IntN(len(g.members) + 1)
	}
}

// goes is the model: what of a graph is pruned.
func (g *graph) goes(changed map[string]bool) (processes map[string]bool, sessions map[string]bool) {
	children := map[string][]*member{}
	for _, m := range g.members {
		if m.parent != "" {
			children[m.parent] = append(children[m.parent], m)
		}
	}
	fits := func(m *member, class string) bool {
		limit := g.cutoff
		if class == "turn" || class == "run" { // these have a profile
			limit = g.ofTurns
		}
		f := g.filter
		return m.ends && m.age > limit && (g.upto < 0 || m.step < g.upto) &&
			(f["class"] == "" || f["class"] == class) && (f["status"] == "" || f["status"] == m.status) &&
			(f["kind"] == "" || f["kind"] == m.kind && class == m.class)
	}
	var whole func(m *member) bool
	whole = func(m *member) bool {
		ok := fits(m, m.class) && (m.turns == 0 || fits(m, "turn"))
		for _, c := range children[m.id] {
			ok = whole(c) && ok
		}
		return ok
	}
	processes, sessions = map[string]bool{}, map[string]bool{}
	needed := map[string]bool{}
	for _, m := range g.members {
		if whole(m) {
			processes[m.id] = true
		} else {
			needed[m.session], needed[m.shared] = true, true
		}
	}
	for id, d := range g.sessions {
		if !needed[id] && d > g.rest && len(g.filter) == 1 && !changed[id] {
			sessions[id] = true
		}
	}
	return processes, sessions
}

// kept is every row that belongs to what stays, as one text.
const kept = `with stays as (select no, id from towpath.process where not (id = any($1) or parent_id = any($1) and class = 'turn'))
	select coalesce(md5(string_agg(t, '|' order by t)), '') from (
	select p::text t from towpath.process p join stays using (no)
	union all select e::text from towpath.event e join stays s on s.no = e.process_no
	union all select a::text from towpath.attempt a join stays s on s.no = a.process_no
	union all select i::text from towpath.input i join stays s on s.no = i.process_no
	union all select r::text from towpath.receipt r join stays s on s.no = r.process_no
	union all select h::text from towpath.share h join stays s on s.no = h.process_no
	union all select l::text from towpath.lease l join stays s on s.no = l.process_no
	union all select e::text from towpath.event_type e join stays s on s.no = e.process_no
	union all select j::text from river_job j join stays s on s.id = j.args ->> 'process_id'
	union all select s::text from towpath.session s where not s.id = any($2)
	union all select k::text from towpath.session_kv k where not k.session_id = any($2)
	union all select c::text from towpath.cursor c where not c.session_id = any($2)) x`

// left counts the rows that belong to nobody.
const left = `select (select count(*) from towpath.event e where not exists (select 1 from towpath.process p where p.no = e.process_no))
	+ (select count(*) from towpath.journal e where not exists (select 1 from towpath.process p where p.no = e.process_no))
	+ (select count(*) from towpath.input i where i.process_no is null and i.finalized_at is not null)
	+ (select count(*) from river_job j where j.args ? 'process_id' and not exists (select 1 from towpath.process p where p.id = j.args ->> 'process_id') and
		not exists (select 1 from towpath.tombstone g where g.id = j.args ->> 'process_id' and j.finalized_at is not null and j.id not in (select river_job_id from towpath.attempt)))`

// Random graphs of live and ended processes, with parents, runs and their turns, shares, waits, leases, sessions and River
// jobs: prune removes exactly what a model of a few lines says, and does not touch a byte of the rest.
// -prune.graphs=1000 takes more of them.
//
// feature: C41 D107
func TestPruneDoesWhatItsModelSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range uint64(*graphs) {
		seed := *graphSeed + i
		g := newGraph(rand.New(rand.NewPCG(seed, 0)), fmt.Sprintf("g%d", i))
		if !w.pruneGraph(g) {
			t.Fatalf("again with -prune.seed=%d -prune.graphs=1; the graph:\n%s\nprune %+v filter %v upto %d", seed, g.script.String(), g.prune, g.filter, g.upto)
		}
	}
}

func (w *world) pruneGraph(g *graph) bool {
	w.Helper()
	w.exec(g.script.String())
	g.prune.Filter = raw(`{`)
	for k, v := range g.filter {
		g.prune.Filter = fmt.Appendf(g.prune.Filter, "%q: %q,", k, v)
	}
	g.prune.Filter = append(g.prune.Filter[:len(g.prune.Filter)-1], '}')
	changed := map[string]bool{}
	if g.upto >= 0 { // the place of the last end that the feed has told
		var told []string
		for _, m := range g.members {
			if m.ends && m.step < g.upto {
				told = append(told, m.id)
			}
		}
		g.prune.Watermark = get[string](w, `select coalesce((select format('%s:%s:%s:', s.feed_epoch, p.change_xid, p.no) from towpath.process p, towpath.store s
			where p.id = any($1) or p.parent_id = any($1) and p.class = 'turn' order by p.change_xid desc, p.no desc limit 1), '1:0:0:')`, told)
		for id := range g.sessions {
			changed[id] = get[bool](w, "select (change_xid, 999999999999999999) > (split_part($2, ':', 2)::xid8, split_part($2, ':', 3)::bigint) from towpath.session where id = $1", id, g.prune.Watermark)
		}
	}
	processes, sessions := g.goes(changed)
	gone, closed := slices.Collect(maps.Keys(processes)), slices.Collect(maps.Keys(sessions))
	before := get[string](w, kept, gone, closed)

	dry := g.prune
	dry.DryRun = true
	foretold, err := w.store.Prune(w.Context(), dry)
	w.ok(err)
	counts, err := w.store.Prune(w.Context(), g.prune)
	w.ok(err)
	good := true
	fail := func(format string, args ...any) { good = false; w.Errorf(format, args...) }
	if !maps.Equal(foretold, counts) {
		fail("the dry run foretold %v, gone are %v", foretold, counts)
	}
	rows, err := w.pool.Query(w.Context(), "select id from towpath.process where tenant = $1 and not (class = 'turn' and parent_id is not null)", g.tenant)
	w.ok(err)
	there, err := pgx.CollectRows(rows, pgx.RowTo[string])
	w.ok(err)
	for _, m := range g.members {
		if slices.Contains(there, m.id) == processes[m.id] {
			fail("process %s (%+v): the model prunes it: %v", m.id, *m, processes[m.id])
		}
	}
	for id := range g.sessions {
		if get[bool](w, "select exists (select 1 from towpath.session where id = $1)", id) == sessions[id] {
			fail("session %s: the model prunes it: %v", id, sessions[id])
		}
	}
	if get[string](w, kept, gone, closed) != before {
		fail("what stays has changed")
	}
	if n := get[int](w, left); n != 0 {
		fail("%d rows belong to nobody", n)
	}
	if again, err := w.store.Prune(w.Context(), g.prune); err != nil || len(again) > 0 {
		fail("a second prune found %v, %v", again, err)
	}
	w.sound()
	w.exec(`begin; set local session_replication_role = replica; delete from towpath.process; delete from towpath.event; delete from towpath.input;
		delete from towpath.attempt; delete from towpath.lease; delete from towpath.share; delete from towpath.event_type; delete from towpath.session;
		delete from towpath.session_kv; delete from towpath.cursor; delete from towpath.tombstone; delete from river_job; delete from towpath.retention where tenant <> ''; commit`)
	return good && !w.Failed()
}
