package sql

import (
	"context"
	"database/sql/driver"
	"strings"

	"github.com/XSAM/otelsql"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Spans tell statements, which hold placeholders only, and never their values. A
// statement that belongs to no traced request, such as those by which the job
// queue looks for work, has none.

func traced(ctx context.Context) bool { return trace.SpanContextFromContext(ctx).IsValid() }

var (
	systemSQLite   = attribute.String("db.system.name", "sqlite")
	systemPostgres = attribute.String("db.system.name", "postgresql")
)

// spanOptions are how otelsql traces SQLite.
func spanOptions(p trace.TracerProvider) []otelsql.Option {
	return []otelsql.Option{
		otelsql.WithTracerProvider(p), otelsql.WithAttributes(systemSQLite),
		otelsql.WithSpanOptions(otelsql.SpanOptions{
			OmitConnResetSession: true, OmitConnPrepare: true, OmitRows: true, DisableErrSkip: true,
			SpanFilter: func(ctx context.Context, _ otelsql.Method, _ string, _ []driver.NamedValue) bool { return traced(ctx) },
		}),
	}
}

// queryTracer does the same for PostgreSQL.
type queryTracer struct{ tracer trace.Tracer }

func newQueryTracer(p trace.TracerProvider) *queryTracer {
	return &queryTracer{p.Tracer("github.com/fairway-gateway/fairway/backend/sql")}
}

// TraceQueryStart is called before a statement.
func (t *queryTracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	if !traced(ctx) {
		return ctx
	}
	verb, _, _ := strings.Cut(strings.TrimSpace(d.SQL), " ")
	ctx, _ = t.tracer.Start(ctx, strings.ToUpper(verb), trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(systemPostgres, attribute.String("db.query.text", d.SQL)))
	return context.WithValue(ctx, spanKey{}, trace.SpanFromContext(ctx))
}

type spanKey struct{}

// TraceQueryEnd is called after it, with what TraceQueryStart returned.
func (t *queryTracer) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryEndData) {
	span, ok := ctx.Value(spanKey{}).(trace.Span)
	if !ok {
		return
	}
	if d.Err != nil {
		span.RecordError(d.Err)
		span.SetStatus(codes.Error, "")
	}
	span.End()
}

var _ pgx.QueryTracer = (*queryTracer)(nil)
