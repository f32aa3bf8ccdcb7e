package edge

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func TestLogSample_LeavesOutSuccessesOnly(t *testing.T) {
	for name, c := range map[string]struct {
		percent, drawn float64
		status         int
		err            error
		skipped        bool
	}{
		"a success that is drawn":     {10, 0.09, 200, nil, false},
		"a success that is not":       {10, 0.10, 204, nil, true},
		"none are wanted":             {0, 0, 200, nil, true},
		"all are wanted":              {100, 0.999, 200, nil, false},
		"a client's mistake":          {0, 0.5, 404, nil, false},
		"an upstream's failure":       {0, 0.5, 502, nil, false},
		"an error that is to be told": {0, 0.5, 0, caddyhttp.Error(429, errors.New("no")), false},
	} {
		t.Run(name, func(t *testing.T) {
			h := &LogSample{Percent: c.percent}
			if err := h.Provision(caddy.Context{}); err != nil {
				t.Fatal(err)
			}
			h.draw = func() float64 { return c.drawn }
			w := httptest.NewRecorder()
			r := caddyhttp.PrepareRequest(httptest.NewRequest("GET", "/", nil), caddy.NewReplacer(), w, new(caddyhttp.Server))
			err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
				if c.status != 0 {
					w.WriteHeader(c.status)
				}
				return c.err
			}))
			skipped, _ := caddyhttp.GetVar(r.Context(), caddyhttp.LogSkipVar).(bool)
			if skipped != c.skipped || !errors.Is(err, c.err) {
				t.Errorf("skipped %v, error %v; want %v", skipped, err, c.skipped)
			}
		})
	}
}

func TestLogSample_Caddyfile(t *testing.T) {
	for text, want := range map[string]string{
		"log_sample 1%": "", "log_sample 0.5%": "", "log_sample": "wrong argument count", "log_sample 1% 2%": "wrong argument count",
		"log_sample 1": `log_sample: "1"`, "log_sample 101%": `log_sample: "101%"`, "log_sample NaN%": `log_sample: "NaN%"`,
	} {
		err := new(LogSample).UnmarshalCaddyfile(caddyfile.NewTestDispenser(text))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if err := (&LogSample{Percent: 101}).Provision(caddy.Context{}); err == nil {
		t.Error("101 percent is taken")
	}
}
