package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	netmail "net/mail"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairway-gateway/fairway/backend/analytics"
	"github.com/fairway-gateway/fairway/backend/auth"
	api "github.com/fairway-gateway/fairway/backend/http"
	"github.com/fairway-gateway/fairway/backend/job"
	"github.com/fairway-gateway/fairway/backend/mail"
	"github.com/fairway-gateway/fairway/backend/revoke"
	"github.com/fairway-gateway/fairway/backend/sql"
)

// keepAlive is the TCP keep-alive: a peer that vanished is noticed after a few
// of these.
const keepAlive = 10 * time.Second

// serveFlags are the options of users serve.
type serveFlags struct {
	*databaseFlags
	listen         string
	issuer         string
	audience       string
	registration   string
	externalAPI    string
	trustedProxies string
	keyAge         time.Duration
	drainDelay     time.Duration
	shutdownLimit  time.Duration
	metrics        string
	analytics      string
	jobTimeout     time.Duration
	publicURL      string
	redisURL       string
	gatewayAdmin   string
	smtpURL        string
	mailFrom       string
	testArgon2     bool
}

func serveCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{Use: "serve", Short: "Migrate the database and serve the API", Args: cobra.NoArgs}
	e := &environment{getenv: getenv, flags: cmd.Flags()}
	f := &serveFlags{databaseFlags: addDatabaseFlags(e)}
	e.text(&f.listen, "listen", "USERS_LISTEN", "127.0.0.1:8081", "address to serve on")
	e.text(&f.issuer, "issuer", "USERS_ISSUER", "https://fairway.example", "iss claim of access tokens")
	e.text(&f.audience, "audience", "USERS_AUDIENCE", "fairway", "aud claim of access tokens")
	e.text(&f.registration, "registration", "USERS_REGISTRATION", "open", "who may create accounts: open or admin")
	e.text(&f.externalAPI, "external-api", "USERS_EXTERNAL_API", "", "URL that /health also asks")
	e.text(&f.trustedProxies, "trusted-proxies", "USERS_TRUSTED_PROXIES", "127.0.0.0/8,::1/128", "networks whose X-Forwarded-For is believed, comma-separated")
	e.duration(&f.keyAge, "key-age", "USERS_KEY_AGE", 30*24*time.Hour, "how long a key signs tokens before the next one does; 0 leaves it to users keys rotate")
	e.duration(&f.drainDelay, "drain-delay", "USERS_DRAIN_DELAY", 0, "how long a shutdown fails /ready before it stops accepting")
	e.duration(&f.shutdownLimit, "shutdown-timeout", "USERS_SHUTDOWN_TIMEOUT", 30*time.Second, "how long a shutdown may take before what still runs is broken off, with exit code 1")
	e.text(&f.analytics, "analytics", "USERS_ANALYTICS", "", "folder for events, a file of JSON lines a day, or off; without one it is analytics in the data folder")
	e.duration(&f.jobTimeout, "job-timeout", "USERS_JOB_TIMEOUT", job.Timeout, "how long one attempt of a job may take; twice that after a crash, another takes it over")
	e.text(&f.redisURL, "redis-url", "USERS_REDIS_URL", "", "the gateways' Redis, where they hear of revoked tokens")
	cmd.Flags().Lookup("redis-url").DefValue = "" // it may hold a password
	e.text(&f.gatewayAdmin, "gateway-admin", "USERS_GATEWAY_ADMIN", "", "a gateway's admin API, like http://localhost:2019, that hears of revoked tokens where there is no Redis")
	e.text(&f.smtpURL, "smtp-url", "USERS_SMTP_URL", "", "mail server, as smtp://user:password@host:587 or smtps://…; without one, mail goes to the maildir mail in the data folder")
	cmd.Flags().Lookup("smtp-url").DefValue = "" // it may hold a password
	e.text(&f.metrics, "metrics", "USERS_METRICS", "", "address to serve Prometheus metrics on, at /metrics; without one there are none")
	e.text(&f.publicURL, "public-url", "USERS_PUBLIC_URL", "http://127.0.0.1:8080", "where the front end is, whose pages /verify-email and /reset-password mail links to")
	e.text(&f.mailFrom, "mail-from", "USERS_MAIL_FROM", "Fairway <no-reply@fairway.example>", "sender of mail")
	e.toggle(&f.testArgon2, "insecure-test-argon2", "USERS_INSECURE_TEST_ARGON2", "FOR TESTS ONLY: hash passwords so cheaply that they are not protected")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := e.err(); err != nil {
			return err
		}
		log := slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), nil))
		return serve(cmd.Context(), f, log)
	}
	return cmd
}

// serve runs until ctx ends, and then for as long as draining takes.
func serve(ctx context.Context, f *serveFlags, log *slog.Logger) error {
	conf, err := f.apiConfig()
	if err != nil {
		return err
	}
	conf.Log, f.config.Log = log, log
	f.config.Exclusive = true
	// The listener comes first: a port in use is found out before anything is done.
	listener, err := listen(ctx, f.listen)
	if err != nil {
		return err
	}
	defer listener.Close()
	if f.metrics != "" {
		stop, err := serveMetrics(ctx, f.metrics, &conf)
		if err != nil {
			return err
		}
		defer stop()
	}
	if tracing(f.env.getenv) {
		traces, err := openTraces(ctx, log)
		if err != nil {
			return err
		}
		defer flushTraces(traces, log)
		conf.Traces, f.config.Traces = traces, traces
	}
	sender, err := f.sender()
	if err != nil {
		return err
	}
	gateways, err := f.gateways()
	if err != nil {
		return err
	}
	if c, ok := gateways.(io.Closer); ok {
		defer c.Close()
	}
	s, err := start(ctx, f, conf, sender, gateways)
	if err != nil {
		return err
	}
	return s.run(ctx, listener, f)
}

