package resilience

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// Names that reverse_proxy uses and does not export.
const (
	dialInfoKey = caddy.CtxKey("reverse_proxy.dial_info")

	proxyProtocolVar = "reverse_proxy.proxy_protocol_info"
	h1OnlyVar        = "reverse_proxy.tls_h1_only"
)

// target is an upstream that a request may go to.
type target struct {
	u     *Upstream
	proxy *reverseproxy.Upstream
	dial  reverseproxy.DialInfo

	// cookies, as values of Set-Cookie, make the client's later requests come
	// here, too: for `policy cookie`, if another upstream was selected first.
	cookies []string
}

// target returns the target that an upstream of the pool stands for.
func (t *Transport) target(ctx context.Context, proxy *reverseproxy.Upstream) (target, bool) {
	address := dialAddress(ctx, proxy.Dial)
	addr, err := caddy.ParseNetworkAddress(address)
	if err != nil || addr.PortRangeSize() != 1 {
		return target{}, false
	}
	return target{
		u:     t.group.Upstream(address, t.settings, time.Now()),
		proxy: proxy,
		dial: reverseproxy.DialInfo{
			Upstream: proxy,
			Network:  addr.Network,
			Address:  addr.JoinHostPort(0),
			Host:     addr.Host,
			Port:     strconv.Itoa(int(addr.StartPort)),
		},
	}, true
}

// redirect points a request at this target instead of the one that
// reverse_proxy has selected. A Host header that named the first upstream names
// this one; other headers stay as they were made for the first. Where connections
// belong to one client (perClient), the URL says to whom.
func (to target) redirect(req *http.Request, first target, perClient bool) *http.Request {
	clone := req.WithContext(context.WithValue(req.Context(), dialInfoKey, to.dial))
	clone.URL = new(url.URL)
	*clone.URL = *req.URL
	clone.URL.Scheme = "" // the wrapped transport decides by the port
	clone.URL.Host = to.dial.Address
	if info, ok := caddyhttp.GetVar(req.Context(), proxyProtocolVar).(reverseproxy.ProxyProtocolInfo); ok && perClient {
		clone.URL.Host = url.QueryEscape(info.AddrPort.String() + "->" + to.dial.Address)
	}
	if req.Host == first.dial.Address {
		clone.Host = to.dial.Address
	}
	return clone
}

// show makes placeholders and logs name this upstream as the one that answered.
func (to target) show(ctx context.Context) {
	repl, ok := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return
	}
	repl.Set("http.reverse_proxy.upstream.address", to.dial.String())
	repl.Set("http.reverse_proxy.upstream.hostport", to.dial.Address)
	repl.Set("http.reverse_proxy.upstream.host", to.dial.Host)
	repl.Set("http.reverse_proxy.upstream.port", to.dial.Port)
}
