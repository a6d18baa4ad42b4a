package monitor_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/queue"
	"github.com/towpath/towpath/queue/queuetest"
	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker/monitor"
	"github.com/towpath/towpath/worker/turn"
)

var update = flag.Bool("update", false, "write docs/metrics.md")

type answers map[string]int

func (a answers) Open(_ context.Context, head hostabi.HTTPHead, _ []byte, _ http.Header) (*http.Response, error) {
	code, known := a[head.URL]
	if !known {
		return nil, errors.New("no way there")
	}
	return &http.Response{StatusCode: code}, nil
}

// node is a watched node without turns, and what its checks say.
func node(t *testing.T, pool *pgxpool.Pool, lease *error) (*monitor.Monitor, func(path string) (int, string)) {
	t.Helper()
	m := monitor.New(monitor.Config{
		Store: store.New(pool), Pool: pool, Node: "one", Version: "v1",
		Running:  func() int { return 3 },
		Profiles: func() (int, int) { return 2, 1 },
		Checks: map[string]func(context.Context) error{
			"database": pool.Ping,
			"lease":    func(context.Context) error { return *lease },
		},
	})
	server := httptest.NewServer(m.Handler())
	t.Cleanup(server.Close)
	return m, func(path string) (int, string) {
		resp, err := server.Client().Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
}

// What a node did and what the deployment is at stands in its metrics, under the names that the table lists.
func TestMetricsAreWhatTheTableSays(t *testing.T) {
	pool := queuetest.Pool(t)
	var lease error
	m, get := node(t, pool, &lease)
	for _, statement := range []string{
		"select towpath.profile_put('echo', 'd', '{}', '{}', 3, '10 minutes', 'test')",
		"select towpath.submit('echo', '{}', 's1'), towpath.submit('echo', '{}', 's1')",
		"update river_job set scheduled_at = now() - interval '1 hour'",
		"insert into river_queue (name, created_at, updated_at, paused_at) values ('turns', now(), now(), now())",
		"update towpath.session set quarantine = 'bad'",
		`select towpath.spec_put('weak', '{"command": "x", "restarts": 0}'), towpath.daemon_start('weak')`,
		`select towpath.daemon_claim(p.id, 1, p.river_job_id, 'n', gen_random_uuid(), '30 s', 'm', 'b') from towpath.process p where p.class = 'daemon'`,
		"select towpath.daemon_exit(process_no, fence, 'exit 1', 1) from towpath.lease",
	} {
		if _, err := pool.Exec(t.Context(), statement); err != nil {
			t.Fatal(statement, err)
		}
	}
	m.Job(queue.Done{Kind: queue.Sweep, Outcome: "completed", Took: time.Second, Wait: time.Millisecond})
	m.Turn(turn.Done{Profile: "echo", Status: "completed", Took: time.Minute, Events: 7, Reissued: 1})
	out := m.Outbound("echo", answers{"up": 200})
	for _, url := range []string{"up", "down"} {
		_, _ = out.Open(t.Context(), hostabi.HTTPHead{URL: url}, nil, nil)
	}
	code, text := get("/metrics")
	for _, line := range []string{
		`towpath_jobs_total{kind="sweep",outcome="completed"} 1`,
		`towpath_job_seconds_sum{kind="sweep"} 1`,
		`towpath_turns_total{profile="echo",status="completed"} 1`,
		`towpath_turn_events_total{profile="echo"} 7`,
		`towpath_turn_reissued_total{profile="echo"} 1`,
		`towpath_requests_total{code="200",profile="echo"} 1`,
		`towpath_requests_total{code="error",profile="echo"} 1`,
		`towpath_turns_running 3`, `towpath_profiles 2`, `towpath_profile_problems 1`,
		`towpath_build_info{node="one",version="v1"} 1`,
		`towpath_database_up 1`,
		`towpath_processes{class="turn",status="queued"} 2`,
		`towpath_jobs{queue="turns",state="available"} 1`,
		`towpath_queue_paused{queue="turns"} 1`,
		`towpath_daemons{state="failed"} 1`,
		`towpath_quarantined_sessions 1`, `towpath_in_doubt 0`, `towpath_lapsed_leases 0`, `towpath_nodes 0`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("no %s", line)
		}
	}
	if !regexp.MustCompile(`towpath_oldest_job_seconds\{queue="turns"\} 36\d\d`).MatchString(text) {
		t.Error("the oldest job is not an hour old")
	}
	if t.Failed() || code != http.StatusOK {
		t.Log(code, text)
	}

	var listed, exposed []string
	for _, d := range monitor.Metrics() {
		listed = append(listed, fmt.Sprintf("%s %s %s", d.Name, d.Type, d.Help))
		labels := regexp.MustCompile(`(?m)^` + d.Name + `(?:_bucket)?(?:\{(.*)\})? [^ ]+$`).FindStringSubmatch(text)
		if labels == nil {
			t.Errorf("%s has no sample", d.Name)
			continue
		}
		var names []string
		for _, m := range regexp.MustCompile(`([a-z_]+)="[^"]*"`).FindAllStringSubmatch(labels[1], -1) {
			if m[1] != "le" { // of a histogram's buckets
				names = append(names, m[1])
			}
		}
		if want := slices.Sorted(slices.Values(d.Labels)); !slices.Equal(names, want) {
			t.Errorf("%s has the labels %v, listed are %v", d.Name, names, want)
		}
	}
	help := map[string]string{}
	for _, line := range strings.Split(text, "\n") {
		if rest, ok := strings.CutPrefix(line, "# HELP towpath_"); ok {
			name, words, _ := strings.Cut(rest, " ")
			help["towpath_"+name] = words
		}
		if rest, ok := strings.CutPrefix(line, "# TYPE towpath_"); ok {
			name, kind, _ := strings.Cut(rest, " ")
			exposed = append(exposed, fmt.Sprintf("towpath_%s %s %s", name, kind, help["towpath_"+name]))
		}
	}
	slices.Sort(listed)
	slices.Sort(exposed)
	if !slices.Equal(listed, exposed) {
		t.Errorf("listed:\n%s\nexposed:\n%s", strings.Join(listed, "\n"), strings.Join(exposed, "\n"))
	}
}

