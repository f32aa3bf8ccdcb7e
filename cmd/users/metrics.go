package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/fairway-gateway/fairway/backend/auth"
	api "github.com/fairway-gateway/fairway/backend/http"
	"github.com/fairway-gateway/fairway/backend/sql"
)

// newRegistry returns a registry that knows the process.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// observe adds what is asked of the parts when somebody looks.
func observe(r prometheus.Registerer, db *sql.DB, h *auth.Hasher) {
	gauge := func(name, help string, value func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("fairway_users_hashes_running", "Passwords that are being hashed.", func() float64 {
		running, _ := h.Load()
		return float64(running)
	})
	gauge("fairway_users_hashes_max", "How many passwords are hashed at once at most.", func() float64 {
		_, most := h.Load()
		return float64(most)
	})
	gauge("fairway_users_database_connections_busy", "Connections of the pool that are in use.", func() float64 {
		busy, _ := db.Load()
		return float64(busy)
	})
	gauge("fairway_users_database_connections_max", "The size of the pool.", func() float64 {
		_, most := db.Load()
		return float64(most)
	})
	if configured, _ := db.Replica(); configured {
		gauge("fairway_users_database_replica_up", "1 if the replica answered last time, 0 if lists read from the main server.", func() float64 {
			if _, up := db.Replica(); up {
				return 1
			}
			return 0
		})
	}
}

// serveMetrics serves them on an address of their own, until stop is called, and
// has the API count its requests there.
func serveMetrics(ctx context.Context, address string, conf *api.Config) (stop func(), err error) {
	l, err := listen(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("--metrics: %w", err)
	}
	r := newRegistry()
	conf.Metrics = r
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(r, promhttp.HandlerOpts{}))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = srv.Serve(l) }()
	return func() { _ = srv.Close() }, nil
}
