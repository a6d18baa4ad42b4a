package store_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/towpath/towpath/store"
)

// staging is a running turn in session s with two messages staged: three contributors in order.
func staging(w *world) (store.Owner, []string) {
	w.Helper()
	o, c := w.run(w.submit("s"), node("n"))
	ids := []string{*c.InputID}
	for i := range 2 {
		ids = append(ids, w.accept("s", "message", fmt.Sprintf(`{"n": %d}`, i), "", `{}`).ID)
	}
	w.exec("select towpath.stage_inputs($1, $2)", o.No, o.Fence)
	return o, ids
}

const apply = "select towpath.atomic_apply($1, $2, 'checkpoint', $3, $4, $5, $6, $7)"

// everything is what a boundary may change, as one text.
func (w *world) everything() string {
	w.Helper()
	return get[string](w, `select concat_ws('|', (select string_agg(s::text, ',') from towpath.session s), (select string_agg(k::text, ',') from towpath.session_kv k),
		(select string_agg(i::text, ',' order by id) from towpath.input i), (select string_agg(r::text, ',') from towpath.receipt r),
		(select string_agg(p::text, ',' order by no) from towpath.process p), (select count(*) from towpath.event))`)
}

// feature: D83 D84
func TestABoundaryIsAppliedAsAWholeOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o, ids := staging(w)
	version := get[int64](w, apply, o.No, o.Fence, 1, ids, 0, []string{"a", "b"}, [][]byte{[]byte("1"), []byte("2")})
	if version != 1 {
		t.Errorf("version %d", version)
	}
	for _, id := range ids {
		w.phase(id, "applied")
	}
	row := get[string](w, "select concat_ws(' ', boundary, seq, version, inputs = $2) from towpath.receipts((select id from towpath.process where no = $1))", o.No, ids)
	if row != "checkpoint 1 1 t" {
		t.Errorf("receipt %s", row)
	}
	before := w.everything()
	// Again, whatever it carries, and one that is not its turn.
	w.deny("TW409", "has receipt 1", apply, o.No, o.Fence, 1, ids, 1, []string{"a"}, [][]byte{[]byte("9")})
	w.deny("TW409", "has receipt 1", apply, o.No, o.Fence, 1, []string{}, 1, []string{}, [][]byte{})
	w.deny("TW409", "is at boundary 2, not 3", apply, o.No, o.Fence, 3, []string{}, 1, []string{}, [][]byte{})
	w.deny("TW409", "is at boundary 2", apply, o.No, o.Fence, nil, []string{}, 1, []string{}, [][]byte{})
	if after := w.everything(); after != before {
		t.Errorf("a refused boundary changed\n%s\nto\n%s", before, after)
	}
	w.sound()
	// The end of the turn is its next boundary, and ends what was applied.
	end := completed(o)
	base := version
	end.Base, end.Keys, end.Values = &base, []string{"a"}, [][]byte{nil}
	end.Values[0] = []byte{}
	w.ok(w.store.Finish(t.Context(), end))
	if seqs := get[string](w, "select string_agg(seq || ' ' || boundary || ' ' || cardinality(input_ids), ', ' order by seq) from towpath.receipt"); seqs != "1 checkpoint 3, 2 run_end 0" {
		t.Errorf("receipts: %s", seqs)
	}
	for _, id := range ids {
		w.phase(id, "consumed")
	}
	if keys := get[string](w, "select string_agg(key, ' ') from towpath.kv_list('s')"); keys != "b" {
		t.Errorf("keys %s", keys)
	}
	w.sound()
}

