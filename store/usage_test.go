package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/store"
)

func TestUsageIsCountedOncePerResponse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o, _ := w.run(w.submit("s"), node("n"))
	const put = "select towpath.usage_put($1, $2, $3, 'm', $4, $5, $6, $7)"
	w.exec(put, o.No, o.Fence, "r1", 100, 40, 7, nil)
	w.exec(put, o.No, o.Fence, "r1", 100, 40, 7, nil) // a replay
	w.exec(put, o.No, o.Fence, "r2", nil, nil, nil, nil)
	w.exec(put, o.No, o.Fence, "r3", 10, 0, nil, 2)
	day := func() string {
		return get[string](w, `select concat_ws(' ', tenant, project, profile, model, session, responses, unknown, input_tokens, cached_tokens, output_tokens, reasoning_tokens)
			from towpath.usage_by_day`)
	}
	if got := day(); got != "default default p m s 3 2 110 40 7 2" {
		t.Errorf("usage: %s", got)
	}
	// What becomes known takes the place of what was not.
	w.exec(put, o.No, o.Fence, "r3", nil, nil, 5, nil)
	if got := day(); got != "default default p m s 3 1 110 40 12 2" {
		t.Errorf("usage: %s", got)
	}
	w.deny("TW40L", "does not own", put, o.No, o.Fence+1, "r4", 1, 1, 1, 1)
	w.deny("TW400", "response_id", put, o.No, o.Fence, "", 1, 1, 1, 1)
	w.deny("TW400", "response_id", put, o.No, o.Fence, nil, 1, 1, 1, 1)
	w.deny("TW400", "response_id", put, o.No, o.Fence, strings.Repeat("r", 501), 1, 1, 1, 1)
	w.deny("TW400", "below 0", put, o.No, o.Fence, "r4", 1, -1, 1, 1)
	w.complete(o)
	w.deny("TW40L", "does not own", put, o.No, o.Fence, "r4", 1, 1, 1, 1)
	// It outlives its process: what was spent was spent.
	w.exec("delete from towpath.process")
	if got := day(); got != "default default p m s 3 1 110 40 12 2" {
		t.Errorf("usage after the process is gone: %s", got)
	}
}

// ledger is the rows of the ledger.
func (w *world) ledger() string {
	w.Helper()
	return get[string](w, `select coalesce(string_agg(concat_ws(' ', coalesce(nullif(left(response_id, 7), 'unnamed'), 'unnamed'), coalesce(model, '-'),
		coalesce(input_tokens::text, '?'), coalesce(cached_tokens::text, '?'), coalesce(output_tokens::text, '?'), coalesce(reasoning_tokens::text, '?')),
		', ' order by session_id, response_id), '') from towpath.usage`)
}

func told(response string, input, output string) string {
	return `{"response_id": "` + response + `", "model": "m", "input_tokens": ` + input + `, "cached_tokens": null, "output_tokens": ` + output + `, "reasoning_tokens": null}`
}

// What a turn tells of its cost is in the ledger with the event, once for each response, also with the turn's end.
func TestUsageEventsAreEnteredWithTheirEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o, _ := w.run(w.submit("s"), node("n"))
	other, _ := w.run(w.submit("s2"), node("n"))
	_, err := w.store.Append(w.Context(), []store.Batch{
		{Owner: o, Types: []string{"message", "usage", "usage"}, Data: []string{`{"text": "a"}`, told("r1", "10", "null"), told("r1", "null", "3")}},
		{Owner: other, Types: []string{"usage"}, Data: []string{told("r1", "7", "0")}},
	})
	w.ok(err)
	if got, want := w.ledger(), "r1 m 10 ? 3 ?, r1 m 7 ? 0 ?"; got != want {
		t.Errorf("ledger: %s, want %s", got, want)
	}
	// Told again, it is still one response.
	_, err = w.store.Append(w.Context(), []store.Batch{{Owner: o, Types: []string{"usage"}, Data: []string{told("r1", "11", "3")}}})
	w.ok(err)
	// A guest may say anything: what is no count is not known, and no name is a row of its own.
	_, err = w.store.Append(w.Context(), []store.Batch{{Owner: other, Types: []string{"usage", "usage"}, Data: []string{
		`{"input_tokens": null, "cached_tokens": null, "output_tokens": null, "reasoning_tokens": null}`,
		`{"input_tokens": null, "cached_tokens": null, "output_tokens": null, "reasoning_tokens": null}`}}})
	w.ok(err)
	// Of two counts in one batch the later one is right.
	w.ok(w.store.Finish(w.Context(), store.End{Batch: store.Batch{Owner: o, Types: []string{"usage", "usage"}, Data: []string{told("r2", "9", "9"), told("r2", "1", "2")}}, Status: "completed", Outcome: []byte("{}")}))
	if got, want := w.ledger(), "r1 m 11 ? 3 ?, r2 m 1 ? 2 ?, r1 m 7 ? 0 ?, unnamed - ? ? ? ?, unnamed - ? ? ? ?"; got != want {
		t.Errorf("ledger: %s, want %s", got, want)
	}
	w.sound()
	w.exec("delete from towpath.usage where response_id = 'r2'")
	if broken := get[[]string](w, "select array_agg(distinct rule) from towpath.check()"); len(broken) != 1 || broken[0] != "each response that was told is in the ledger" {
		t.Errorf("broken rules: %v", broken)
	}
	w.exec("delete from towpath.event where type = 'usage'") // what is left is for the cleanup's own check
}

func TestAFormerOwnerEntersNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o, _ := w.run(w.submit("s"), node("n"))
	stale := o
	stale.Fence--
	_, err := w.store.Append(w.Context(), []store.Batch{{Owner: stale, Types: []string{"usage"}, Data: []string{told("r1", "1", "1")}}})
	w.ok(err)
	w.shift("1 hour") // the lease lapses
	_, err = w.store.Append(w.Context(), []store.Batch{{Owner: o, Types: []string{"usage"}, Data: []string{told("r2", "1", "1")}}})
	w.ok(err)
	if got := w.ledger(); got != "" {
		t.Errorf("ledger: %s", got)
	}
}

// Nonsense from a guest costs nobody's events, its own neither.
func TestNonsenseInAUsageEventIsNotKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for data, want := range map[string]any{
		`{"n": 7}`: int64(7), `{"n": 7.9}`: int64(8), `{"n": -1}`: nil, `{"n": "7"}`: nil, `{"n": 1e300}`: nil, `{"n": null}`: nil, `{}`: nil, `{"n": [1]}`: nil,
	} {
		if got := get[*int64](w, "select towpath.tokens($1, 'n')", data); (got == nil) != (want == nil) || got != nil && *got != want {
			t.Errorf("%s: %v, want %v", data, got, want)
		}
	}
}

func TestUsageIsSummedByWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.profile("q", 3)
	for i, session := range []string{"s1", "s2", "s1"} {
		o, _ := w.run(w.submit(session), node("n"))
		_, err := w.store.Append(w.Context(), []store.Batch{{Owner: o, Types: []string{"usage", "usage"}, Data: []string{told("r1", "100", "5"), told("r2", "null", "1")}}})
		w.ok(err)
		w.complete(o)
		w.exec("update towpath.usage set at = '2026-11-2"+string(rune('0'+i))+" 12:00Z' where process_no = $1", o.No)
	}
	sum := func(f store.UsageFilter) string {
		w.Helper()
		rows, err := w.store.UsageSummary(w.Context(), f)
		w.ok(err)
		var all []string
		for _, u := range rows {
			all = append(all, fmt.Sprintf("%s %d %d %d %d", *u.Key, u.Responses, u.Unknown, *u.InputTokens, *u.OutputTokens))
		}
		return strings.Join(all, ", ")
	}
	day := func(n int) *time.Time { d := time.Date(2026, 11, n, 0, 0, 0, 0, time.UTC); return &d }
	for want, f := range map[string]store.UsageFilter{
		"2026-11-20 2 1 100 6, 2026-11-21 2 1 100 6, 2026-11-22 2 1 100 6": {By: "day"},
		"2026-11-21 2 1 100 6":        {By: "day", Since: day(21), Until: day(21)},
		"s1 4 2 200 12, s2 2 1 100 6": {By: "session"},
		"p 6 3 300 18":                {By: "profile"},
		"m 4 2 200 12":                {By: "model", Filter: map[string]string{"session": "s1"}},
		"":                            {By: "model", Filter: map[string]string{"profile": "q"}},
	} {
		if got := sum(f); got != want {
			t.Errorf("%+v: %s, want %s", f, got, want)
		}
	}
	_, err := w.store.UsageSummary(w.Context(), store.UsageFilter{By: "color"})
	w.refused(err, store.ErrInvalid, "by day, session, profile")
	_, err = w.store.UsageSummary(w.Context(), store.UsageFilter{By: "day", Filter: map[string]string{"color": "red"}})
	w.refused(err, store.ErrInvalid, "filters are")
}

// How fast a turn is told to speak, while it runs: the tokens of all its responses over the time since it began.
func TestTheTokensOfTurns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fast, silent := w.submit("s"), w.submit("s2")
	o, _ := w.run(fast, node("n"))
	w.run(silent, node("n"))
	w.shift("10 seconds")
	w.tell(o, "usage", told("r1", "10", "300"))
	w.tell(o, "usage", told("r2", "10", "100"))
	w.tell(o, "usage", told("r3", "10", "null"))
	w.shift("1 hour") // the rate is that of what was said
	list, err := w.store.TurnUsage(t.Context(), []string{fast, silent, "p_unknown"})
	w.ok(err)
	if len(list) != 1 || list[0].Process != fast || list[0].OutputTokens != 400 || list[0].Seconds < 10 || list[0].Seconds > 600 {
		t.Errorf("turn usage: %+v", list)
	}
	if list, err = w.store.TurnUsage(t.Context(), nil); err != nil || len(list) != 0 {
		t.Errorf("of no turns: %+v, %v", list, err)
	}
}
