package gateway

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// StatusOf returns the status that an error of a handler stands for: its own, or
// 500 if it says none.
func StatusOf(err error) int {
	if he, ok := errors.AsType[caddyhttp.HandlerError](err); ok && he.StatusCode != 0 {
		return he.StatusCode
	}
	return http.StatusInternalServerError
}

// StatusWriter remembers the status of a response that goes by.
type StatusWriter struct {
	*caddyhttp.ResponseWriterWrapper
	status int
}

// NewStatusWriter returns a writer to w.
func NewStatusWriter(w http.ResponseWriter) *StatusWriter {
	return &StatusWriter{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}}
}

// WriteHeader notes the first final status; 1xx are not, but for 101.
func (w *StatusWriter) WriteHeader(status int) {
	if w.status == 0 && (status >= http.StatusOK || status == http.StatusSwitchingProtocols) {
		w.status = status
	}
	w.ResponseWriterWrapper.WriteHeader(status)
}

// Final is the status that the client gets, once the handler that was given the
// writer has returned err: what was written or, if an error route has yet to
// write, the error's.
func (w *StatusWriter) Final(err error) int {
	switch {
	case w.status != 0:
		return w.status
	case err == nil:
		return http.StatusOK
	}
	return StatusOf(err)
}