// feature: D85 D87
func TestAReceiptIsCheckedBeforeAnythingChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o, ids := staging(w)
	late := w.accept("s", "message", `{}`, "", `{}`).ID // queued, not staged
	before := w.everything()
	none := [][]byte{}
	for name, contributors := range map[string][]string{
		"reordered": {ids[0], ids[2], ids[1]}, "one missing": ids[:2], "none": {}, "one twice": append(ids[:3:3], ids[2]),
		"one unknown": append(ids[:3:3], "i_unknown"), "one not staged": append(ids[:3:3], late), "null": nil,
	} {
		t.Run(name, func(t *testing.T) {
			w.deny("TW409", "contributors are", apply, o.No, o.Fence, 1, contributors, 0, []string{}, none)
		})
	}
	w.deny("TW40L", "does not own", apply, o.No, o.Fence+1, 1, ids, 0, []string{}, none)
	w.deny("TW40L", "does not own", apply, o.No+1000, o.Fence, 1, ids, 0, []string{}, none)
	w.deny("TW40V", "is at version 0, not 1", apply, o.No, o.Fence, 1, ids, 1, []string{}, none)
	w.deny("TW40V", "not null", apply, o.No, o.Fence, 1, ids, nil, []string{}, none)
	w.deny("TW400", "differ in number", apply, o.No, o.Fence, 1, ids, 0, []string{"a"}, none)
	w.deny("TW400", "comes twice", apply, o.No, o.Fence, 1, ids, 0, []string{"a", "a"}, [][]byte{{1}, {2}})
	w.deny("TW400", "512 bytes", apply, o.No, o.Fence, 1, ids, 0, []string{strings.Repeat("k", 513)}, [][]byte{{1}})
	w.deny("TW413", "1048576", apply, o.No, o.Fence, 1, ids, 0, []string{"k"}, [][]byte{make([]byte, 1<<20+1)})
	w.deny("TW400", "is not run_start or checkpoint", strings.Replace(apply, "checkpoint", "run_end", 1), o.No, o.Fence, 1, ids, 0, []string{}, none)
	// The session may be named, by its one name.
	const named = "select towpath.atomic_apply($1, $2, 'run_start', 1, $3, 0, '{}', '{}', $4)"
	w.deny("TW409", `belongs to session "s", not "session:s"`, named, o.No, o.Fence, ids, "session:s")
	if after := w.everything(); after != before {
		t.Errorf("a refused boundary changed\n%s\nto\n%s", before, after)
	}
	w.exec(named, o.No, o.Fence, ids, "s")
	w.shift("31 seconds")
	w.deny("TW40L", "does not own", apply, o.No, o.Fence, 2, []string{}, 1, []string{}, none)
	w.sound()
}

// feature: D83
func TestAFaultAtAnyStatementLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`create function fault() returns trigger language plpgsql as $$ begin raise 'fault'; end $$`)
	o, ids := staging(w)
	w.exec(apply, o.No, o.Fence, 1, ids, 0, []string{"old", "gone"}, [][]byte{[]byte("1"), []byte("1")})
	more := w.accept("s", "message", `{}`, "", `{}`).ID
	w.exec("select towpath.stage_inputs($1, $2)", o.No, o.Fence)
	before := w.everything()
	for _, at := range []string{
		"delete on towpath.session_kv", "insert on towpath.session_kv", "update on towpath.session_kv", "update of version on towpath.session",
		"update of phase on towpath.input", "update of boundary_seq on towpath.input", "insert on towpath.receipt",
		"insert on towpath.event", "update of last_seq on towpath.process",
	} {
		w.exec("create trigger zz_fault after " + at + " execute function fault()")
		w.deny("P0001", "fault", apply, o.No, o.Fence, 2, []string{more}, 1, []string{"old", "gone", "new"}, [][]byte{[]byte("2"), {}, []byte("2")})
		w.exec("drop trigger zz_fault on " + at[strings.Index(at, "towpath."):])
		if after := w.everything(); after != before {
			t.Errorf("a fault at %s left\n%s\nof\n%s", at, after, before)
		}
	}
	w.exec(apply, o.No, o.Fence, 2, []string{more}, 1, []string{"old", "gone", "new"}, [][]byte{[]byte("2"), {}, []byte("2")})
	w.sound()
}

// feature: D86
func TestAControlSnapshotLeavesNoReceipt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	version := get[int64](w, "select towpath.put_snapshot('s', $1, $2, 0)", []string{"a", "b"}, [][]byte{[]byte("1"), []byte("2")})
	if version != 1 || get[int](w, "select count(*) from towpath.receipt") != 0 {
		t.Errorf("version %d, or a receipt", version)
	}
	// The digest still names the snapshot: the next boundary goes on from it.
	o, c := w.run(w.submit("s"), node("n"))
	if *c.Version != 1 || len(c.Digest) == 0 {
		t.Errorf("claim at version %d, digest %x", *c.Version, c.Digest)
	}
	end := completed(o)
	end.Base, end.Keys, end.Values = c.Version, []string{"c"}, [][]byte{[]byte("3")}
	w.ok(w.store.Finish(t.Context(), end))
	w.sound()
}

// feature: D89
func TestOneOfTwoWritersOfASnapshotWins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	// Two processes, both owners, on one session.
	var owners []store.Owner
	for i := range 2 {
		w.exec(`select towpath.start('operation', 'rerunnable', '{}', '{"id": "o` + fmt.Sprint(i) + `", "session": "s", "env": {}}')`)
		var o store.Owner
		w.ok(w.pool.QueryRow(t.Context(), "select process_no, fence from towpath.claim_process($1, 'n', gen_random_uuid(), '30 seconds')", fmt.Sprintf("o%d", i)).Scan(&o.No, &o.Fence))
		owners = append(owners, o)
	}
	for round := range 10 {
		codes := make([]string, 6)
		var wg sync.WaitGroup
		for i := range codes {
			wg.Go(func() {
				if i < 2 {
					_, err := w.pool.Exec(t.Context(), apply, owners[i].No, owners[i].Fence,
						get[int](w, "select count(*) + 1 from towpath.receipt where process_no = $1", owners[i].No), []string{}, round, []string{"k"}, [][]byte{{byte(i + 1)}})
					codes[i] = code(err)
					return
				}
				_, err := w.pool.Exec(t.Context(), "select towpath.kv_put('s', 'k', $1, $2)", []byte{byte(i + 1)}, round)
				codes[i] = code(err)
			})
		}
		wg.Wait()
		won := 0
		for _, c := range codes {
			switch c {
			case "":
				won++
			case "TW40V":
			default:
				t.Errorf("a loser got %s", c)
			}
		}
		if won != 1 {
			t.Fatalf("round %d has %d winners: %v", round, won, codes)
		}
	}
	if v := get[int64](w, "select version from towpath.sessions"); v != 10 {
		t.Errorf("version %d", v)
	}
	w.sound()
}

