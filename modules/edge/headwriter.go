package edge

import (
	"io"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// headWriter has the last word on a response's header: amend sees it right
// before it is sent, after everything that upstreams and caches put there.
type headWriter struct {
	caddyhttp.ResponseWriterWrapper
	amend func(http.Header)
	wrote bool
}

func newHeadWriter(w http.ResponseWriter, amend func(http.Header)) *headWriter {
	return &headWriter{ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, amend: amend}
}

// WriteHeader is called for every header that is sent, 1xx and final.
func (w *headWriter) WriteHeader(status int) {
	w.amend(w.Header())
	w.wrote = w.wrote || status >= http.StatusOK || status == http.StatusSwitchingProtocols
	w.ResponseWriterWrapper.WriteHeader(status)
}

func (w *headWriter) Write(p []byte) (int, error) {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriterWrapper.Write(p)
}

// ReadFrom keeps the way open for sendfile and splice.
func (w *headWriter) ReadFrom(src io.Reader) (int64, error) {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriterWrapper.ReadFrom(src)
}
