// Package revoke tells the gateways which access tokens are no longer good: by
// the Redis that they share, or, without one, by the admin API of one gateway.
package revoke

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Gateways hear of revoked tokens. Telling them twice is telling them once.
type Gateways interface {
	// RevokeSubject refuses every token of the issuer and the subject that was
	// issued at notBefore or earlier. The gateways may forget it after until.
	RevokeSubject(ctx context.Context, issuer, subject string, notBefore, until time.Time) error
}

// name is of both the sorted set, which gateways read when they start, and of the
// channel, which they listen on.
const name = "fairway:jwt:revoked"

// Redis tells every gateway that uses the same Redis. It is safe for concurrent use.
type Redis struct{ client *redis.Client }

// NewRedis returns a Redis for a URL like redis://127.0.0.1:6379/0. It does not
// connect yet.
func NewRedis(address string) (*Redis, error) {
	o, err := redis.ParseURL(address)
	if err != nil {
		return nil, fmt.Errorf("reading the Redis URL: %w", withoutURL(err))
	}
	return &Redis{redis.NewClient(o)}, nil
}

// withoutURL drops what net/url says about the URL it could not read: it quotes
// the password.
func withoutURL(err error) error {
	if u, ok := err.(*url.Error); ok { //nolint:errorlint // ParseURL returns it bare
		return u.Err
	}
	return err
}

// RevokeSubject stores the revocation, for gateways to come, and announces it.
func (r *Redis) RevokeSubject(ctx context.Context, issuer, subject string, notBefore, until time.Time) error {
	member, err := json.Marshal([]any{"sub", issuer, subject, notBefore.Unix()})
	if err != nil {
		return err
	}
	score := until.Unix()
	_, err = r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.ZAdd(ctx, name, redis.Z{Score: float64(score), Member: member})
		p.Publish(ctx, name, strconv.FormatInt(score, 10)+" "+string(member))
		return nil
	})
	return err
}

// Ping reports whether Redis answers.
func (r *Redis) Ping(ctx context.Context) error { return r.client.Ping(ctx).Err() }

// Close closes the connections.
func (r *Redis) Close() error { return r.client.Close() }

// Admin tells one gateway by its admin API. It is safe for concurrent use.
type Admin struct {
	url    string
	client *http.Client
}

// NewAdmin returns an Admin for a URL like http://localhost:2019.
func NewAdmin(address string) (*Admin, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is not the URL of an admin API, like http://localhost:2019", address)
	}
	return &Admin{url: strings.TrimSuffix(address, "/"), client: &http.Client{Timeout: 10 * time.Second}}, nil
}

// RevokeSubject asks the gateway, which keeps the revocation over restarts.
func (a *Admin) RevokeSubject(ctx context.Context, issuer, subject string, notBefore, until time.Time) error {
	body, err := json.Marshal(map[string]any{"iss": issuer, "sub": subject, "not_before": notBefore.Unix(), "until": until.Unix()})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url+"/fairway/jwt_auth/revoke", bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := a.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
		return fmt.Errorf("the gateway answered %s: %s", resp.Status, why)
	}
	return nil
}

var (
	_ Gateways = (*Redis)(nil)
	_ Gateways = (*Admin)(nil)
)
