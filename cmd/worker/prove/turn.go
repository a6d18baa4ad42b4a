package prove

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/towpath/towpath/store"
)

var none = uuid.Nil

// The scripted turn: the model calls a tool, the harness answers for it, the model says what the tool said.
const (
	question = `[[tool:weather {"city":"Oslo"}]] what is the weather like?`
	forecast = "In the morning it will rain and then clear up so that by noon the sun shines on all of the town and the fjord"
)

// submit makes a turn with a name of ours.
func (l *lane) submit(ctx context.Context, id string) error {
	input, err := json.Marshal(map[string]string{"text": question})
	if err != nil {
		return err
	}
	_, err = l.store.Submit(ctx, store.Submission{Profile: profile, Input: input, Key: id, Options: fmt.Appendf(nil, `{"id":%q,"max_attempts":1000}`, id)})
	return err
}

// attend answers for the tool until the turn has ended, through whatever happens to the database.
func (l *lane) attend(ctx context.Context, id string) error {
	var after int64
	for {
		err := l.store.Follow(ctx, id, after, 20*time.Millisecond, false, func(e store.Event) error {
			if e.Type == "tool.call" {
				var call struct{ ID string }
				if err := json.Unmarshal(e.Data, &call); err != nil {
					return err
				}
				answer, err := json.Marshal(map[string]string{"to": call.ID, "output": forecast})
				if err != nil {
					return err
				}
				if _, err := l.store.Answer(ctx, id, answer, call.ID); err != nil && !errors.Is(err, store.ErrConflict) {
					return err
				}
			}
			after = e.Seq
			return nil
		})
		if err == nil || store.Refused(err) {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("turn %s does not end: %w", id, errors.Join(context.Cause(ctx), err))
		}
	}
}

// history is what is left of a turn that has ended.
type history struct {
	transcript string         // what it said and was not taken back, and what its session keeps
	reissued   map[string]int // reported second calls, by idempotency key
	attempts   int
	lapsed     int    // takeovers that had to wait until a lease ran out
	ended      string // status and outcome
	gap        bool   // in the sequence numbers
}

func (l *lane) history(ctx context.Context, id string) (h history, err error) {
	h.reissued = map[string]int{}
	p, err := l.store.Process(ctx, id)
	if err != nil {
		return h, err
	}
	h.attempts, h.ended = p.Attempt, fmt.Sprintf("%s %s", p.Status, p.Outcome)
	events, err := l.store.Events(ctx, id, 0, 10000)
	if err != nil {
		return h, err
	}
	lines := map[int64]string{}
	for i, e := range events {
		h.gap = h.gap || e.Seq != int64(i+1)
		var data struct {
			From int64  `json:"from_seq"`
			To   int64  `json:"to_seq"`
			Key  string `json:"idempotency_key"`
			Why  string `json:"reason"`
		}
		switch e.Type {
		case "process.retracted":
			err = json.Unmarshal(e.Data, &data)
			for seq := data.From; seq <= data.To; seq++ {
				delete(lines, seq)
			}
		case "process.requeued":
			err = json.Unmarshal(e.Data, &data)
			if data.Why == "lease lapsed" {
				h.lapsed++
			}
		case "process.reissued":
			err = json.Unmarshal(e.Data, &data)
			h.reissued[data.Key]++
		default:
			if !strings.HasPrefix(e.Type, "process.") {
				lines[e.Seq] = e.Type + " " + string(e.Data)
			}
		}
		if err != nil {
			return h, err
		}
	}
	var all strings.Builder
	for _, e := range events {
		if line, kept := lines[e.Seq]; kept {
			fmt.Fprintln(&all, line)
		}
	}
	rows, err := l.pool.Query(ctx, `select kv.key, convert_from(kv.value, 'UTF8') from towpath.session_kv kv
		join towpath.process p on p.session_id = kv.session_id where p.id = $1 order by kv.key`, id)
	if err != nil {
		return h, err
	}
	defer rows.Close()
	for rows.Next() {
		var key, value string
		if err := rows.Scan(&key, &value); err != nil {
			return h, err
		}
		fmt.Fprintf(&all, "session %s %s\n", key, value)
	}
	h.transcript = all.String()
	return h, rows.Err()
}

// check compares a history with the transcript that it shall have.
func (h history) check(want string) error {
	switch {
	case !strings.HasPrefix(h.ended, "completed"):
		return fmt.Errorf("the turn ended %s", h.ended)
	case h.gap:
		return errors.New("the sequence numbers have a gap")
	case h.transcript != want:
		return fmt.Errorf("the transcript is\n%swant\n%s", h.transcript, want)
	}
	return nil
}

// broken asks the database which of its rules are, but for turns of cells that have failed already.
func (l *lane) broken(ctx context.Context) error {
	var rules string
	err := l.pool.QueryRow(ctx, "select coalesce(string_agg(c::text, '; '), '') from towpath.check() c where c.subject <> all($1)", l.failed).Scan(&rules)
	if err == nil && rules != "" {
		err = fmt.Errorf("towpath.check: %s", rules)
	}
	return err
}
