package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/redis/go-redis/v9"
)

// DefaultRedisTimeout bounds a call to Redis unless the config says otherwise.
const DefaultRedisTimeout = 20 * time.Millisecond

// redisOff as the URL means no Redis, so that an environment variable decides.
const redisOff = "off"

// RedisConfig says where the shared Redis is.
type RedisConfig struct {
	// Where Redis is, one of
	//
	//	redis://[user:password@]host[:port][/db]
	//	rediss://…                      the same over TLS
	//	redis+cluster://host,host,…     a Cluster; rediss+cluster over TLS
	//	redis+sentinel://master@host,…  by Sentinel; rediss+sentinel over TLS
	//
	// Cluster and Sentinel take username, password and (Sentinel only)
	// sentinel_username and sentinel_password as query parameters. The word off
	// means no Redis. Placeholders such as {env.REDIS_URL} and {file./run/url}
	// are resolved when the config loads and never shown.
	URL string `json:"url"`

	// How long a request may wait for Redis before it goes on without.
	// Default: 20ms.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// How many connections a Redis node gets at the most. Default: 10 for each
	// processor.
	PoolSize int `json:"pool_size,omitempty"`

	// A PEM file with the authorities that may have signed the certificate of a
	// rediss server. Default: the system's.
	TLSCA string `json:"tls_ca,omitempty"`
}

// redisSettings is a RedisConfig with placeholders resolved and the URL parsed.
type redisSettings struct {
	key     string // what makes two configs share a client; holds secrets
	display string // the URL without its secrets
	timeout time.Duration
	options *redis.UniversalOptions
}

// resolve returns nil settings if the URL is off.
func (c *RedisConfig) resolve() (*redisSettings, error) {
	raw, err := caddy.NewReplacer().ReplaceOrErr(c.URL, true, true)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	if raw == redisOff {
		return nil, nil
	}
	timeout := time.Duration(c.Timeout)
	switch {
	case timeout < 0:
		return nil, fmt.Errorf("timeout must be positive, got %s", timeout)
	case timeout == 0:
		timeout = DefaultRedisTimeout
	}
	if c.PoolSize < 0 {
		return nil, fmt.Errorf("pool_size must be positive, got %d", c.PoolSize)
	}
	options, display, err := parseRedisURL(raw)
	if err != nil {
		return nil, fmt.Errorf("url %q: %w", withoutSecrets(c.URL), err)
	}
	if c.TLSCA != "" {
		if options.TLSConfig == nil {
			return nil, fmt.Errorf("tls_ca %q goes with a rediss URL only", c.TLSCA)
		}
		if options.TLSConfig.RootCAs, err = readAuthorities(c.TLSCA); err != nil {
			return nil, fmt.Errorf("tls_ca: %w", err)
		}
	}
	c.bound(options, timeout)
	key := fmt.Sprintf("%s|%s|%d|%s", raw, timeout, c.PoolSize, c.TLSCA)
	return &redisSettings{key: key, display: display, timeout: timeout, options: options}, nil
}

// bound makes every exchange end within the timeout. A call may have to wait
// for the batch before its own, so one exchange gets half of it.
func (c *RedisConfig) bound(o *redis.UniversalOptions, timeout time.Duration) {
	exchange := max(timeout/2, time.Millisecond)
	o.DialTimeout = timeout
	o.Dialer = dialRedis(o)
	o.ReadTimeout = exchange
	o.WriteTimeout = exchange
	o.PoolTimeout = timeout
	o.ContextTimeoutEnabled = true
	o.PoolSize = c.PoolSize
	// No retries: a repeated charge is a wrong count, and a retry would double
	// the wait. Cluster redirects have a budget of their own.
	o.MaxRetries = -1
	o.DialerRetries = 1
	o.AutoPipelineOptions = redis.DefaultBlockingAutoPipelineOptions()
	o.AutoPipelineOptions.MaxQueuedCommands = maxQueuedCommands
}

// maxQueuedCommands bounds what waits for a Redis that is slower than its users.
const maxQueuedCommands = 10_000

func readAuthorities(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%q holds no PEM certificate", file)
	}
	return pool, nil
}

// withoutSecrets is what of a URL may be shown: where it holds a user or a query,
// which is where passwords are, that is its scheme alone.
func withoutSecrets(url string) string {
	scheme, rest, ok := strings.Cut(url, "://")
	switch {
	case ok && strings.ContainsAny(rest, "@?"):
		return scheme + "://…"
	case strings.Contains(url, "@"):
		return "…"
	}
	return url
}

