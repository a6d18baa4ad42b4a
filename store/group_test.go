package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/towpath/towpath/store"
)

// delivered is a River job of a turn.
type delivered struct {
	id   string
	job  int64
	args json.RawMessage
}

func (w *world) delivered(sessions ...string) []delivered {
	w.Helper()
	var all []delivered
	for _, session := range sessions {
		id := w.submit(session)
		job, args := w.deliver(id)
		all = append(all, delivered{id, job, args})
	}
	return all
}

func sessions(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("s%d", i))
	}
	return names
}

// claimed makes a claim and waits until it is stored.
func claimed(ctx context.Context, g *store.Group, job int64, args json.RawMessage) (store.Claim, error) {
	c, stored, err := g.Claim(ctx, node("n"), job, args, ttl)
	if err == nil {
		err = stored()
	}
	return c, err
}

func TestTurnsThatComeTogetherShareTransactions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for try := range 20 {
		g, jobs := w.store.Group(), w.delivered(sessions(40)...)
		var group sync.WaitGroup
		for _, d := range jobs {
			group.Go(func() {
				c, err := claimed(t.Context(), g, d.job, d.args)
				if err != nil || c.Action != store.ActionRun || *c.ProcessID != d.id {
					t.Errorf("claim of %s: %+v, %v", d.id, c, err)
					return
				}
				err = g.Finish(t.Context(), store.End{Status: "completed", Outcome: json.RawMessage(`{"of": "` + d.id + `"}`), Base: c.Version,
					Keys: []string{"k"}, Values: [][]byte{[]byte(d.id)},
					Batch: store.Batch{Owner: c.Owner(), Types: []string{"said"}, Data: []string{`{"by": "` + d.id + `"}`}}})
				if err != nil {
					t.Errorf("end of %s: %v", d.id, err)
				}
			})
		}
		group.Wait()
		for _, d := range jobs {
			w.log(d.id, "process.queued", "process.started", "said", "process.completed")
		}
		w.sound()
		// Whether calls meet is the machine's affair; that they never do would be ours.
		claims := get[int](w, "select count(distinct e.xmin::text)::int from towpath.event e where e.type = 'process.started'")
		ends := get[int](w, "select count(distinct e.xmin::text)::int from towpath.event e where e.type = 'process.completed'")
		if total := 40 * (try + 1); t.Failed() || claims < total && ends < total {
			return
		}
	}
	t.Error("each call had a transaction of its own")
}

func TestARefusedCallFailsAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g, jobs := w.store.Group(), w.delivered(sessions(20)...)
	var group sync.WaitGroup
	for i, d := range jobs {
		args, bad := d.args, i%5 == 0
		if bad {
			args = json.RawMessage(`{"process_id": 7}`)
		}
		group.Go(func() {
			c, err := claimed(t.Context(), g, d.job, args)
			if bad && !errors.Is(err, store.ErrInvalid) || !bad && (err != nil || c.Action != store.ActionRun || *c.ProcessID != d.id) {
				t.Errorf("claim of %s, bad %v: %+v, %v", d.id, bad, c, err)
			}
		})
	}
	group.Wait()
	for i, d := range jobs {
		if i%5 != 0 {
			w.log(d.id, "process.queued", "process.started")
		}
	}
	w.sound()
}

func TestACallThatWaitsForALockHoldsUpNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	g, jobs := w.store.Group(), w.delivered(sessions(20)...)
	locked, err := w.pool.Begin(t.Context())
	w.ok(err)
	defer locked.Rollback(context.WithoutCancel(t.Context()))
	_, err = locked.Exec(t.Context(), "select 1 from towpath.session where id in ('s3', 's4') for update")
	w.ok(err)
	given, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	claim := func(ctx context.Context, d delivered) error {
		c, err := claimed(ctx, g, d.job, d.args)
		if err == nil && c.Action != store.ActionRun {
			return fmt.Errorf("claim of %s: %+v", d.id, c)
		}
		return err
	}
	waits, gaveUp := make(chan error, 1), make(chan error, 1)
	var others sync.WaitGroup
	for i, d := range jobs {
		switch i {
		case 3:
			go func() { waits <- claim(t.Context(), d) }()
		case 4:
			go func() { gaveUp <- claim(given, d) }()
		default:
			others.Go(func() {
				if err := claim(t.Context(), d); err != nil {
					t.Error(err)
				}
			})
		}
	}
	others.Wait()
	giveUp()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up got %v", err)
	}
	select {
	case err := <-waits:
		t.Errorf("a locked session did not wait: %v", err)
	default:
	}
	w.ok(locked.Rollback(t.Context()))
	if err := <-waits; err != nil {
		t.Error(err)
	}
	w.sound()
}

// atCommit makes every commit that takes a lease run a statement at its end, when its answer is there already.
func (w *world) atCommit(statement string) {
	w.Helper()
	w.exec(`create function at_commit() returns trigger language plpgsql as $$ begin ` + statement + `; return null; end $$`)
	w.exec("create constraint trigger at_commit after insert on towpath.lease deferrable initially deferred for each row execute function at_commit()")
}

func TestAClaimIsKnownBeforeItIsStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.atCommit("perform pg_advisory_xact_lock(7)")
	d := w.delivered("s")[0]
	held, err := w.pool.Begin(t.Context())
	w.ok(err)
	defer held.Rollback(context.WithoutCancel(t.Context()))
	_, err = held.Exec(t.Context(), "select pg_advisory_xact_lock(7)")
	w.ok(err)
	c, stored, err := w.store.Group().Claim(t.Context(), node("n"), d.job, d.args, ttl)
	w.ok(err)
	if c.Action != store.ActionRun || *c.ProcessID != d.id {
		t.Fatalf("%+v", c)
	}
	if p := w.process(d.id); p.Status != "queued" {
		t.Errorf("it is %s for everybody before it is stored", p.Status)
	}
	w.ok(held.Rollback(t.Context()))
	w.ok(stored())
	w.ok(stored())
	if p := w.process(d.id); p.Status != "running" {
		t.Errorf("it is %s when it is stored", p.Status)
	}
	w.sound()
}

func TestAClaimThatIsNotStoredSaysSo(t *testing.T) {
	t.Parallel()
	for name, trigger := range map[string]string{
		"refused by its second half": "create trigger no_room before insert on towpath.lease for each row execute function no_room()",
		"refused by its commit":      "create constraint trigger no_room after insert on towpath.lease deferrable initially deferred for each row execute function no_room()",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.exec("create function no_room() returns trigger language plpgsql as $$ begin raise exception 'no room'; end $$")
			w.exec(trigger)
			d, g := w.delivered("s")[0], w.store.Group()
			c, stored, err := g.Claim(t.Context(), node("n"), d.job, d.args, ttl)
			w.ok(err)
			if err := stored(); c.Action != store.ActionRun || err == nil || !strings.Contains(err.Error(), "claim: ") || !strings.Contains(err.Error(), "no room") {
				t.Errorf("%s, %v", c.Action, err)
			}
			w.log(d.id, "process.queued")
			w.exec("drop trigger no_room on towpath.lease")
			if c, err := claimed(t.Context(), g, d.job, d.args); err != nil || c.Action != store.ActionRun {
				t.Errorf("the next claim: %+v, %v", c, err)
			}
			w.sound()
		})
	}
}

// A node that is frozen between the halves of a claim holds its session up for seconds, not for as long as it is frozen.
func TestWhoStopsInTheMiddleOfAClaimLosesIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.delivered("s")[0]
	frozen, err := w.pool.Acquire(t.Context())
	w.ok(err)
	defer frozen.Release()
	_, err = frozen.Exec(t.Context(), "begin")
	w.ok(err)
	var action string
	w.ok(frozen.QueryRow(t.Context(), "select action from towpath.begin_claim($1, $2, 'm', gen_random_uuid(), '30 seconds')", d.job, d.args).Scan(&action))
	if action != store.ActionRun {
		t.Fatal(action)
	}
	c, err := claimed(t.Context(), w.store.Group(), d.job, d.args)
	if err != nil || c.Action != store.ActionRun || *c.Attempt != 1 {
		t.Errorf("the next claim: %+v, %v", c, err)
	}
	if _, err := frozen.Exec(t.Context(), "select towpath.store_claim('30 seconds')"); err == nil {
		t.Error("the frozen one went on")
	}
	w.log(d.id, "process.queued", "process.started")
	w.sound()
}

func TestTheRestOfAClaimAloneStoresNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.delivered("s")[0]
	w.exec("select towpath.begin_claim($1, $2, 'n', gen_random_uuid(), '30 seconds')", d.job, d.args)
	w.exec("select towpath.store_claim('30 seconds')")
	w.log(d.id, "process.queued")
	if n := get[int](w, "select count(*)::int from towpath.lease"); n != 0 {
		t.Errorf("%d leases", n)
	}
	w.sound()
}

func TestOneClaimIsStoredOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.delivered("s")[0]
	tx, err := w.pool.Begin(t.Context())
	w.ok(err)
	defer tx.Rollback(context.WithoutCancel(t.Context()))
	for _, want := range []string{store.ActionRun, store.ActionSkip} {
		var action string
		w.ok(tx.QueryRow(t.Context(), "select action from towpath.claim($1, $2, 'n', gen_random_uuid(), '30 seconds')", d.job, d.args).Scan(&action))
		if action != want {
			t.Errorf("%s, not %s", action, want)
		}
	}
	w.ok(tx.Commit(t.Context()))
	w.log(d.id, "process.queued", "process.started")
	w.sound()
}

// While a transaction of ends is on its way, another begins when those that wait would fill it.
func TestFullTransactionsOfEndsGoSideBySide(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec("create table ended (xid xid8, at timestamptz)")
	w.exec(`create function note_end() returns trigger language plpgsql as $$
		begin insert into public.ended values (pg_current_xact_id(), clock_timestamp()); return null; end $$`)
	w.exec("create trigger note_end after delete on towpath.lease for each row execute function note_end()")
	for range 20 {
		g := w.store.Group()
		var ends []store.End
		for _, d := range w.delivered(sessions(100)...) {
			c := w.claim(node("n"), d.job, d.args)
			ends = append(ends, store.End{Status: "completed", Outcome: json.RawMessage(`{}`), Batch: store.Batch{Owner: c.Owner()}})
		}
		var group sync.WaitGroup
		for _, e := range ends {
			group.Go(func() {
				if err := g.Finish(t.Context(), e); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		// Whether they meet is the machine's affair; that they never do would be ours.
		if t.Failed() || get[bool](w, `with x as (select xid, min(at), max(at), count(*) from ended group by xid having count(*) > 1)
			select exists (select from x a join x b on a.xid < b.xid and a.min < b.max and b.min < a.max)`) {
			w.sound()
			return
		}
	}
	t.Error("one transaction waited for the other each time")
}
