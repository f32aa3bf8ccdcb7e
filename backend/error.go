package backend

import (
	"errors"
	"strings"
	"time"
)

// Code says what kind of failure an Error is. Each kind has one HTTP status.
type Code string

// The kinds of failure a caller can tell apart.
const (
	Invalid            Code = "invalid"             // the input breaks a rule; Fields says which
	Unauthenticated    Code = "unauthenticated"     // nobody, or not who they say
	Forbidden          Code = "forbidden"           // somebody, but not allowed
	NotFound           Code = "not_found"           // no such thing
	Conflict           Code = "conflict"            // it exists already
	PreconditionFailed Code = "precondition_failed" // it changed since it was read
	Reused             Code = "reused"              // an idempotency key of another request
	Throttled          Code = "throttled"           // too often; try again after RetryAfter
	Unavailable        Code = "unavailable"         // try again after RetryAfter
)

// Error is a failure that a client may be told about. Err, the cause, is for
// the log and never leaves the service.
type Error struct {
	Code    Code
	Message string
	// Fields lists every wrong field of the input, for Invalid.
	Fields []FieldError
	// RetryAfter is when it makes sense to try again, for Throttled and Unavailable.
	RetryAfter time.Duration
	Err        error
}

// FieldError is what is wrong with one field, in words for a person.
type FieldError struct {
	Field   string `json:"field" doc:"The name of the field, with dots between levels" example:"email"`
	Message string `json:"message" doc:"What is wrong with it" example:"must be an email address"`
}

// Error describes the failure for the log.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	for _, f := range e.Fields {
		b.WriteString("; " + f.Field + " " + f.Message)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Fail returns an error of the given kind.
func Fail(code Code, message string) *Error { return &Error{Code: code, Message: message} }

// InvalidFields returns the Invalid error for fields, or nil when there are none.
func InvalidFields(fields []FieldError) error {
	if len(fields) == 0 {
		return nil
	}
	return &Error{Code: Invalid, Message: "validation failed", Fields: fields}
}

// Busy returns the Unavailable error for a resource that is exhausted.
func Busy(what string, retry time.Duration, cause error) *Error {
	return &Error{Code: Unavailable, Message: what + " is busy", RetryAfter: retry, Err: cause}
}

// ErrorCode returns the kind of err, or "" when err is not an *Error.
func ErrorCode(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