func (f *serveFlags) apiConfig() (api.Config, error) {
	c := api.Config{ExternalAPI: f.externalAPI, Version: version()}
	switch f.registration {
	case "open":
		c.OpenRegistration = true
	case "admin":
	default:
		return c, fmt.Errorf("--registration: must be open or admin, got %q", f.registration)
	}
	if u, err := url.Parse(f.externalAPI); f.externalAPI != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return c, fmt.Errorf("--external-api: must be an http or https URL, got %q", f.externalAPI)
	}
	if f.shutdownLimit <= f.drainDelay {
		return c, fmt.Errorf("--shutdown-timeout: must be longer than --drain-delay (%s), got %s", f.drainDelay, f.shutdownLimit)
	}
	if f.jobTimeout < time.Second {
		return c, fmt.Errorf("--job-timeout: must be at least 1s, got %s", f.jobTimeout)
	}
	if f.keyAge != 0 && f.keyAge < time.Hour {
		return c, fmt.Errorf("--key-age: must be 0 or at least 1h, got %s", f.keyAge)
	}
	if u, err := url.Parse(f.publicURL); err != nil || u.Host == "" {
		return c, fmt.Errorf("--public-url: must be a URL like https://www.example.com, got %q", f.publicURL)
	}
	for p := range strings.SplitSeq(f.trustedProxies, ",") {
		if p = strings.TrimSpace(p); p == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(p)
		if err != nil {
			return c, fmt.Errorf("--trusted-proxies: %q is not a network like 10.0.0.0/8", p)
		}
		c.TrustedProxies = append(c.TrustedProxies, prefix)
	}
	return c, nil
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: keepAlive, Interval: keepAlive}}
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening on %q: %w", address, err)
	}
	return l, nil
}

func start(ctx context.Context, f *serveFlags, conf api.Config, sender mail.Sender, gateways revoke.Gateways) (_ *service, err error) {
	db, err := openMigrated(ctx, f.config)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			db.Close()
		}
	}()
	keys, err := auth.OpenKeys(ctx, db, time.Now)
	if err != nil {
		return nil, err
	}
	conf.Auth = f.accounts(db, keys, conf.Log)
	workers := &job.Workers{Timeout: f.jobTimeout, Mailer: &job.Mailer{DB: db, Sender: sender, Tokens: conf.Auth, PublicURL: strings.TrimSuffix(f.publicURL, "/")}}
	if f.analytics != "off" {
		events, err := analytics.NewFolder(cmp.Or(f.analytics, filepath.Join(f.config.Dir, "analytics")))
		if err != nil {
			return nil, fmt.Errorf("--analytics: %w", err)
		}
		workers.Analyst = &job.Analyst{Events: events}
	}
	if gateways != nil {
		workers.Revoker = &job.Revoker{Gateways: gateways, Issuer: f.issuer}
	}
	jobs, err := job.New(db, workers, conf.Log)
	if err != nil {
		return nil, err
	}
	db.SetOutbox(jobs.Note)
	if r, ok := gateways.(*revoke.Redis); ok {
		conf.Redis = r
	}
	conf.DB, conf.Letters = db, jobs
	if conf.Metrics != nil {
		observe(conf.Metrics, db, conf.Auth.Hasher)
	}
	return &service{db: db, keys: keys, api: api.New(conf), jobs: jobs, log: conf.Log}, nil
}

// accounts returns what knows passwords and tokens.
func (f *serveFlags) accounts(db *sql.DB, keys *auth.Keys, log *slog.Logger) *auth.Service {
	cost := auth.DefaultCost
	if f.testArgon2 {
		cost = auth.TestCost
		log.Warn("passwords are hashed at the test cost: they are not protected")
	}
	return &auth.Service{
		DB: db, Hasher: auth.NewHasher(cost), Log: log, Now: time.Now,
		Issuer: &auth.Issuer{Keys: keys, Name: f.issuer, Audience: f.audience, Now: time.Now},
	}
}

// sender returns how mail leaves.
func (f *serveFlags) sender() (mail.Sender, error) {
	a, err := netmail.ParseAddress(f.mailFrom)
	if err != nil {
		return nil, fmt.Errorf("--mail-from: %q is not like Name <address>", f.mailFrom)
	}
	from := mail.From{Name: a.Name, Address: a.Address, Domain: a.Address[strings.LastIndexByte(a.Address, '@')+1:]}
	if f.smtpURL == "" {
		return mail.NewMaildir(filepath.Join(f.config.Dir, "mail"), from)
	}
	s, err := mail.NewSMTP(f.smtpURL, from)
	if err != nil {
		return nil, fmt.Errorf("--smtp-url: %w", err)
	}
	return s, nil
}

// gateways returns how gateways hear of revoked tokens, nil if they do not.
func (f *serveFlags) gateways() (revoke.Gateways, error) {
	switch {
	case f.redisURL != "" && f.gatewayAdmin != "":
		return nil, errors.New("--redis-url and --gateway-admin: only one can be told of revoked tokens")
	case f.redisURL != "":
		r, err := revoke.NewRedis(f.redisURL)
		if err != nil {
			return nil, fmt.Errorf("--redis-url: %w", err)
		}
		return r, nil
	case f.gatewayAdmin != "":
		a, err := revoke.NewAdmin(f.gatewayAdmin)
		if err != nil {
			return nil, fmt.Errorf("--gateway-admin: %w", err)
		}
		return a, nil
	}
	return nil, nil
}
