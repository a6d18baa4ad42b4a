package queue_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/towpath/towpath/queue"
	"github.com/towpath/towpath/queue/queuetest"
)

// heard is a log handler that hands over what people did to queues.
type heard struct{ said chan string }

func (h heard) Enabled(context.Context, slog.Level) bool { return true }
func (h heard) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h heard) WithGroup(string) slog.Handler            { return h }
func (h heard) Handle(_ context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "queue ") {
		r.Attrs(func(a slog.Attr) bool { h.said <- r.Message + " " + a.Value.String(); return true })
	}
	return nil
}

// What River UI shows of a job, and what its buttons do to one, whatever its kind.
func TestEveryKindReadsWellAndObeysTheButtons(t *testing.T) {
	t.Parallel()
	pool := queuetest.Pool(t)
	ui := queuetest.NewUI(t, pool)
	reaches := states(t, pool)
	began, ended := make(chan int64), make(chan error, 100)
	handle := func(ctx context.Context, job queue.Job) error {
		var a struct{ Do string }
		if err := json.Unmarshal(job.Args, &a); err != nil {
			return err
		}
		switch a.Do {
		case "say":
			queue.Log(ctx).Info("looked around", "kind", job.Kind)
			return queue.Output(ctx, map[string]any{"attempt": job.Attempt})
		case "fail":
			if job.Attempt == 7 {
				return errors.New("no connection") // the next attempt is half a minute away
			}
			return nil
		case "panic":
			panic("out of cheese")
		case "hold":
			select {
			case began <- job.ID:
			case <-ctx.Done():
			}
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return context.Cause(ctx)
		}
		return nil // one that the leader inserted
	}
	handlers := map[queue.Kind]queue.Handler{}
	for _, kind := range queue.Kinds() {
		handlers[kind] = handle
	}
	said := make(chan string, 100)
	start(t, pool, queue.Config{Handlers: handlers, Logger: slog.New(heard{said})})
	insert := func(kind queue.Kind, do string, attempt, most int) int64 {
		t.Helper()
		return get[int64](t, pool, "insert into river_job (kind, args, attempt, max_attempts) values ($1, jsonb_build_object('do', $2::text), $3 - 1, $4) returning id", kind, do, attempt, most)
	}
	// The buttons tell no queue that there is something to do; what is inserted does.
	wake := func(kind queue.Kind) {
		t.Helper()
		exec(t, pool, "select pg_notify('public.river_insert', json_build_object('queue', $1::text)::text)", kind.Queue())
	}
	press := func(button func(context.Context, int64) error, job int64) {
		t.Helper()
		if err := button(t.Context(), job); err != nil {
			t.Fatal(err)
		}
	}
	kinds := queue.Kinds()
	// all inserts a job of each kind, and rows waits until each is in a state.
	all := func(do string, attempt, most int) (ids []int64) {
		t.Helper()
		for _, kind := range kinds {
			ids = append(ids, insert(kind, do, attempt, most))
		}
		return ids
	}
	rows := func(ids []int64, state string) (list []row) {
		t.Helper()
		for _, id := range ids {
			list = append(list, reaches(id, state))
		}
		return list
	}
	retry := func(ids []int64) {
		t.Helper()
		for _, id := range ids {
			press(ui.Retry, id)
		}
		for _, kind := range kinds {
			wake(kind)
		}
	}
	ids := all("say", 1, 25)
	for i, r := range rows(ids, "completed") {
		if string(r.metadata.Output) != `{"attempt": 1}` || len(r.metadata.Log) != 1 || !contains(r.metadata.Log[0].Log, `msg="looked around"`) {
			t.Errorf("%s: its row is %+v", kinds[i], r)
		} else if kinds[i] != queue.Turn && !contains(r.metadata.Log[0].Log, `msg="attempt ended" status=completed took=`) {
			t.Errorf("%s: its log does not say how it ended: %+v", kinds[i], r.metadata.Log)
		}
	}
	retry(ids) // what has ended
	for i, r := range rows(ids, "completed") {
		if string(r.metadata.Output) != `{"attempt": 2}` || len(r.metadata.Log) != 2 {
			t.Errorf("%s: a second time it is %+v", kinds[i], r)
		}
	}
	ids = all("fail", 7, 25)
	for i, r := range rows(ids, "retryable") {
		if r.errors[0].Error != "no connection" || !contains(r.metadata.Log[0].Log, "status=failed") {
			t.Errorf("%s: a failure is %+v", kinds[i], r)
		}
	}
	retry(ids) // what waits for its next attempt
	for i, r := range rows(ids, "completed") {
		if r.attempt != 8 || kinds[i] != queue.Turn && len(r.metadata.Log) != 2 {
			t.Errorf("%s: after retry it is %+v", kinds[i], r)
		}
	}
	for i, r := range rows(all("panic", 1, 1), "discarded") {
		if r.errors[0].Error != "out of cheese" || !contains(r.errors[0].Trace, "TestEveryKind") || !contains(r.metadata.Log[0].Log, "status=panicked") {
			t.Errorf("%s: a panic is %+v", kinds[i], r)
		}
	}
	for _, kind := range kinds {
		id := insert(kind, "hold", 1, 25)
		if got := <-began; got != id {
			t.Fatalf("%s: job %d runs, not %d", kind, got, id)
		}
		press(ui.Cancel, id)
		if cause := <-ended; !errors.Is(cause, queue.ErrCancelled) {
			t.Errorf("%s: it is told %v", kind, cause)
		}
	}
	for _, name := range queue.Queues() {
		if err := ui.Pause(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if got := <-said; got != "queue paused "+name {
			t.Errorf("the node says %q", got)
		}
	}
	waiting, cancelled, deleted := map[queue.Kind]int64{}, map[queue.Kind]int64{}, map[queue.Kind]int64{}
	for _, kind := range kinds {
		waiting[kind], cancelled[kind], deleted[kind] = insert(kind, "hold", 1, 25), insert(kind, "hold", 1, 25), insert(kind, "hold", 1, 25)
		press(ui.Cancel, cancelled[kind])
		press(ui.Delete, deleted[kind])
	}
	if n := get[int](t, pool, "select count(*) from river_job where args ->> 'do' = 'hold' and attempt = 0 and state in ('available', 'running')"); n != len(waiting) {
		t.Errorf("%d jobs wait while the queues are paused, not %d", n, len(waiting))
	}
	for _, name := range queue.Queues() {
		if err := ui.Resume(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if got := <-said; got != "queue resumed "+name {
			t.Errorf("the node says %q", got)
		}
	}
	for range waiting {
		for _, kind := range kinds { // a resumed queue begins with its next look at what there is
			wake(kind)
		}
		press(ui.Cancel, <-began)
		<-ended
	}
	for _, id := range waiting {
		reaches(id, "cancelled")
	}
	for _, kind := range kinds {
		if s := get[string](t, pool, "select concat_ws(' ', state, attempt) from river_job where id = $1", cancelled[kind]); s != "cancelled 0" {
			t.Errorf("%s: the job that was cancelled as it waited is %s", kind, s)
		}
		if n := get[int](t, pool, "select count(*) from river_job where id = $1", deleted[kind]); n != 0 {
			t.Errorf("%s: the deleted job is there", kind)
		}
	}
}
