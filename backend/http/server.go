package http

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"sync/atomic"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/fairway-gateway/fairway/backend/auth"
	"github.com/fairway-gateway/fairway/backend/sql"
)

// Config is what the API needs.
type Config struct {
	DB   *sql.DB
	Auth *auth.Service
	Log  *slog.Logger
	// OpenRegistration lets anybody create an account. Otherwise only admins can.
	OpenRegistration bool
	// ExternalAPI is a URL that /health asks, with 5 s to answer. Empty: it does not.
	ExternalAPI string
	// Redis is asked by /health. Nil: it is not.
	Redis interface{ Ping(context.Context) error }
	// Letters sends mail that carries tokens.
	Letters Letters
	// TrustedProxies are believed what they say in X-Forwarded-For.
	TrustedProxies []netip.Prefix
	// Metrics is where requests are counted. Nil: they are not.
	Metrics prometheus.Registerer
	// Traces makes a span of each request, below the gateway's if the request says
	// which (W3C Trace Context). Nil: there are none.
	Traces trace.TracerProvider
	// Version is what the OpenAPI document says.
	Version string
}

// Letters is what is asked to send mail. It may take its time, but not the
// caller's.
type Letters interface {
	// SendReset mails a token for a new password to the address, if somebody has it.
	SendReset(ctx context.Context, email string) error
	// SendVerification mails a token that proves the user's address to it.
	SendVerification(ctx context.Context, user int64) error
}

// server holds what the handlers share.
type server struct {
	cfg  Config
	db   *sql.DB
	auth *auth.Service
	log  *slog.Logger
	mux  *http.ServeMux
	api  huma.API

	metrics  *metrics // nil: nothing is counted
	health   healthCache
	draining atomic.Bool
}

// Server is the API. It is safe for concurrent use.
type Server struct {
	http.Handler
	s *server
}

// New returns the API.
func New(c Config) *Server {
	s := &server{cfg: c, db: c.DB, auth: c.Auth, log: c.Log, mux: http.NewServeMux()}
	if c.Metrics != nil {
		s.metrics = newMetrics(c.Metrics)
	}
	s.api = humago.New(s.mux, apiConfig(c.Version))
	s.api.UseMiddleware(s.authenticate)
	s.authRoutes()
	s.userRoutes()
	s.sessionRoutes()
	s.letterRoutes()
	s.exportRoutes()
	s.discoveryRoutes()
	s.healthRoutes()
	h := s.withCall(s.withBody(http.HandlerFunc(s.route)))
	if c.Traces != nil {
		h = traced(h, c.Traces)
	}
	return &Server{Handler: h, s: s}
}

// Drain makes /ready answer that this instance wants no more requests, and every
// answer ask its client to close the connection: whoever still sends requests
// then does so on new ones, which the end of accepting cannot break.
func (s *Server) Drain() { s.s.draining.Store(true) }

// bearer is the name of the security scheme in the OpenAPI document.
const bearer = "bearer"

func apiConfig(version string) huma.Config {
	c := huma.DefaultConfig("Fairway users", version)
	c.Info.Description = "Users, their profiles and their sessions, behind the Fairway gateway."
	c.DocsPath, c.SchemasPath = "", ""
	c.CreateHooks = nil // no $schema members and Link headers in answers
	c.Formats = map[string]huma.Format{"application/json": strictJSON, "json": strictJSON}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		bearer: {Type: "http", Scheme: "bearer", BearerFormat: "JWT"},
	}
	return c
}

var (
	needsBearer = []map[string][]string{{bearer: {}}}
	mayBearer   = []map[string][]string{{}, {bearer: {}}}
)

// handle registers an operation, with our errors instead of huma's.
func handle[I, O any](s *server, op huma.Operation, fn func(context.Context, *I) (*O, error)) {
	op.MaxBodyBytes = -1 // withBody has counted
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := fn(ctx, in)
		if err != nil {
			return nil, s.fail(ctx, err)
		}
		return out, nil
	})
}

// route answers what no operation matches in the shape of every other error.
func (s *server) route(w http.ResponseWriter, r *http.Request) {
	h, pattern := s.mux.Handler(r)
	if pattern != "" {
		callOf(r.Context()).route = pattern
		s.mux.ServeHTTP(w, r)
		return
	}
	verdict := &discard{header: http.Header{}, status: http.StatusNotFound}
	h.ServeHTTP(verdict, r)
	if allow := verdict.header.Get("Allow"); allow != "" {
		w.Header().Set("Allow", allow)
	}
	s.refuseStatus(w, r, verdict.status)
}

// discard keeps only the status and the header of an answer.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }
