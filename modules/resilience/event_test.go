package resilience

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
)

func init() { caddy.RegisterModule(new(recorder)) }

// recorder notes the events that it is given.
type recorder struct{}

var recorded struct {
	sync.Mutex
	events []string
}

func (*recorder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.recorder", New: func() caddy.Module { return new(recorder) }}
}

func (*recorder) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return nil
}

func (*recorder) Handle(_ context.Context, e caddy.Event) error {
	recorded.Lock()
	defer recorded.Unlock()
	change := []string{}
	for _, key := range []string{"upstream", "from", "to", "reason"} {
		change = append(change, e.Data[key].(string))
	}
	recorded.events = append(recorded.events, strings.Join(change, " "))
	return nil
}

func TestTransport_EmitsEvents(t *testing.T) {
	recorded.events = nil
	o := newOrigin(t, status(500))
	p := startProxy(t, "")
	config, err := adapt("{\nadmin off\nauto_https off\nevents {\non breaker recorder\n}\n}\nhttp://" + p.addr + " {\n" + breakerSite("1ms", o.addr) + "\n}")
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	p.wantStatuses(500, 500, 500, 500, 500)
	o.set(status(200))
	eventually(t, "the breaker closes", func() bool { return p.get("/").status == 200 })
	recorded.Lock()
	defer recorded.Unlock()
	want := []string{o.addr + " closed open failures", o.addr + " open half-open elapsed", o.addr + " half-open closed probe"}
	if len(recorded.events) != 3 || [3]string(recorded.events) != [3]string(want) {
		t.Errorf("events %q, want %q", recorded.events, want)
	}
}

var _ caddyevents.Handler = (*recorder)(nil)
