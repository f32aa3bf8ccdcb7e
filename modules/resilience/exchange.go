package resilience

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap/zapcore"
)

// varExchange is the request variable that holds the *exchange.
const varExchange = "fairway.resilience"

// exchange is what the handler, the selection policy and the transport of one
// request tell each other. One goroutine at a time uses it.
type exchange struct {
	// pool and policy come from the last selection; without `lb_policy
	// resilient` they are missing.
	pool   reverseproxy.UpstreamPool
	policy *Policy

	// writer is where the response goes. The transport only ends reads of the
	// request's body through it.
	writer http.ResponseWriter

	// header is the client's response header: a transport cannot reach it in
	// another way, but a refusal has to carry Retry-After.
	header http.Header

	// attempts is how many tries reached for an upstream so far.
	attempts int

	// breaker is the state of the breaker that was asked last.
	breaker State

	// priority is the request's class, once the handler has found it out.
	priority Priority

	// retryAfter says that the header holds a Retry-After of ours.
	retryAfter bool

	// bounds are the handler's, if it has a timeout.
	bounds bounds

	// What most requests need once, in one piece with the rest.
	call call
	try  try
	race race
}

// bounds are when all tries of a request end.
type bounds struct {
	// whole ends when the total timeout has passed; nil without one.
	whole *scope

	// deadline is when that will be.
	deadline time.Time
}

// exchangeOf returns the exchange of a request, or nil if the request is none
// of a client's: active health checks carry no request variables.
func exchangeOf(ctx context.Context) *exchange { return exchangeIn(varsOf(ctx)) }

// varsOf returns the request variables, or nil.
func varsOf(ctx context.Context) map[string]any {
	vars, _ := ctx.Value(caddyhttp.VarsCtxKey).(map[string]any)
	return vars
}

// exchangeIn returns the exchange among request variables.
func exchangeIn(vars map[string]any) *exchange {
	if vars == nil {
		return nil
	}
	if ex, ok := vars[varExchange].(*exchange); ok {
		return ex
	}
	ex := &exchange{priority: Normal}
	vars[varExchange] = ex
	return ex
}

// newTry returns a try that has not been used.
func (ex *exchange) newTry() *try {
	if ex.try.t == nil {
		return &ex.try
	}
	return new(try)
}

// newRace returns a race that has not been used.
func (ex *exchange) newRace() *race {
	if ex.race.t == nil {
		return &ex.race
	}
	return new(race)
}

// MarshalLogObject implements zapcore.ObjectMarshaler, for the access log.
func (ex *exchange) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	enc.AddInt("upstream_attempts", ex.attempts)
	enc.AddString("breaker", ex.breaker.String())
	return nil
}

// advise sets Retry-After for a refusal, in whole seconds and at least one.
func (ex *exchange) advise(wait time.Duration) {
	if ex.header == nil {
		return
	}
	ex.header.Set("Retry-After", retryAfter(wait))
	ex.retryAfter = true
}

// unadvise takes the advice back when another try follows.
func (ex *exchange) unadvise() {
	if ex.retryAfter {
		ex.header.Del("Retry-After")
		ex.retryAfter = false
	}
}

// stick sets cookies in the client's response, in place of those of the same name
// that an earlier selection has set (RFC 6265, 4.1.1: one of a name).
func (ex *exchange) stick(cookies []string) {
	for _, cookie := range cookies {
		name, _, _ := strings.Cut(cookie, "=")
		others := slices.DeleteFunc(ex.header["Set-Cookie"], func(set string) bool {
			return strings.HasPrefix(set, name+"=")
		})
		ex.header["Set-Cookie"] = append(others, cookie)
	}
}

func retryAfter(wait time.Duration) string {
	seconds := (wait + time.Second - 1) / time.Second
	return strconv.FormatInt(int64(max(1, seconds)), 10)
}

// dialAddress returns what names an upstream: its dial address as configured,
// with placeholders replaced.
func dialAddress(ctx context.Context, dial string) string {
	if !strings.Contains(dial, "{") {
		return dial
	}
	repl, ok := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return dial
	}
	return repl.ReplaceAll(dial, "")
}

var _ zapcore.ObjectMarshaler = (*exchange)(nil)
