package health

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"
)

// report is the answer: status, one boolean for each check, a timestamp and,
// for those who may see them, details.
type report struct {
	Status  string // ok, degraded (a check fails that is not needed), unavailable, draining
	checks  []checkReport
	details bool
	at      time.Time
}

type checkReport struct {
	Name      string  `json:"-"`
	Healthy   bool    `json:"healthy"`
	Needed    bool    `json:"needed"`
	LatencyMS float64 `json:"latency_ms"`
	Checked   string  `json:"checked,omitempty"`
	Error     string  `json:"error,omitempty"`
}

func newReport(status string) report { return report{Status: status, at: time.Now()} }

func summarize(checks []*check, found []outcome, details bool) report {
	rep := newReport("ok")
	rep.details = details
	for i, o := range found {
		c := checks[i]
		switch {
		case o.healthy:
		case c.needed:
			rep.Status = "unavailable"
		case rep.Status == "ok":
			rep.Status = "degraded"
		}
		rep.checks = append(rep.checks, c.describe(o))
	}
	return rep
}

func (c *check) describe(o outcome) checkReport {
	r := checkReport{
		Name: c.name, Healthy: o.healthy, Needed: c.needed,
		LatencyMS: float64(o.latency.Microseconds()) / 1000,
	}
	if !o.at.IsZero() {
		r.Checked = o.at.UTC().Format(time.RFC3339Nano)
	}
	if o.err != nil {
		r.Error = reason(o.err)
	}
	return r
}

// reason says in a word from a closed set why a check failed: the error's text
// would tell probers about the network behind the gateway. It is in the log and
// in the admin API.
func reason(err error) string {
	var status statusError
	var netErr net.Error
	var known *failure
	switch {
	case errors.As(err, &known):
		return known.word
	case errors.As(err, &status):
		return status.Error()
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	case isTLS(err):
		return "tls"
	}
	return "unreachable"
}

func isTLS(err error) bool {
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	return errors.As(err, &verify) || errors.As(err, &record) || errors.As(err, &alert)
}

// MarshalJSON keeps the order of the config, which people read by.
func (r report) MarshalJSON() ([]byte, error) {
	b := append([]byte(`{"status":`), strconv.Quote(r.Status)...)
	for _, c := range r.checks {
		name, err := json.Marshal(c.Name)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, ','), name...), ':')
		b = strconv.AppendBool(b, c.Healthy)
	}
	b = append(b, `,"timestamp":"`...)
	b = r.at.UTC().AppendFormat(b, time.RFC3339)
	b = append(b, '"')
	if r.details && len(r.checks) > 0 {
		details := make(map[string]checkReport, len(r.checks))
		for _, c := range r.checks {
			details[c.Name] = c
		}
		text, err := json.Marshal(details)
		if err != nil {
			return nil, err
		}
		b = append(append(b, `,"checks":`...), text...)
	}
	return append(b, '}'), nil
}

func answer(w http.ResponseWriter, r *http.Request, status int, rep report) error {
	body, err := json.Marshal(rep)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		// The prober may have gone; there is nobody left to tell.
		_, _ = w.Write(body)
	}
	return nil
}
