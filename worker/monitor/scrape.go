package monitor

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/towpath/towpath/store"
)

const (
	readFor  = 2 * time.Second // how long a scrape waits for the database
	readHold = 5 * time.Second // how long what was read is good
)

// scrape is what is read when somebody asks.
type scrape struct {
	config Config

	mu     sync.Mutex
	read   time.Time
	gauges []store.Gauge
	err    error
}

// Describe does nothing: what the database tells may have any labels that Metrics lists.
func (s *scrape) Describe(chan<- *prometheus.Desc) {}

func (s *scrape) Collect(to chan<- prometheus.Metric) {
	put := func(name string, value float64, labels ...string) {
		d := metric(name)
		kind := prometheus.GaugeValue
		if d.Type == "counter" {
			kind = prometheus.CounterValue
		}
		to <- prometheus.MustNewConstMetric(d.desc(), kind, value, labels...)
	}
	served, bad := s.config.Profiles()
	pool := s.config.Pool.Stat()
	put(turnsRunning, float64(s.config.Running()))
	put(profiles, float64(served))
	put(problems, float64(bad))
	put(connections, float64(pool.IdleConns()), "idle")
	put(connections, float64(pool.AcquiredConns()), "used")
	put(connections, float64(pool.MaxConns()), "max")
	put(poolWaits, pool.EmptyAcquireWaitTime().Seconds())
	put(build, 1, s.config.Node, s.config.Version)

	gauges, err := s.database()
	if err != nil {
		put(databaseUp, 0)
		return
	}
	put(databaseUp, 1)
	for _, m := range metrics {
		for _, g := range gauges {
			if m.Name != "towpath_"+g.Name {
				continue
			}
			labels := make([]string, len(m.Labels))
			for i, l := range m.Labels {
				labels[i] = g.Labels[l]
			}
			put(m.Name, g.Value, labels...)
		}
	}
}

// database reads the deployment's gauges, or repeats what was read a moment ago.
func (s *scrape) database() ([]store.Gauge, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.read) < readHold {
		return s.gauges, s.err
	}
	ctx, cancel := context.WithTimeout(context.Background(), readFor)
	defer cancel()
	s.gauges, s.err = s.config.Store.Gauges(ctx)
	s.read = time.Now()
	return s.gauges, s.err
}
