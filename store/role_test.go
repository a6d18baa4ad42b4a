package store_test

import (
	"fmt"
	"strings"
	"testing"
)

// What each role may do with processes of any class; the tables are nobody's.
func TestWhatARoleMayDoWithProcesses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.launch(external())
	calls := map[string]string{
		"start":           "select towpath.start('external', 'externally_owned')",
		"append_event":    "select towpath.append_event('" + id + "', 'line')",
		"append_owned":    "select towpath.append_owned(1, 1, 'line')",
		"complete":        "select towpath.complete(1, 1, 'completed', '{}', 'k')",
		"complete_by":     "select towpath.complete_by('external_owner', '" + id + "', 'completed', '{}', 'k')",
		"claim_process":   "select * from towpath.claim_process('" + id + "', 'n', gen_random_uuid(), '30 s')",
		"release":         "select towpath.release(1, 1)",
		"resume":          "select towpath.resume('" + id + "')",
		"drain":           "select * from towpath.drain(gen_random_uuid())",
		"recent":          "select * from towpath.recent('" + id + "')",
		"processes_list":  "select * from towpath.processes_list()",
		"await_output":    "select * from towpath.await_output('" + id + "')",
		"cancel_all":      "select * from towpath.cancel_all()",
		"cancel_shared":   "select * from towpath.cancel_shared('session:s')",
		"request_abandon": "select towpath.request_abandon('" + id + "', 'me')",
		"changes":         "select * from towpath.changes()",
		"feed_restart":    "select towpath.feed_restart()",
		"env_use":         "select * from towpath.env_use",
		"begin_process":   "select towpath.begin_process('daemon', 'rerunnable', '{}', '{}')",
		"process":         "select * from towpath.process",
		"share":           "insert into towpath.share values ('host', 1, '{}', now())",
		"env":             "select * from towpath.env",
	}
	const reads = "recent processes_list await_output changes env_use"
	for role, may := range map[string]string{
		"towpath_reader":   reads,
		"towpath_client":   reads + " start append_event complete_by cancel_shared",
		"towpath_operator": reads + " start append_event complete_by cancel_shared cancel_all request_abandon resume feed_restart",
		"towpath_worker": reads + " start append_event complete_by cancel_shared cancel_all request_abandon resume" +
			" append_owned complete claim_process release drain",
		"towpath_enqueue": "",
	} {
		for name, call := range calls {
			tx := w.begin()
			_, err := tx.Exec(t.Context(), "set local role "+role)
			w.ok(err)
			_, err = tx.Exec(t.Context(), call)
			w.ok(tx.Rollback(t.Context()))
			denied := err != nil && strings.Contains(err.Error(), "permission denied")
			if granted := strings.Contains(" "+may+" ", " "+name+" "); granted == denied {
				t.Errorf("%s, %s: %v", role, name, fmt.Sprint(err))
			}
		}
	}
}
