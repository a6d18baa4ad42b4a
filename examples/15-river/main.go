// A turn from a program that has River already: an insert-only client, and nothing of ours. Needs DATABASE_URL.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

// turn is the args of kind turn, as docs/sql.md has them. Its queue is turns.
type turn struct {
	Profile        string          `json:"profile"`
	Input          json.RawMessage `json:"input"`
	Session        string          `json:"session,omitempty"`
	IdempotencyKey string          `json:"idempotency_key,omitempty"`
}

func (turn) Kind() string { return "turn" }

func (turn) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: "turns", MaxAttempts: 25} }

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer pool.Close()
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{}) // no queues: it only inserts
	if err != nil {
		return err
	}
	insert := func(args turn) (string, error) {
		job, err := client.Insert(ctx, args, nil)
		if err != nil {
			return "", err
		}
		return process(ctx, pool, job.Job.ID)
	}

	id, err := insert(turn{Profile: "deepseek", Input: json.RawMessage(`{"text": "the towpath runs along the water"}`)})
	if err != nil {
		return err
	}
	said, end, err := wait(ctx, pool, id)
	if err != nil {
		return err
	}
	fmt.Println("said:", said)
	fmt.Println("ended:", end)

	// River's own unique jobs are about rows; the key here is about turns, and holds for every client of any kind.
	key := uuid.NewString()
	one, err := insert(turn{Profile: "deepseek", Input: json.RawMessage(`{"text": "once"}`), IdempotencyKey: key})
	if err != nil {
		return err
	}
	two, err := insert(turn{Profile: "deepseek", Input: json.RawMessage(`{"text": "once"}`), IdempotencyKey: key})
	if err != nil {
		return err
	}
	fmt.Println("the same key is the same turn:", one == two)

	// River's own ways: a row for later, and many rows in one transaction.
	later := &river.InsertOpts{ScheduledAt: time.Now().AddDate(1, 0, 0)}
	row, err := client.Insert(ctx, turn{Profile: "deepseek", Input: json.RawMessage(`{"text": "once a year"}`)}, later)
	if err != nil {
		return err
	}
	fmt.Println("scheduled for next year:", row.Job.State)

	// Unique rows: the second insert gives the row that is there.
	daily := &river.InsertOpts{ScheduledAt: later.ScheduledAt, UniqueOpts: river.UniqueOpts{ByArgs: true, ByPeriod: 24 * time.Hour}}
	once := turn{Profile: "deepseek", Input: json.RawMessage(`{"text": "once a day"}`), Session: uuid.NewString()}
	first, err := client.Insert(ctx, once, daily)
	if err != nil {
		return err
	}
	again, err := client.Insert(ctx, once, daily)
	if err != nil {
		return err
	}
	fmt.Println("a unique row is the same row:", again.Job.ID == first.Job.ID && again.UniqueSkippedAsDuplicate)

	count := 100_000
	if text := os.Getenv("BULK"); text != "" {
		if count, err = strconv.Atoi(text); err != nil {
			return fmt.Errorf("BULK: %w", err)
		}
	}
	inserted := 0
	tx, err := pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	for part := range slices.Chunk(numbers(count), 5000) {
		many := make([]river.InsertManyParams, len(part))
		for i, n := range part {
			text, err := json.Marshal(map[string]string{"text": fmt.Sprint("number ", n)})
			if err != nil {
				return err
			}
			many[i] = river.InsertManyParams{Args: turn{Profile: "deepseek", Input: text}, InsertOpts: later}
		}
		rows, err := client.InsertManyTx(ctx, tx, many)
		if err != nil {
			return err
		}
		inserted += len(rows)
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	fmt.Println("in one transaction:", inserted, "rows")
	return nil
}

func numbers(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i + 1
	}
	return list
}

// process is what a row became, once a worker has taken it: it stands in the row's metadata.
func process(ctx context.Context, pool *pgxpool.Pool, job int64) (string, error) {
	for {
		var id *string
		err := pool.QueryRow(ctx, "select metadata->>'process_id' from river_job where id = $1", job).Scan(&id)
		if err != nil || id != nil {
			return value(id), err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// wait collects what a turn said until it has ended. examples/14-go listens instead of asking again.
func wait(ctx context.Context, pool *pgxpool.Pool, id string) (said, end string, err error) {
	for after := int64(0); ; time.Sleep(50 * time.Millisecond) {
		rows, err := pool.Query(ctx, "select seq, type, coalesce(data->>'text', '') from towpath.events($1, $2)", id, after)
		if err != nil {
			return "", "", err
		}
		var kind, text string
		if _, err := pgx.ForEachRow(rows, []any{&after, &kind, &text}, func() error {
			if kind == "message.delta" {
				said += text
			}
			switch kind {
			case "process.completed", "process.failed", "process.cancelled", "process.abandoned":
				end = strings.TrimPrefix(kind, "process.")
			}
			return nil
		}); err != nil || end != "" {
			return said, end, err
		}
	}
}
