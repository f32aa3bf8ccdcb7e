package validate

import (
	"fmt"
	"mime"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

const (
	// DefaultMaxResponse is the largest answer in bytes that is checked unless
	// the config says otherwise.
	DefaultMaxResponse = 1 << 20

	// maxCopies is how many bytes of answers are held at once, by all handlers.
	maxCopies = 64 << 20

	// maxWaiting is how many answers wait to be checked at once.
	maxWaiting = 128

	// shadowLogInterval is how often one operation writes a line about faults.
	shadowLogInterval = 10 * time.Second

	// maxLoggedFields bounds the fields that one line names.
	maxLoggedFields = 10
)

// copied counts the bytes of answers that are held.
var copied atomic.Int64

// waiting has a place for each answer that waits or is checked, oneCheck one for
// the answer that is checked: nobody waits for the result, so one at a time must
// do.
var (
	waiting  = make(chan struct{}, maxWaiting)
	oneCheck = make(chan struct{}, 1)
)

// shadow compares answers with the document, and changes none of them.
type shadow struct {
	max int64
	log *zap.Logger
}

// serve passes the request on and has the answer checked after it was written.
func (s *shadow) serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, declared *responses) error {
	t := newTee(w, s.max, r.Method == http.MethodHead)
	ended := false
	defer func() {
		if !ended { // reverse_proxy panics to abort an answer; the panic goes on
			t.release()
			answers.WithLabelValues("aborted").Inc()
		}
	}()
	err := next.ServeHTTP(t, r)
	ended = true
	s.after(t, err, declared)
	return err
}

// after decides what becomes of an answer that has been written.
func (s *shadow) after(t *tee, err error, declared *responses) {
	outcome := ""
	switch {
	case t.status == 0 || t.skip: // 0: an error that problem is going to answer, or nothing
		outcome = "skipped"
	case err != nil || t.failed:
		outcome = "aborted"
	default:
		outcome = s.enqueue(t, declared)
	}
	if outcome == "" {
		return // the check counts, and gives the copy back
	}
	t.release()
	answers.WithLabelValues(outcome).Inc()
}

// enqueue starts the check unless too many wait already.
func (s *shadow) enqueue(t *tee, declared *responses) (outcome string) {
	select {
	case waiting <- struct{}{}:
	default:
		return "busy"
	}
	go func() {
		defer func() { <-waiting }()
		oneCheck <- struct{}{}
		defer func() { <-oneCheck }()
		defer t.release()
		s.check(t, declared)
	}()
	return ""
}

// check counts what an answer is. It runs outside any request, where a panic
// would end the process.
func (s *shadow) check(t *tee, declared *responses) {
	outcome := "failed"
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("checking a response failed", zap.String("operation", declared.operation),
				zap.String("panic", fmt.Sprintf("%T", v)), zap.ByteString("stack", debug.Stack()))
		}
		answers.WithLabelValues(outcome).Inc()
	}()
	a := &answered{status: t.status, header: t.header, body: t.copy, wrote: t.wrote, unread: t.unread}
	a.media, _, _ = mime.ParseMediaType(t.header.Get("Content-Type"))
	result, issues := declared.check(a)
	outcome = result
	if outcome != "valid" && outcome != a.unread {
		s.report(declared, a, outcome, issues)
	}
}

// report writes a line: which fields, never what was in them.
func (s *shadow) report(declared *responses, a *answered, outcome string, issues []Issue) {
	before, ok := declared.mayLog(time.Now(), shadowLogInterval)
	if !ok {
		return
	}
	fields := make([]string, 0, maxLoggedFields)
	for _, issue := range issues[:min(len(issues), maxLoggedFields)] {
		fields = append(fields, issue.Field)
	}
	s.log.Warn("a response is not what the openapi document says",
		zap.String("operation", declared.operation), zap.Int("status", a.status), zap.String("outcome", outcome),
		zap.Strings("fields", fields), zap.Int("errors", len(issues)), zap.Int64("not_logged_before", before))
}
