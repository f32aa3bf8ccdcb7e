package validate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"time"
)

// refusal is the answer to a request that goes no further.
type refusal struct {
	status  int
	code    string // what `problem` shows as "error"
	outcome string // the metric's label
	issues  []Issue
	err     error // for the log, never for the client
}

func (r *refusal) Error() string { return r.err.Error() }

func invalid(outcome string, issues ...Issue) *refusal {
	for i := range issues {
		if issues[i].Field == "" {
			issues[i].Message = "the body " + issues[i].Message
		}
	}
	return &refusal{
		status: http.StatusBadRequest, code: "Validation failed", outcome: outcome, issues: issues,
		err: fmt.Errorf("request is not valid: %d errors", len(issues)),
	}
}

// bodyReader reads a body as a whole, within bounds of size and time.
type bodyReader struct {
	max     int64
	timeout time.Duration
}

// hasBody tells whether a body comes with the request: RFC 9112, 6.3.
func hasBody(r *http.Request) bool {
	return r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0
}

// read returns the body's bytes. A declared length that is too large is
// refused before a byte is read, so that no client is told to continue.
func (b bodyReader) read(w http.ResponseWriter, r *http.Request) ([]byte, *refusal) {
	if r.ContentLength > b.max {
		return nil, b.tooLarge()
	}
	clear := b.limitTime(w)
	var buf bytes.Buffer
	if r.ContentLength > 0 {
		buf.Grow(int(min(r.ContentLength, 64<<10)) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(http.MaxBytesReader(w, r.Body, b.max))
	if err != nil {
		return nil, b.explain(err)
	}
	clear()
	return buf.Bytes(), nil
}

// limitTime bounds how long the client may take for its body. Where the server
// cannot do that, as in a test's recorder, only the size is bounded.
func (b bodyReader) limitTime(w http.ResponseWriter) (clear func()) {
	ctl := http.NewResponseController(w)
	if b.timeout <= 0 || ctl.SetReadDeadline(time.Now().Add(b.timeout)) != nil {
		return func() {}
	}
	return func() { _ = ctl.SetReadDeadline(time.Time{}) }
}

func (b bodyReader) tooLarge() *refusal {
	return &refusal{
		status: http.StatusRequestEntityTooLarge, code: "Content too large", outcome: "too_large",
		err: fmt.Errorf("body is larger than %d bytes", b.max),
	}
}

func (b bodyReader) explain(err error) *refusal {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return b.tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &refusal{
			status: http.StatusRequestTimeout, code: "Request timeout", outcome: "timeout",
			err: fmt.Errorf("body did not arrive within %s", b.timeout),
		}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return invalid("malformed", Issue{Message: "ends before its declared length"})
	}
	return invalid("malformed", Issue{Message: "could not be read"})
}

// plainCoding refuses a body with a content coding: it would have to be decoded
// to be checked, and what goes on would be another.
func plainCoding(w http.ResponseWriter, h http.Header) *refusal {
	c := strings.ToLower(strings.TrimSpace(strings.Join(h.Values("Content-Encoding"), ",")))
	if c == "" || c == "identity" {
		return nil
	}
	w.Header().Set("Accept-Encoding", "identity") // RFC 7694, section 3
	return unsupported(fmt.Errorf("content coding %q", c))
}

func unsupported(err error) *refusal {
	return &refusal{
		status: http.StatusUnsupportedMediaType, code: "Unsupported media type",
		outcome: "unsupported_type", err: err,
	}
}

// replaceBody makes body what the next handler reads, however the client had
// framed it. A digest of what the client sent no longer fits a changed body
// (RFC 9530).
func replaceBody(r *http.Request, body []byte, changed bool) {
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.ContentLength = int64(len(body))
	r.TransferEncoding = nil
	r.Trailer = nil
	r.Header.Set("Content-Length", fmt.Sprint(len(body)))
	r.Header.Del("Expect")
	if changed {
		for _, digest := range []string{"Content-Digest", "Repr-Digest", "Digest", "Content-Md5"} {
			r.Header.Del(digest)
		}
	}
}

// largeBody is the size from which a body waits for its turn to be checked.
const largeBody = 16 << 10

// turns bounds how many large bodies are in pieces at once. Checking keeps a
// processor busy and needs many times the body's memory, so more at a time
// would be no faster, only larger. One processor is left for everybody else.
var turns = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1))

// turn waits until a body of this size may be checked.
func turn(ctx context.Context, size int) (done func(), err error) {
	if size < largeBody {
		return func() {}, nil
	}
	select {
	case turns <- struct{}{}:
		return func() { <-turns }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
