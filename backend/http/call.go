package http

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/fairway-gateway/fairway/backend"
)

// maxBody bounds a request's body. No field of ours needs a tenth of it.
const maxBody = 64 << 10

// call is one request, as the handlers and the log need to know it.
type call struct {
	requestID string
	userAgent string
	clientIP  string
	route     string // what it matched, "" for nothing
	bearer    bool   // it came with a token
	user      *backend.Principal
}

type callKey struct{}

// callOf returns the call that ctx belongs to. Outside of one it is empty.
func callOf(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{}
}

func (c *call) attr() slog.Attr { return slog.String("request_id", c.requestID) }

// challenge is the WWW-Authenticate of a refusal (RFC 6750, 3).
func (c *call) challenge() string {
	if c.bearer {
		return `Bearer realm="users", error="invalid_token"`
	}
	return `Bearer realm="users"`
}

// withCall makes the call, logs it when it is over, and turns a panic into a 500.
func (s *server) withCall(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{requestID: requestID(r), userAgent: r.UserAgent(), clientIP: s.clientIP(r)}
		r = r.WithContext(context.WithValue(r.Context(), callKey{}, c))
		rec := &recorder{ResponseWriter: w, status: http.StatusOK}
		w.Header().Set("Cache-Control", "no-store") // unless the answer says otherwise
		if s.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		began := time.Now()
		if s.metrics != nil {
			s.metrics.running.Inc()
		}
		defer func() {
			if p := recover(); p != nil {
				if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					s.over(r, c, rec, time.Since(began))
					panic(p)
				}
				s.log.Error("a handler panicked", "panic", p, "stack", string(debug.Stack()), c.attr())
				if !rec.wrote {
					s.refuseStatus(rec, r, http.StatusInternalServerError)
				}
			}
			s.over(r, c, rec, time.Since(began))
		}()
		next.ServeHTTP(rec, r)
	})
}

// requestID returns the id that the gateway gave the request, "" for none or for
// one that no gateway of ours would give.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	odd := func(c rune) bool { return c <= ' ' || c > '~' }
	if len(id) > 128 || strings.ContainsFunc(id, odd) {
		return ""
	}
	return id
}

// over counts and logs a request that is over.
func (s *server) over(r *http.Request, c *call, rec *recorder, took time.Duration) {
	if s.metrics != nil {
		s.metrics.running.Dec()
		s.metrics.observe(c, rec.status, took)
	}
	s.logCall(r, c, rec, took)
}

// logCall writes the access log. The query is left out: it is where people put
// secrets that belong in headers.
func (s *server) logCall(r *http.Request, c *call, rec *recorder, took time.Duration) {
	level := slog.LevelInfo
	if isProbe(r.URL.Path) {
		level = slog.LevelDebug
	}
	attrs := []slog.Attr{
		slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Int("status", rec.status),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000), slog.Int64("bytes", rec.bytes),
		slog.String("client_ip", c.clientIP), c.attr(),
	}
	if c.user != nil {
		attrs = append(attrs, slog.Int64("user_id", c.user.ID))
	}
	if id := nameSpan(r, c); id != "" {
		attrs = append(attrs, slog.String("trace_id", id))
	}
	s.log.LogAttrs(context.WithoutCancel(r.Context()), level, "request", attrs...)
}

// clientIP believes X-Forwarded-For only from a trusted proxy, and of that only
// the last address, the one the proxy itself added.
func (s *server) clientIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	peer, err := netip.ParseAddr(host)
	if err != nil || !s.trusted(peer.Unmap()) {
		return host
	}
	forwarded := r.Header.Values("X-Forwarded-For")
	if len(forwarded) == 0 {
		return host
	}
	last := forwarded[len(forwarded)-1]
	last = strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
	if ip, err := netip.ParseAddr(last); err == nil {
		return ip.Unmap().String()
	}
	return host
}

func (s *server) trusted(ip netip.Addr) bool {
	for _, p := range s.cfg.TrustedProxies {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// withBody reads the body before anything else looks at it, so that one that is
// too long, broken or slow is the client's error and not ours.
func (s *server) withBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body == nil || r.Body == http.NoBody {
			next.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		var tooLong *http.MaxBytesError
		var network net.Error
		switch {
		case errors.As(err, &tooLong):
			s.refuseStatus(w, r, http.StatusRequestEntityTooLarge)
		case errors.As(err, &network) && network.Timeout():
			s.refuseStatus(w, r, http.StatusRequestTimeout)
		case err != nil:
			s.refuseStatus(w, r, http.StatusBadRequest, backend.FieldError{Field: "body", Message: "cannot be read"})
		default:
			r.Body = io.NopCloser(bytes.NewReader(body))
			// Media types are the same in any case (RFC 9110, 8.3.1); huma's are not.
			r.Header.Set("Content-Type", strings.ToLower(r.Header.Get("Content-Type")))
			next.ServeHTTP(w, r)
		}
	})
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
	wrote  bool
}

// WriteHeader remembers the first final status.
func (r *recorder) WriteHeader(status int) {
	if !r.wrote && status >= http.StatusOK {
		r.status, r.wrote = status, true
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write counts.
func (r *recorder) Write(b []byte) (int, error) {
	r.wrote = true
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach what is below.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
