package monitor

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

//go:generate go test -count=1 -run ^TestTheDocumentedMetrics$ . -update

// Metric describes one metric.
type Metric struct {
	Name   string
	Type   string // counter, gauge or histogram
	Labels []string
	Help   string // unit and meaning
}

func (m Metric) desc() *prometheus.Desc { return prometheus.NewDesc(m.Name, m.Help, m.Labels, nil) }

const (
	jobs           = "towpath_jobs_total"
	jobSeconds     = "towpath_job_seconds"
	jobWait        = "towpath_job_wait_seconds"
	turns          = "towpath_turns_total"
	turnSeconds    = "towpath_turn_seconds"
	turnEvents     = "towpath_turn_events_total"
	turnReissued   = "towpath_turn_reissued_total"
	turnsRunning   = "towpath_turns_running"
	requests       = "towpath_requests_total"
	requestSeconds = "towpath_request_seconds"
	profiles       = "towpath_profiles"
	problems       = "towpath_profile_problems"
	connections    = "towpath_pool_connections"
	poolWaits      = "towpath_pool_wait_seconds_total"
	build          = "towpath_build_info"
	databaseUp     = "towpath_database_up"
)

// Metrics lists all metrics of ours, those of this node before those of the deployment. The Go runtime's and the
// process's own come on top.
func Metrics() []Metric { return slices.Clone(metrics) }

var metrics = []Metric{
	{jobs, "counter", []string{"kind", "outcome"}, "deliveries of River jobs that ended here: completed, failed, panicked, snoozed, cancelled or stopped"},
	{jobSeconds, "histogram", []string{"kind"}, "seconds that a delivery took"},
	{jobWait, "histogram", []string{"kind"}, "seconds from when a job was due to when it began"},
	{turns, "counter", []string{"profile", "status"}, "attempts of turns that ended here: a terminal status, requeued, waiting, or lost to another node"},
	{turnSeconds, "histogram", []string{"profile"}, "seconds that an attempt took"},
	{turnEvents, "counter", []string{"profile"}, "events that plugins emitted"},
	{turnReissued, "counter", []string{"profile"}, "outside calls that were made again after a node was lost"},
	{turnsRunning, "gauge", nil, "turns that run here now"},
	{requests, "counter", []string{"profile", "code"}, "requests of plugins by status code; error: no answer came"},
	{requestSeconds, "histogram", []string{"profile"}, "seconds until the head of an answer came"},
	{profiles, "gauge", nil, "profiles that this node serves"},
	{problems, "gauge", nil, "files in the plugins folder that are not served as they are"},
	{connections, "gauge", []string{"state"}, "database connections: idle, used, and max that may be open"},
	{poolWaits, "counter", nil, "seconds that somebody waited for a free connection, in all"},
	{build, "gauge", []string{"node", "version"}, "always 1; says what runs here"},
	{databaseUp, "gauge", nil, "1 when this scrape could read the database, else 0, and what follows is missing"},

	{"towpath_processes", "gauge", []string{"class", "status"}, "deployment: processes that have not ended"},
	{"towpath_jobs", "gauge", []string{"queue", "state"}, "deployment: River jobs that have not ended"},
	{"towpath_oldest_job_seconds", "gauge", []string{"queue"}, "deployment: seconds that the oldest due job has waited, 0 when none does"},
	{"towpath_queue_paused", "gauge", []string{"queue"}, "deployment: 1 while somebody has paused the queue"},
	{"towpath_nodes", "gauge", nil, "deployment: nodes seen within two minutes"},
	{"towpath_lapsed_leases", "gauge", nil, "deployment: leases that lapsed and that no sweep has repaired yet"},
	{"towpath_in_doubt", "gauge", nil, "deployment: turns with an outside call whose outcome is unknown"},
	{"towpath_profile_held_seconds", "gauge", []string{"profile"}, "deployment: seconds for which a profile is still held, 0 when it is not"},
	{"towpath_turns_paused", "gauge", nil, "deployment: turns that wait because a budget of tokens is used up"},
	{"towpath_daemons", "gauge", []string{"state"}, "deployment: registered daemons; alert on state failed: nobody starts those again"},
	{"towpath_quarantined_sessions", "gauge", nil, "deployment: sessions that wait for an operator"},
}

func metric(name string) Metric {
	i := slices.IndexFunc(metrics, func(m Metric) bool { return m.Name == name })
	return metrics[i] // the name is a constant above
}
