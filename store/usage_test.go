package store_test

import (
	"strings"
	"testing"
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
