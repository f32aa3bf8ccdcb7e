package http

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/fairway-gateway/fairway/backend"
	"github.com/fairway-gateway/fairway/backend/export"
)

// pageDeadline is how long a client may take for a page of an export. There is no
// limit to the whole of it.
const pageDeadline = 30 * time.Second

type exportInput struct {
	Since  string        `query:"since" maxLength:"40" doc:"Only users created then or later: a date or a time of RFC 3339" example:"2026-01-31"`
	Format export.Format `query:"format" enum:"csv,ndjson" default:"csv"`

	since time.Time
}

// Resolve reads the time.
func (in *exportInput) Resolve(ctx huma.Context) []error {
	errs := checkQuery(ctx)
	if in.Since == "" {
		return errs
	}
	var ok bool
	if in.since, ok = parseSince(in.Since); !ok {
		errs = append(errs, &huma.ErrorDetail{Location: "query.since", Message: "must be like 2026-01-31 or 2026-01-31T12:00:00Z"})
	}
	return errs
}

func parseSince(s string) (t time.Time, ok bool) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil && t.Year() >= 1970 {
			return t, true
		}
	}
	return t, false
}

type exportOutput struct {
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	Body        func(huma.Context)
}

func (s *server) exportRoutes() {
	op := huma.Operation{
		OperationID: "export-users", Method: http.MethodGet, Path: "/api/users/export",
		Summary: "Stream all users, newest first: id, email, name, created_at (admins only)", Description: onlyTheseParameters,
		RejectUnknownQueryParameters: true,
		Tags:                         []string{"users"}, Security: needsBearer, Errors: []int{400, 401, 403, 503},
		Responses: map[string]*huma.Response{"200": {
			Description: "The users",
			Content:     map[string]*huma.MediaType{"text/csv": {}, "application/x-ndjson": {}},
		}},
	}
	handle(s, op, s.export)
}

func (s *server) export(ctx context.Context, in *exportInput) (*exportOutput, error) {
	if !me(ctx).IsAdmin() {
		return nil, backend.Fail(backend.Forbidden, "only an admin may export users")
	}
	e, err := export.Begin(ctx, s.db, in.Format, in.since)
	if err != nil {
		return nil, err
	}
	return &exportOutput{
		ContentType: in.Format.ContentType(),
		Disposition: `attachment; filename="users.` + string(in.Format) + `"`,
		Body:        func(hc huma.Context) { s.stream(hc, e) },
	}, nil
}

// stream writes the export. Once it has begun, an error can only be told by
// breaking off, so that nobody takes a part for the whole.
func (s *server) stream(hc huma.Context, e *export.Export) {
	r, w := humago.Unwrap(hc)
	if r.Method == http.MethodHead {
		return // net/http would read all users and throw them away
	}
	rc := http.NewResponseController(w)
	extend := func() error {
		if err := rc.Flush(); err != nil {
			return err
		}
		return rc.SetWriteDeadline(time.Now().Add(pageDeadline))
	}
	_ = rc.SetWriteDeadline(time.Now().Add(pageDeadline))
	if err := e.Write(r.Context(), w, extend); err != nil {
		s.log.WarnContext(r.Context(), "an export broke off", "error", err, callOf(r.Context()).attr())
		panic(http.ErrAbortHandler)
	}
}
