package http

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"
	"github.com/go-json-experiment/json"

	"github.com/fairway-gateway/fairway/backend"
)

// problem is the body of every error (RFC 9457), with the members of the
// gateway's errors.
type problem struct {
	Type   string `json:"type" doc:"Always about:blank: the status says it all" example:"about:blank"`
	Title  string `json:"title" doc:"The status in words" example:"Bad Request"`
	Status int    `json:"status" doc:"The HTTP status" example:"400"`
	// Reason is the member error.
	Reason    string               `json:"error" doc:"What went wrong, in a fixed phrase" example:"Validation failed"`
	Code      string               `json:"code" doc:"The same as one word, for programs" example:"validation_failed"`
	Details   []backend.FieldError `json:"details,omitempty" doc:"Every wrong field, where fields are wrong"`
	RequestID string               `json:"request_id,omitempty" doc:"The request's X-Request-ID, as the gateway's log has it"`
}

// Error makes a problem what huma wants to be returned.
func (p *problem) Error() string { return p.Reason }

// GetStatus tells huma the status.
func (p *problem) GetStatus() int { return p.Status }

// ContentType tells huma the media type.
func (p *problem) ContentType(string) string { return problemJSON }

const problemJSON = "application/problem+json"

// titles are the words of RFC 9110 where net/http has older ones.
var titles = map[int]string{
	http.StatusRequestEntityTooLarge: "Content Too Large",
	http.StatusUnprocessableEntity:   "Unprocessable Content",
}

// newProblem makes the error for a status. The reason is the title as a sentence,
// the code the reason as a word.
func newProblem(status int, requestID string, details []backend.FieldError) *problem {
	title := titles[status]
	if title == "" {
		title = http.StatusText(status)
	}
	reason := "Validation failed"
	if status != http.StatusBadRequest && title != "" {
		reason = title[:1] + strings.ToLower(title[1:])
	}
	return &problem{
		Type: "about:blank", Title: title, Status: status, Reason: reason,
		Code: strings.ReplaceAll(strings.ToLower(reason), " ", "_"), Details: details, RequestID: requestID,
	}
}

// requiredMark stands before the name of a missing property in huma's message,
// which otherwise names only the object that lacks it.
const requiredMark = "required:"

func init() {
	huma.NewErrorWithContext = func(ctx huma.Context, status int, _ string, errs ...error) huma.StatusError {
		return humaError(callOf(ctx.Context()).requestID, status, errs)
	}
	huma.NewError = func(status int, _ string, errs ...error) huma.StatusError { return humaError("", status, errs) }
	huma.ValidateStrictCasing = true
	validation.MsgExpectedRequiredProperty = requiredMark + "%s"
	validation.MsgExpectedRFC5322Email = "must be an email address%.0v" // swallows the reason
}

// humaError is how huma makes its own errors. What it echoes of the request, a
// password perhaps, is left out.
func humaError(requestID string, status int, errs []error) huma.StatusError {
	if status == http.StatusUnprocessableEntity {
		status = http.StatusBadRequest
	}
	if status >= http.StatusInternalServerError || status == http.StatusUnsupportedMediaType {
		return newProblem(status, requestID, nil)
	}
	var details []backend.FieldError
	seen := map[string]bool{}
	for _, err := range errs {
		f := fieldError(err)
		if !seen[f.Field] {
			seen[f.Field] = true
			details = append(details, f)
		}
	}
	slices.SortFunc(details, func(a, b backend.FieldError) int { return strings.Compare(a.Field, b.Field) })
	if status == http.StatusBadRequest && details == nil {
		details = []backend.FieldError{{Field: "body", Message: "is required"}}
	}
	return newProblem(status, requestID, details)
}

// fieldError turns huma's location ("body.email", "query.limit") into a field.
func fieldError(err error) backend.FieldError {
	var d huma.ErrorDetailer
	if !errors.As(err, &d) {
		return backend.FieldError{Field: "body", Message: "is invalid"}
	}
	detail := d.ErrorDetail()
	field, message := detail.Location, detail.Message
	if at, what, ok := strings.Cut(message, decodeMark); ok {
		field, message = at, what
	}
	if name, ok := strings.CutPrefix(message, requiredMark); ok {
		field, message = field+"."+name, "is required"
	}
	for _, in := range []string{"body.", "query.", "path.", "header."} {
		field = strings.TrimPrefix(field, in)
	}
	return backend.FieldError{Field: field, Message: message}
}

// statuses is the one door from the domain's errors to HTTP.
var statuses = map[backend.Code]int{
	backend.Invalid:            http.StatusBadRequest,
	backend.Unauthenticated:    http.StatusUnauthorized,
	backend.Forbidden:          http.StatusForbidden,
	backend.NotFound:           http.StatusNotFound,
	backend.Conflict:           http.StatusConflict,
	backend.PreconditionFailed: http.StatusPreconditionFailed,
	backend.Reused:             http.StatusUnprocessableEntity,
	backend.Throttled:          http.StatusTooManyRequests,
	backend.Unavailable:        http.StatusServiceUnavailable,
}

// statusError is a problem with its headers, as huma wants it.
type statusError struct {
	*problem
	header http.Header
}

// GetHeaders tells huma the headers.
func (e *statusError) GetHeaders() http.Header { return e.header }

// fail turns any error into what a client is told. Only what is nobody's fault
// but ours is logged as an error.
func (s *server) fail(ctx context.Context, err error) *statusError {
	var e *backend.Error
	if !errors.As(err, &e) {
		e = &backend.Error{Err: err}
	}
	out := &statusError{header: http.Header{}}
	status, known := statuses[e.Code]
	switch {
	case !known && ctx.Err() != nil:
		status = http.StatusServiceUnavailable // the client left: nobody reads this
	case !known:
		status = http.StatusInternalServerError
		s.log.ErrorContext(ctx, "request failed", "error", err, callOf(ctx).attr())
	case e.Code == backend.Unavailable:
		s.log.WarnContext(ctx, "request refused for lack of capacity", "error", err, callOf(ctx).attr())
		out.header.Set("Retry-After", retryAfter(e.RetryAfter))
	case e.Code == backend.Throttled:
		out.header.Set("Retry-After", retryAfter(e.RetryAfter))
	case e.Code == backend.Unauthenticated:
		out.header.Set("WWW-Authenticate", callOf(ctx).challenge())
	}
	out.problem = newProblem(status, callOf(ctx).requestID, e.Fields)
	return out
}

// retryAfter returns whole seconds, at least one (RFC 9110, 10.2.3).
func retryAfter(d time.Duration) string {
	return strconv.Itoa(max(1, int((d+time.Second-1)/time.Second)))
}

// refuse writes an error where huma does not.
func (s *server) refuse(w http.ResponseWriter, e *statusError) {
	maps.Copy(w.Header(), e.header)
	w.Header().Set("Content-Type", problemJSON)
	w.WriteHeader(e.Status)
	_ = json.MarshalWrite(w, e.problem)
}

// refuseStatus is refuse for a status that no handler of ours decided.
func (s *server) refuseStatus(w http.ResponseWriter, r *http.Request, status int, details ...backend.FieldError) {
	s.refuse(w, &statusError{problem: newProblem(status, callOf(r.Context()).requestID, details)})
}
