package sql_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/towpath/towpath/queue/queuetest"
)

// What the five originals can do, by their own names.
var operations = map[string]string{
	"000": "get set update delete list",
	"001": "New DefaultSpecs Start Stop StopAll Shutdown Status GetDaemon",
	"002": "migrate health createRun getRun listEvents createCommand getCommand listCommands registerRunner listRunnerJobs getRunnerJobByIdempotencyKey saveRunnerJob claimRun heartbeat ackCommand finishCommand appendEvent finishRun cancelRun cancelCommand getSession getSessionSummary listSessions listSessionTrace listSessionOutput markSessionRead upsertSession refreshSessionStorage markSessionStorageEvicted listGcExpiredSessions createQueueTask listQueueTasks getQueueTask updateQueueTaskAttempt cancelQueueTask markQueueTaskRead queueStats queueCommander backends",
	"003": "start list list_granted_to list_originated_by get events await_output cancel signal session_snapshot observer cancel_all transfer prune request_abandon",
	"004": "commit_session_snapshot atomic_apply load_input_states load_boundary_receipt load_session_snapshot persist_input_state load_input_state load_runtime_state commit_machine_lifecycle auth_authority_key persist_auth_oauth_flow_snapshot load_auth_oauth_flow_snapshot update_auth_oauth_flow_snapshot persist_ops_lifecycle load_ops_lifecycle",
}

// The page names an answer for each operation of each original, and every function, view and error in it exists.
func TestThePageOfTheOriginalsIsTrue(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/seeds.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	pool := queuetest.Pool(t)
	for seed, names := range operations {
		_, part, found := strings.Cut(page, "\n## "+seed+":")
		part, _, _ = strings.Cut(part, "\n## ")
		if !found {
			t.Errorf("no part about %s", seed)
		}
		_, part, _ = strings.Cut(part, "| operation | SQL |")
		table, _, _ := strings.Cut(part, "\n\n")
		for _, name := range strings.Fields(names) {
			row := regexp.MustCompile(`(?m)^\| ([^|]*, )?` + regexp.QuoteMeta(name) + `(,[^|]*)? \| .*towpath\.`)
			if !row.MatchString(table) {
				t.Errorf("%s has no row for %s", seed, name)
			}
		}
	}
	functions := regexp.MustCompile("`(towpath\\.[a-z_]+\\([^`]*\\))`").FindAllStringSubmatch(page, -1)
	for _, m := range functions {
		if !get[bool](t, pool, "select to_regprocedure($1) is not null", m[1]) {
			t.Errorf("there is no function %s", m[1])
		}
	}
	relations := regexp.MustCompile("`(towpath\\.[a-z_]+)`").FindAllStringSubmatch(page, -1)
	for _, m := range relations {
		if !get[bool](t, pool, "select to_regclass($1) is not null", m[1]) {
			t.Errorf("there is no view %s", m[1])
		}
	}
	if len(functions) < 80 || len(relations) < 5 {
		t.Errorf("%d functions and %d views: is the page written otherwise?", len(functions), len(relations))
	}
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range regexp.MustCompile(`TW[0-9A-Z]{3}`).FindAllString(page, -1) {
		if !strings.Contains(string(doc), "//	"+code+" ") {
			t.Errorf("there is no error %s", code)
		}
	}
}
