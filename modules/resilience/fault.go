package resilience

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// headerFault marks a response that was made up by a fault.
const headerFault = "Fairway-Fault"

// FaultConfig makes upstreams seem to fail, for drills. It is refused unless
// the global option `fairway { allow_faults }` is set.
type FaultConfig struct {
	// The status that is answered instead of asking the upstream. Default:
	// none.
	Abort int `json:"abort,omitempty"`

	// The share of tries that are answered so. Required with Abort.
	AbortShare Percent `json:"abort_share,omitempty"`

	// How long a try waits before it is sent. Default: none.
	Delay caddy.Duration `json:"delay,omitempty"`

	// The share of tries that wait. Required with Delay.
	DelayShare Percent `json:"delay_share,omitempty"`

	// The only upstream that is concerned, as it is dialed. Default: all.
	Upstream string `json:"upstream,omitempty"`
}

func (f *FaultConfig) validate() error {
	switch {
	case f == nil:
		return nil
	case f.Abort == 0 && f.Delay == 0:
		return errors.New("fault: needs abort or delay")
	case f.Abort != 0 && (f.Abort < 200 || f.Abort > 599):
		return fmt.Errorf("fault: abort must be a status from 200 to 599, got %d", f.Abort)
	case (f.Abort != 0) != (f.AbortShare > 0):
		return fmt.Errorf("fault: abort needs a status and a share, got %d and %s", f.Abort, f.AbortShare)
	case f.Delay < 0:
		return fmt.Errorf("fault: delay must be positive, got %s", time.Duration(f.Delay))
	case (f.Delay != 0) != (f.DelayShare > 0):
		return fmt.Errorf("fault: delay needs a time and a share, got %s and %s", time.Duration(f.Delay), f.DelayShare)
	}
	return nil
}

// roundTrip sends a request, unless a fault comes in between. It is what the
// breaker and the retries see, so a drill shows what they do.
func (t *Transport) roundTrip(req *http.Request, u *Upstream) (*http.Response, error) {
	f := t.Fault
	if f == nil || f.Upstream != "" && f.Upstream != u.dial {
		return t.HTTP.RoundTrip(req)
	}
	if rand.Float64() < f.DelayShare.Share() {
		if err := wait(req, time.Duration(f.Delay)); err != nil {
			return nil, err
		}
	}
	if rand.Float64() < f.AbortShare.Share() {
		return f.aborted(req), nil
	}
	return t.HTTP.RoundTrip(req)
}

func wait(req *http.Request, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-req.Context().Done():
		return req.Context().Err()
	}
}

// aborted returns the response of an upstream that was not asked.
func (f *FaultConfig) aborted(req *http.Request) *http.Response {
	return &http.Response{
		Status:     strconv.Itoa(f.Abort) + " " + http.StatusText(f.Abort),
		StatusCode: f.Abort,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     http.Header{headerFault: []string{"abort"}},
		Body:       http.NoBody,
		Request:    req,
	}
}

// unmarshalCaddyfile reads the block:
//
//	fault {
//		abort    <status> <percent>
//		delay    <duration> <percent>
//		upstream <dial address>
//	}
func (f *FaultConfig) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := map[string]bool{}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if seen[option] {
			return d.Errf("fault: %s is given twice", option)
		}
		seen[option] = true
		if err := f.unmarshalOption(d, option, d.RemainingArgs()); err != nil {
			return err
		}
	}
	return nil
}

func (f *FaultConfig) unmarshalOption(d *caddyfile.Dispenser, option string, values []string) error {
	var err error
	switch {
	case option == "abort" && len(values) == 2:
		if err = parseCount(values[0], &f.Abort); err == nil {
			err = parsePositivePercent(values[1], &f.AbortShare)
		}
	case option == "delay" && len(values) == 2:
		if err = parseDuration(values[0], &f.Delay); err == nil {
			err = parsePositivePercent(values[1], &f.DelayShare)
		}
	case option == "upstream" && len(values) == 1:
		f.Upstream = values[0]
	case option == "abort", option == "delay", option == "upstream":
		return d.ArgErr()
	default:
		return d.Errf("fault: unknown option %q", option)
	}
	if err != nil {
		return d.Errf("fault: %s: %v", option, err)
	}
	return nil
}
