package monitor

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/queue"
	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker/turn"
)

// Config of a [Monitor]. Every field is set.
type Config struct {
	Store    *store.Store
	Pool     *pgxpool.Pool
	Node     string
	Version  string
	Running  func() int                             // turns that run now
	Profiles func() (served, problems int)          // of the plugins folder
	Checks   map[string]func(context.Context) error // what makes the node ready, by name
}

// Monitor counts what a node does. Its methods may be called at the same time.
type Monitor struct {
	config   Config
	registry *prometheus.Registry

	jobs, turns, events, reissued, requests *prometheus.CounterVec
	jobTook, jobWait, turnTook, headTook    *prometheus.HistogramVec
}

// New makes a Monitor that has counted nothing yet.
func New(c Config) *Monitor {
	m := &Monitor{config: c, registry: prometheus.NewRegistry()}
	m.jobs, m.turns, m.events = m.counter(jobs), m.counter(turns), m.counter(turnEvents)
	m.reissued, m.requests = m.counter(turnReissued), m.counter(requests)
	quick := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	slow := []float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600}
	m.jobTook, m.jobWait = m.histogram(jobSeconds, slow), m.histogram(jobWait, quick)
	m.turnTook, m.headTook = m.histogram(turnSeconds, slow), m.histogram(requestSeconds, quick)
	m.registry.MustRegister(&scrape{config: c}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *Monitor) counter(name string) *prometheus.CounterVec {
	d := metric(name)
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: d.Name, Help: d.Help}, d.Labels)
	m.registry.MustRegister(v)
	return v
}

func (m *Monitor) histogram(name string, buckets []float64) *prometheus.HistogramVec {
	d := metric(name)
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: d.Name, Help: d.Help, Buckets: buckets}, d.Labels)
	m.registry.MustRegister(v)
	return v
}

// Job counts a delivery.
func (m *Monitor) Job(d queue.Done) {
	kind := string(d.Kind)
	m.jobs.WithLabelValues(kind, d.Outcome).Inc()
	m.jobTook.WithLabelValues(kind).Observe(d.Took.Seconds())
	m.jobWait.WithLabelValues(kind).Observe(d.Wait.Seconds())
}

// Turn counts an attempt of a turn.
func (m *Monitor) Turn(d turn.Done) {
	m.turns.WithLabelValues(d.Profile, d.Status).Inc()
	m.turnTook.WithLabelValues(d.Profile).Observe(d.Took.Seconds())
	m.events.WithLabelValues(d.Profile).Add(float64(d.Events))
	m.reissued.WithLabelValues(d.Profile).Add(float64(d.Reissued))
}

// Outbound counts the requests of a profile that go through o.
func (m *Monitor) Outbound(profile string, o turn.Outbound) turn.Outbound {
	return outbound{o, m, profile}
}

type outbound struct {
	turn.Outbound
	monitor *Monitor
	profile string
}

func (o outbound) Open(ctx context.Context, head hostabi.HTTPHead, body []byte, own http.Header) (*http.Response, error) {
	began := time.Now()
	resp, err := o.Outbound.Open(ctx, head, body, own)
	code := "error"
	if err == nil {
		code = strconv.Itoa(resp.StatusCode)
		o.monitor.headTook.WithLabelValues(o.profile).Observe(time.Since(began).Seconds())
	}
	o.monitor.requests.WithLabelValues(o.profile, code).Inc()
	return resp, err
}
