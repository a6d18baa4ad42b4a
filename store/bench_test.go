package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/towpath/towpath/store"
)

// Batches of events beside a plain INSERT of the same rows into a table of the same shape. ratio is what append reaches
// of the plain INSERT's speed; both are measured in turns, in one run.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{20, 100} {
		b.Run(fmt.Sprintf("%d events of 200 bytes", size), func(b *testing.B) {
			w := newWorld(b)
			o, _ := w.run(w.submit(""), node("n"))
			w.exec("update towpath.lease set expires_at = 'infinity'")
			w.exec("create table plain (like towpath.event including all)")
			text := make([]string, size)
			for i := range text {
				text[i] = strings.Repeat("what a model says ", 11)
			}
			rows := batch(o, text...)
			var ours, plain time.Duration
			seq := int64(0)
			for b.Loop() {
				began := time.Now()
				w.say(o, text...)
				ours += time.Since(began)
				began = time.Now()
				_, err := w.pool.Exec(b.Context(), `insert into plain (process_no, seq, type, data, fence, at)
					select $1, $2 + n, type, data::jsonb, $3, clock_timestamp() from unnest($4::text[], $5::text[]) with ordinality e(type, data, n)`,
					o.No, seq, o.Fence, rows.Types, rows.Data)
				plain += time.Since(began)
				w.ok(err)
				seq += int64(size)
			}
			b.ReportMetric(float64(size)*float64(b.N)/ours.Seconds(), "events/s")
			b.ReportMetric(float64(size)*float64(b.N)/plain.Seconds(), "plain/s")
			b.ReportMetric(plain.Seconds()/ours.Seconds(), "ratio")
		})
	}
}

// A turn that says nothing: submit, claim, finish.
func BenchmarkClaimFinish(b *testing.B) {
	w := newWorld(b)
	n := node("n")
	var submit, claim, finish time.Duration
	lap := func(to *time.Duration, since time.Time) time.Time {
		now := time.Now()
		*to += now.Sub(since)
		return now
	}
	for b.Loop() {
		began := time.Now()
		id, err := w.store.Submit(b.Context(), store.Submission{Profile: "p", Input: []byte(`{"text": "hi"}`), Session: "s"})
		lap(&submit, began)
		w.ok(err)
		job, args := w.deliver(id)
		began = time.Now()
		c := w.claim(n, job, args)
		began = lap(&claim, began)
		end := completed(c.Owner())
		end.Base, end.Keys, end.Values = c.Version, []string{"history"}, [][]byte{[]byte("[]")}
		w.ok(w.store.Finish(b.Context(), end))
		lap(&finish, began)
	}
	for name, d := range map[string]time.Duration{"submit": submit, "claim": claim, "finish": finish} {
		b.ReportMetric(float64(d.Microseconds())/float64(b.N), name+"-µs")
	}
}

// The smallest round trip that commits, for comparison.
func BenchmarkCommit(b *testing.B) {
	w := newWorld(b)
	w.exec("create table plain (n bigint generated always as identity, at timestamptz default now())")
	for b.Loop() {
		if err := pgx.BeginFunc(b.Context(), w.pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(b.Context(), "insert into plain default values")
			return err
		}); err != nil {
			b.Fatal(err)
		}
	}
}
