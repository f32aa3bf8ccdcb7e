package http

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestMetrics_RoutesNotPaths(t *testing.T) {
	r := prometheus.NewRegistry()
	f := onSQLite(t, func(c *Config) { c.Metrics = r })
	_, ada := f.register("ada@example.com")
	for _, path := range []string{"/api/users/1", "/api/users/me", "/nope", "/wp-admin"} {
		f.do("GET", path, "", ada...)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]uint64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			counts[strings.Join(labels, " ")] += m.GetHistogram().GetSampleCount()
		}
	}
	for labels, want := range map[string]uint64{"200 GET /api/users/{id}": 2, "404 other": 2, "201 POST /api/auth/register": 1} {
		if counts[labels] != want {
			t.Errorf("%q counts %d, want %d; all: %v", labels, counts[labels], want, counts)
		}
	}
}
