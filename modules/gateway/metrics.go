package gateway

import (
	"errors"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// RegisterMetrics registers collectors with the metrics registry of the config
// that is being provisioned. Every load of a config has a fresh registry, so
// call it in every Provision with the same package-level collectors; a
// collector that is already there is left as it is.
func RegisterMetrics(ctx caddy.Context, cs ...prometheus.Collector) error {
	registry := ctx.GetMetricsRegistry()
	if registry == nil {
		return nil
	}
	for _, c := range cs {
		var already prometheus.AlreadyRegisteredError
		if err := registry.Register(c); err != nil && !errors.As(err, &already) {
			return err
		}
	}
	return nil
}
