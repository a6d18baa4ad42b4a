// The whole life of turns through pgx. Needs DATABASE_URL.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

func main() {
	if err := run(context.Background(), os.Getenv("DATABASE_URL")); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// client calls the functions of schema towpath.
type client struct {
	*pgx.Conn
	url string
}

func (c client) one(ctx context.Context, sql string, args ...any) (s string, err error) {
	err = c.QueryRow(ctx, sql, args...).Scan(&s)
	return s, err
}

// submit sends maps as jsonb: pgx encodes them. A string would be taken for JSON text.
func (c client) submit(ctx context.Context, text string, key *string, options map[string]any) (string, error) {
	if options == nil {
		options = map[string]any{} // nil would be null
	}
	return c.one(ctx, "select towpath.submit('deepseek', $1, null, $2, $3)", map[string]any{"text": text}, key, options)
}

type event struct {
	Seq  int64
	Type string
	Data struct{ Text string }
}

func (e event) last() bool {
	switch e.Type {
	case "process.completed", "process.failed", "process.cancelled", "process.abandoned":
		return true
	}
	return false
}

// follow hands over events until the turn has ended or see returns false. A notification only wakes: the sequence
// number is the truth.
func (c client) follow(ctx context.Context, id string, see func(event) bool) error {
	conn, err := pgx.Connect(ctx, c.url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "listen towpath_events"); err != nil { // before the first look, so that nothing falls between
		return err
	}
	for after := int64(0); ; {
		rows, err := conn.Query(ctx, "select seq, type, data from towpath.events($1, $2)", id, after)
		if err != nil {
			return err
		}
		events, err := pgx.CollectRows(rows, pgx.RowToStructByPos[event])
		if err != nil {
			return err
		}
		for _, e := range events {
			after = e.Seq
			if !see(e) || e.last() {
				return nil
			}
		}
		wait, cancel := context.WithTimeout(ctx, time.Second)
		_, err = conn.WaitForNotification(wait)
		cancel()
		if err != nil && wait.Err() == nil {
			return err
		}
	}
}

func (c client) speaking(ctx context.Context, id string) error {
	return c.follow(ctx, id, func(e event) bool { return e.Type != "message.delta" })
}

func (c client) ended(ctx context.Context, id string) (end string, err error) {
	err = c.follow(ctx, id, func(e event) bool { end = strings.TrimPrefix(e.Type, "process."); return true })
	return end, err
}

func run(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	c := client{conn, url}
	for _, step := range []func(context.Context) error{c.say, c.unique, c.scheduled, c.steered, c.cancelled, c.bulk} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (c client) say(ctx context.Context) error {
	id, err := c.submit(ctx, "the towpath runs along the water", nil, nil)
	if err != nil {
		return err
	}
	fmt.Print("said: ")
	err = c.follow(ctx, id, func(e event) bool {
		if e.Type == "message.delta" {
			fmt.Print(e.Data.Text)
		}
		return true
	})
	if err != nil {
		return err
	}
	status, err := c.one(ctx, "select status from towpath.process($1)", id)
	fmt.Println("\nended:", status)
	return err
}

func (c client) unique(ctx context.Context) error {
	key := uuid.NewString()
	one, err := c.submit(ctx, "once", &key, nil)
	if err != nil {
		return err
	}
	two, err := c.submit(ctx, "once", &key, nil)
	fmt.Println("the same request is the same turn:", one == two)
	return err
}

func (c client) scheduled(ctx context.Context) error {
	id, err := c.submit(ctx, "later", nil, map[string]any{"scheduled_at": time.Now().Add(24 * time.Hour).Format(time.RFC3339)})
	if err != nil {
		return err
	}
	status, err := c.one(ctx, "select status from towpath.process($1)", id)
	if err != nil {
		return err
	}
	then, err := c.one(ctx, "select towpath.cancel($1, 'changed my mind')", id)
	fmt.Printf("scheduled for tomorrow: %s, then %s\n", status, then)
	return err
}

func (c client) steered(ctx context.Context) error {
	id, err := c.submit(ctx, "[[pace:150ms]] one two three four five six", nil, nil)
	if err != nil {
		return err
	}
	if err := c.speaking(ctx, id); err != nil {
		return err
	}
	if _, err := c.one(ctx, "select towpath.steer($1, $2)", id, map[string]any{"text": "and mind the locks"}); err != nil {
		return err
	}
	end, err := c.ended(ctx, id)
	fmt.Println("steered while it spoke:", end)
	return err
}

func (c client) cancelled(ctx context.Context) error {
	id, err := c.submit(ctx, "[[pace:300ms]] one two three four five six seven eight nine ten", nil, nil)
	if err != nil {
		return err
	}
	if err := c.speaking(ctx, id); err != nil {
		return err
	}
	if _, err := c.one(ctx, "select towpath.cancel($1, 'enough')", id); err != nil {
		return err
	}
	end, err := c.ended(ctx, id)
	fmt.Println("cancelled while it spoke:", end)
	return err
}

func (c client) bulk(ctx context.Context) error {
	count := 100_000
	if n, err := strconv.Atoi(os.Getenv("BULK")); err == nil {
		count = n
	}
	items := make([]map[string]any, count)
	for n := range items {
		items[n] = map[string]any{"profile": "deepseek", "input": map[string]any{"text": fmt.Sprint("number ", n)},
			"options": map[string]any{"scheduled_at": "2099-01-01T00:00:00Z"}}
	}
	text, err := json.Marshal(items)
	if err != nil {
		return err
	}
	accepted, err := c.one(ctx, "select count(*)::text from towpath.submit_many($1)", text)
	fmt.Printf("in one call: %s turns accepted\n", accepted)
	return err
}