// errUnescaped is a password that would be taken for a host, path or query; an
// error that named those would show it.
var errUnescaped = errors.New("an @ stands behind a /, ? or #: write the special characters of a password as %40 (@), %2F (/), %3F (?) and %23 (#)")

// parseRedisURL reads the URL forms of RedisConfig.URL. Its errors never repeat
// the URL, which may hold a password.
func parseRedisURL(raw string) (*redis.UniversalOptions, string, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return nil, "", errors.New("want redis://host:port, or off")
	}
	base, mode, _ := strings.Cut(scheme, "+")
	if base != "redis" && base != "rediss" {
		return nil, "", fmt.Errorf("unknown scheme %q: want redis, rediss, redis+cluster or redis+sentinel", scheme)
	}
	// The list of hosts is cut out before url.Parse, which knows only one host.
	authority, tail := cutAuthority(rest)
	if strings.Contains(tail, "@") {
		return nil, "", errUnescaped
	}
	userinfo, hosts := "", authority
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		userinfo, hosts = authority[:i+1], authority[i+1:]
	}
	u, err := url.Parse(base + "://" + userinfo + "hosts" + tail)
	if err != nil || u.Fragment != "" {
		return nil, "", errors.New("malformed user, path or query")
	}
	o := new(redis.UniversalOptions)
	if o.Addrs, err = redisAddresses(hosts, mode); err != nil {
		return nil, "", err
	}
	if base == "rediss" {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		if mode == "" {
			o.TLSConfig.ServerName, _, _ = net.SplitHostPort(o.Addrs[0])
		}
	}
	if err := applyRedisMode(o, mode, u); err != nil {
		return nil, "", err
	}
	return o, scheme + "://" + strings.Join(o.Addrs, ","), nil
}

func cutAuthority(rest string) (authority, tail string) {
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		return rest[:i], rest[i:]
	}
	return rest, ""
}

func redisAddresses(hosts, mode string) ([]string, error) {
	port := "6379"
	if mode == "sentinel" {
		port = "26379"
	}
	var addrs []string
	for host := range strings.SplitSeq(hosts, ",") {
		if host == "" {
			return nil, errors.New("a host is empty")
		}
		if _, p, err := net.SplitHostPort(host); err == nil {
			if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
				return nil, fmt.Errorf("port %q of host %q: want 1 to 65535", p, host)
			}
			addrs = append(addrs, host)
			continue
		}
		bare := strings.Trim(host, "[]")
		if strings.Contains(bare, ":") && net.ParseIP(bare) == nil {
			return nil, fmt.Errorf("host %q: want host or host:port", host)
		}
		addrs = append(addrs, net.JoinHostPort(bare, port))
	}
	return addrs, nil
}

func applyRedisMode(o *redis.UniversalOptions, mode string, u *url.URL) error {
	query := u.Query()
	known := map[string]*string{"username": &o.Username, "password": &o.Password}
	switch mode {
	case "":
		if len(o.Addrs) > 1 {
			return errors.New("several hosts need redis+cluster or redis+sentinel")
		}
		if u.User != nil {
			o.Username = u.User.Username()
			o.Password, _ = u.User.Password()
		}
	case "cluster":
		o.IsClusterMode = true
		if u.User != nil {
			o.Username = u.User.Username()
			o.Password, _ = u.User.Password()
		}
	case "sentinel":
		if o.MasterName = u.User.Username(); o.MasterName == "" {
			return errors.New("the master's name is missing: redis+sentinel://master@host")
		}
		if _, ok := u.User.Password(); ok {
			return errors.New("a password in front of the host: with Sentinel write ?password=… or ?sentinel_password=…")
		}
		known["sentinel_username"] = &o.SentinelUsername
		known["sentinel_password"] = &o.SentinelPassword
	default:
		return fmt.Errorf("unknown mode %q: want cluster or sentinel", mode)
	}
	for name, values := range query {
		field, ok := known[name]
		if !ok {
			return fmt.Errorf("unknown query parameter %q", name)
		}
		*field = values[0]
	}
	return applyRedisDB(o, u.Path)
}

func applyRedisDB(o *redis.UniversalOptions, path string) error {
	db := strings.Trim(path, "/")
	if db == "" {
		return nil
	}
	n, err := strconv.Atoi(db)
	if err != nil || n < 0 {
		return fmt.Errorf("database %q: want a number", db)
	}
	if n > 0 && o.IsClusterMode {
		return fmt.Errorf("database %q: a Cluster has database 0 only", db)
	}
	o.DB = n
	return nil
}

func parsePositive(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n <= 0 {
		return 0, errors.New("want a whole number above 0")
	}
	return n, nil
}
