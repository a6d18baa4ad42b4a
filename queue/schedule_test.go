package queue_test

import (
	"context"
	"testing"

	"github.com/towpath/towpath/queue"
	"github.com/towpath/towpath/queue/queuetest"
)

// A delay, as SQL and as River itself write one: an available row that is not due yet, or a scheduled one.
func TestAJobRunsWhenItIsDue(t *testing.T) {
	t.Parallel()
	pool := queuetest.Pool(t)
	ran := make(chan queue.Job)
	start(t, pool, queue.Config{Handlers: map[queue.Kind]queue.Handler{queue.Turn: send(ran)}})
	for _, state := range []string{"available", "scheduled"} {
		id := get[int64](t, pool, `insert into river_job (kind, args, state, scheduled_at) values ('turn', '{}', $1::river_job_state, now() + '300 ms') returning id`, state)
		if job := <-ran; job.ID != id {
			t.Errorf("got %+v", job)
		}
		if early := get[bool](t, pool, "select clock_timestamp() < scheduled_at from river_job where id = $1", id); early {
			t.Errorf("the %s job ran early", state)
		}
	}
}

// A node sweeps as soon as it leads. Its job frees its place when it ends, and old ones go.
func TestSweepsRunAndDoNotPileUp(t *testing.T) {
	t.Parallel()
	pool := queuetest.Pool(t)
	reaches := states(t, pool)
	exec(t, pool, `insert into river_job (kind, args, state, finalized_at)
		select 'sweep', '{}'::jsonb, 'completed'::river_job_state, now() - n * interval '40 minutes' from generate_series(1, 3) n
		union all select 'turn', '{}', 'completed', now() - interval '3 hours'`)
	swept, end := make(chan queue.Job), make(chan struct{})
	start(t, pool, queue.Config{Handlers: map[queue.Kind]queue.Handler{queue.Sweep: func(ctx context.Context, job queue.Job) error {
		swept <- job
		<-end
		return nil
	}}})
	job := <-swept
	if old := get[int](t, pool, "select count(*) from river_job where kind = 'sweep' and state = 'completed'"); old != 1 {
		t.Errorf("%d finished sweeps", old)
	}
	if turns := get[int](t, pool, "select count(*) from river_job where kind = 'turn'"); turns != 1 {
		t.Errorf("%d turns", turns)
	}
	again := `insert into river_job (kind, args, queue, unique_key, unique_states)
		select kind, args, queue, unique_key, unique_states from river_job where id = $1 on conflict do nothing`
	inserted := func() int64 {
		tag, err := pool.Exec(t.Context(), again, job.ID)
		if err != nil {
			t.Fatal(err)
		}
		return tag.RowsAffected()
	}
	if inserted() != 0 {
		t.Error("a second sweep while one runs")
	}
	close(end)
	reaches(job.ID, "completed")
	if inserted() != 1 {
		t.Error("a finished sweep stands in the way of the next")
	}
	<-swept
}