// A node is ready when every check passes; it lives as long as it answers.
func TestReadiness(t *testing.T) {
	pool := queuetest.Pool(t)
	var lease error
	_, get := node(t, pool, &lease)
	look := func(path string, code int, ok bool, checks map[string]string) {
		t.Helper()
		var found struct {
			OK     bool
			Checks map[string]string
		}
		got, text := get(path)
		if err := json.Unmarshal([]byte(text), &found); err != nil || got != code || found.OK != ok || fmt.Sprint(found.Checks) != fmt.Sprint(checks) {
			t.Errorf("%s: %d %s (%v)", path, got, text, err)
		}
	}
	look("/readyz", 200, true, map[string]string{"database": "ok", "lease": "ok"})
	lease = errors.New("the database has not confirmed this node's leases for 40s")
	look("/readyz", 503, false, map[string]string{"database": "ok", "lease": lease.Error()})
	pool.Close()
	look("/readyz", 503, false, map[string]string{"database": "closed pool", "lease": lease.Error()})
	look("/healthz", 200, true, nil)
	if _, text := get("/metrics"); !strings.Contains(text, "\ntowpath_database_up 0\n") || strings.Contains(text, "towpath_processes") {
		t.Error("a database that is gone still tells something")
	}
}

// A port alone is a port of loopback: nobody else is to see it.
func TestAPortIsOnLoopback(t *testing.T) {
	l, err := monitor.Listen("0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if !strings.HasPrefix(l.Addr().String(), "127.0.0.1:") {
		t.Errorf("listens on %s", l.Addr())
	}
	if _, err := monitor.Listen("nowhere"); err == nil {
		t.Error("an address without a port is taken")
	}
}

// docs/metrics.md lists the metrics, and the dashboard asks for no other.
func TestTheDocumentedMetrics(t *testing.T) {
	var b strings.Builder
	b.WriteString(page)
	known := map[string]bool{}
	for _, m := range monitor.Metrics() {
		known[m.Name] = true
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.Name, m.Type, strings.Join(m.Labels, ", "), m.Help)
	}
	const path = "../../docs/metrics.md"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != b.String() {
		t.Errorf("%s is not what the list of metrics says: run make generate (%v)", path, err)
	}
	dashboard, err := os.ReadFile("../../deploy/grafana.json")
	if err != nil || !json.Valid(dashboard) {
		t.Fatalf("the dashboard is not JSON (%v)", err)
	}
	for _, name := range regexp.MustCompile(`towpath_[a-z_]+`).FindAllString(string(dashboard), -1) {
		if !known[regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")] {
			t.Errorf("the dashboard asks for %s, which is no metric", name)
		}
	}
}

const page = `# Metrics

A node answers ` + "`/metrics`, `/healthz` and `/readyz`" + ` at the address of ` + "`TOWPATH_MONITOR`" + `: ` + "`9464`" + ` is a port of loopback,
` + "`10.0.0.5:9464`" + ` listens there; without the setting nothing listens. There is no login. ` + "`/healthz`" + ` says that the process answers;
` + "`/readyz`" + ` is 200 when the database answers, is migrated, the node serves a profile and its leases were confirmed within their time, else 503
with the reason. A dashboard is in [deploy/grafana.json](../deploy/grafana.json).

Metrics of the deployment come from every node and are the same on each: use ` + "`max`" + `, not ` + "`sum`" + `. This page is generated.

| metric | type | labels | unit and meaning |
|---|---|---|---|
`
