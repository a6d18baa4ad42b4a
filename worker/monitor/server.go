package monitor

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// checkFor is how long one look at readiness may take.
const checkFor = 3 * time.Second

// Handler answers /metrics, /healthz and /readyz.
func (m *Monitor) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, map[string]string{}) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), checkFor)
		defer cancel()
		code, found := http.StatusOK, map[string]string{}
		for name, check := range m.config.Checks {
			found[name] = "ok"
			if err := check(ctx); err != nil {
				code, found[name] = http.StatusServiceUnavailable, err.Error()
			}
		}
		answer(w, code, found)
	})
	return mux
}

func answer(w http.ResponseWriter, code int, found map[string]string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(struct {
		OK     bool              `json:"ok"`
		Checks map[string]string `json:"checks,omitempty"`
	}{code == http.StatusOK, found})
}

// Listen opens an address: HOST:PORT, or a port of the loopback interface alone.
func Listen(address string) (net.Listener, error) {
	if _, err := strconv.ParseUint(address, 10, 16); err == nil {
		address = net.JoinHostPort("127.0.0.1", address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		// Not wrapped: a network error of the node's own start means the database to whoever looks at it.
		return nil, fmt.Errorf("monitor: %v: choose another address for TOWPATH_MONITOR, HOST:PORT or a port", err)
	}
	return l, nil
}

// Serve answers on a listener until ctx ends.
func (m *Monitor) Serve(ctx context.Context, l net.Listener, log *slog.Logger) {
	server := &http.Server{Handler: m.Handler(), ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); ctx.Err() == nil {
		log.Error("nobody answers for metrics any more", "error", err)
	}
}