// feature: D90
func TestNobodyHearsOfABoundaryBeforeItIsStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, stop := context.WithCancel(t.Context())
	heard, ready, done := make(chan string, 16), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		_ = w.store.Listen(ctx, []string{store.ChannelEvents, "fence"}, func() { close(ready) }, func(channel, payload string) { heard <- channel + " " + payload })
	}()
	defer func() { stop(); <-done }()
	<-ready
	o, ids := staging(w)
	<-heard // of the claim, some time after its commit
	tx := w.begin()
	_, err := tx.Exec(t.Context(), apply, o.No, o.Fence, 1, ids, 0, []string{}, [][]byte{})
	w.ok(err)
	w.ok(tx.Rollback(t.Context()))
	w.exec("select pg_notify('fence', 'after the rollback')")
	if got := <-heard; got != "fence after the rollback" {
		t.Errorf("heard %q of a boundary that was rolled back", got)
	}
	w.exec(apply, o.No, o.Fence, 1, ids, 0, []string{}, [][]byte{})
	select {
	case got := <-heard:
		if !strings.HasPrefix(got, "towpath_events ") || get[int](w, "select count(*) from towpath.receipt") != 1 {
			t.Errorf("heard %q", got)
		}
	case <-time.After(time.Minute):
		t.Error("nobody heard of the boundary")
	}
}

// feature: D91
func TestABoundaryWritesWhatChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	var keys []string
	var vals [][]byte
	for i := range 1000 {
		keys, vals = append(keys, fmt.Sprintf("message/%04d", i)), append(vals, []byte(strings.Repeat("x", 100)))
	}
	w.exec("select towpath.put_snapshot('s', $1, $2, 0)", keys, vals)
	n := node("n")
	for range 20 {
		o, _ := w.run(w.submit("s"), n)
		w.complete(o)
	}
	o, c := w.run(w.submit("s"), n)
	tx := w.begin()
	defer func() { w.ok(tx.Rollback(context.WithoutCancel(t.Context()))) }()
	_, err := tx.Exec(t.Context(), apply, o.No, o.Fence, 1, []string{*c.InputID}, 1, []string{"message/1000", "message/0001"}, [][]byte{[]byte("new"), []byte("changed")})
	w.ok(err)
	var rows string
	w.ok(tx.QueryRow(t.Context(), `with me as (select pg_current_xact_id()::xid as x) select concat_ws(' ',
		(select count(*) from towpath.session_kv, me where xmin = x), (select count(*) from towpath.input, me where xmin = x),
		(select count(*) from towpath.receipt, me where xmin = x), (select count(*) from towpath.process, me where xmin = x),
		(select count(*) from towpath.session, me where xmin = x), (select count(*) from towpath.event, me where xmin = x))`).Scan(&rows))
	if rows != "2 1 1 1 1 1" {
		t.Errorf("rows written: keys, inputs, receipts, processes, sessions, events: %s", rows)
	}
}

// An input that a receipt names is not given to the next attempt.
func TestWhatABoundaryTookInIsNotStagedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o, ids := staging(w)
	w.exec(apply, o.No, o.Fence, 1, ids, 0, []string{"k"}, [][]byte{[]byte("1")})
	unseen := w.accept("s", "message", `{}`, "", `{}`).ID
	w.exec("select towpath.stage_inputs($1, $2)", o.No, o.Fence)
	_, err := w.store.Retry(t.Context(), o, "the node is lost", 0, false, []byte(`{}`), "", false)
	w.ok(err)
	id := get[string](w, "select id from towpath.process where no = $1", o.No)
	w.deny("TW409", "cannot go from applied to queued", "update towpath.input set phase = 'queued' where id = $1", ids[1])
	o, _ = w.run(id, node("n"))
	for _, done := range ids {
		w.phase(done, "applied")
	}
	w.phase(unseen, "queued")
	if again := get[string](w, "select string_agg(id, ' ') from towpath.stage_inputs($1, $2)", o.No, o.Fence); again != unseen {
		t.Errorf("staged again: %s, want %s", again, unseen)
	}
	w.complete(o)
	w.phase(ids[1], "consumed")
	w.sound()
}
