package prove

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/towpath/towpath/worker/turn"
)

// Fault is what happens to a node, or to the database of all.
type Fault string

const (
	Kill        Fault = "kill -9"
	Stop        Fault = "SIGSTOP"
	Connections Fault = "connections"
	Postgres    Fault = "postgres"
)

// Faults in the order of the table.
var Faults = []Fault{Kill, Stop, Connections, Postgres}

// strike inflicts a fault on the node where a turn is blocked, and lets everybody go on who still can.
func (l *lane) strike(ctx context.Context, fault Fault, victim *child) error {
	switch fault {
	case Kill:
		victim.kill()
	case Stop:
		return victim.signal(syscall.SIGSTOP) // it goes on when the turn has ended: see resume
	case Connections:
		if _, err := l.pool.Exec(ctx, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1", victim.id); err != nil {
			return err
		}
		return victim.order(order{Go: true})
	case Postgres:
		at, now := context.WithCancel(ctx)
		now() // no time for a shutdown
		if err := l.server.Stop(at); err != nil {
			return err
		}
		if err := victim.order(order{Go: true}); err != nil {
			return err
		}
		if err := l.startServer(ctx); err != nil {
			return err
		}
		l.pool.Reset() // the harness's own connections are gone too
	default:
		return fmt.Errorf("no fault %q", fault)
	}
	return nil
}

// resume lets a stopped node go on with a turn that somebody else has taken over, and waits until it has given up.
func (l *lane) resume(ctx context.Context, victim *child, process string) error {
	before, err := l.fingerprint(ctx, process)
	if err != nil {
		return err
	}
	if err := victim.signal(syscall.SIGCONT); err != nil {
		return err
	}
	if err := victim.order(order{Go: true}); err != nil {
		return err
	}
	if err := l.awaitLeft(ctx, victim, process); err != nil {
		return err
	}
	after, err := l.fingerprint(ctx, process)
	if err != nil {
		return err
	}
	if before != after {
		return fmt.Errorf("the fenced owner wrote: before it went on\n%s\nafter\n%s", before, after)
	}
	return nil
}

func (l *lane) awaitLeft(ctx context.Context, victim *child, process string) error {
	_, err := l.await(ctx, victim.id+" to leave the turn", func(p passing) bool {
		return p.node == victim && p.point.Process == process && p.point.Name == turn.AtLeft
	})
	return err
}

// fingerprint is every row that belongs to a process, table by table. But for the log of a River job: River stores that
// together with others' a moment after the job's own end, whoever ran it.
func (l *lane) fingerprint(ctx context.Context, process string) (string, error) {
	var f string
	err := l.pool.QueryRow(ctx, `select concat_ws(e'\n',
		(select 'process ' || p::text from towpath.process p where p.id = $1),
		(select 'events ' || count(*) || ' ' || md5(string_agg(e::text, e'\n' order by e.seq)) from towpath.event e where e.process_no = x.no),
		(select 'journal ' || count(*) || ' ' || md5(string_agg(j::text, e'\n' order by j.first_n)) from towpath.journal j where j.process_no = x.no),
		(select 'attempts ' || string_agg(a::text, ' ' order by a.attempt) from towpath.attempt a where a.process_no = x.no),
		(select 'inputs ' || string_agg(i::text, ' ' order by i.seq) from towpath.input i where i.process_no = x.no),
		(select 'receipts ' || string_agg(r::text, ' ' order by r.seq) from towpath.receipt r where r.process_no = x.no),
		(select 'leases ' || string_agg(l::text, ' ') from towpath.lease l where l.process_no = x.no),
		(select 'session ' || s::text from towpath.session s where s.id = x.session_id),
		(select 'snapshot ' || md5(string_agg(k::text, e'\n' order by k.key)) from towpath.session_kv k where k.session_id = x.session_id),
		(select 'jobs ' || string_agg(to_jsonb(r) #- '{metadata,river:log}' #>> '{}', ' ' order by r.id) from river_job r where r.args ->> 'process_id' = $1))
		from towpath.process x where x.id = $1`, process).Scan(&f)
	return f, err
}

// sweeping has lapsed leases found at once, until ctx ends.
func (l *lane) sweeping(ctx context.Context) {
	for {
		_, _ = l.store.Sweep(ctx, LeaseTTL, none, 100) // a database that is away is a fault of ours
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}
