package http

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// How long a check may take, and how long its result is good for: whoever asks
// more often than that asks us, not what we depend on.
const (
	healthTimeout = 5 * time.Second
	healthTTL     = time.Second
)

// healthBody says what works. What is not configured is not there.
type healthBody struct {
	Status      string    `json:"status" enum:"ok,degraded"`
	Database    bool      `json:"database"`
	Redis       *bool     `json:"redis,omitempty"`
	ExternalAPI *bool     `json:"external_api,omitempty"`
	Timestamp   time.Time `json:"timestamp" doc:"When this was found out"`
}

// healthCache lets one request check for all that come within healthTTL.
type healthCache struct {
	mu   sync.Mutex
	last healthBody
}

type healthOutput struct {
	Status int
	Body   healthBody
}

type readyOutput struct {
	Status int
	Body   struct {
		Ready bool `json:"ready"`
	}
}

func (s *server) healthRoutes() {
	handle(s, huma.Operation{
		OperationID: "health", Method: http.MethodGet, Path: "/health", Tags: []string{"operations"},
		Summary: "Whether this instance and what it depends on work; 503 if not",
	}, s.healthHandler)
	handle(s, huma.Operation{
		OperationID: "ready", Method: http.MethodGet, Path: "/ready", Tags: []string{"operations"},
		Summary: "Whether this instance wants requests; 503 while it shuts down",
	}, s.ready)
}

func (s *server) healthHandler(ctx context.Context, _ *struct{}) (*healthOutput, error) {
	out := &healthOutput{Status: http.StatusOK, Body: s.checkHealth(ctx)}
	if out.Body.Status != "ok" {
		out.Status = http.StatusServiceUnavailable
	}
	return out, nil
}

// checkHealth does not end with the request that began it: others wait for it.
func (s *server) checkHealth(ctx context.Context) healthBody {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	if time.Since(s.health.last.Timestamp) < healthTTL {
		return s.health.last
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healthTimeout)
	defer cancel()
	b := healthBody{Status: "ok"}
	var wait sync.WaitGroup
	wait.Go(func() { b.Database = s.db.Ping(ctx) == nil })
	if s.cfg.Redis != nil {
		b.Redis = new(bool)
		wait.Go(func() { *b.Redis = s.cfg.Redis.Ping(ctx) == nil })
	}
	if s.cfg.ExternalAPI != "" {
		b.ExternalAPI = new(bool)
		wait.Go(func() { *b.ExternalAPI = s.askExternal(ctx) })
	}
	wait.Wait()
	for _, up := range []*bool{&b.Database, b.Redis, b.ExternalAPI} {
		if up != nil && !*up {
			b.Status = "degraded"
		}
	}
	b.Timestamp = time.Now().UTC().Truncate(time.Millisecond)
	s.health.last = b
	return b
}

func (s *server) askExternal(ctx context.Context) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.cfg.ExternalAPI, nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode < http.StatusBadRequest
}

func (s *server) ready(context.Context, *struct{}) (*readyOutput, error) {
	out := &readyOutput{Status: http.StatusOK}
	out.Body.Ready = !s.draining.Load()
	if !out.Body.Ready {
		out.Status = http.StatusServiceUnavailable
	}
	return out, nil
}
