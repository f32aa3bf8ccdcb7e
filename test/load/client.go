package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"time"
)

// users is how many there are to be read: those of ids 1 to users.
const users = 1000

const password = "correct horse battery"

var client = &http.Client{
	Timeout:   10 * time.Second,
	Transport: &http.Transport{MaxIdleConnsPerHost: 1000, MaxIdleConns: 1000},
}

// send makes one request of the mix to the gateway, as an admin.
func (s *stack) send(ctx context.Context, k kind) sent {
	method, path, body := http.MethodGet, fmt.Sprintf("/api/users/%d", 1+mathrand.IntN(users)), []byte(nil) //nolint:gosec // nothing is to be guessed here
	if k == create {
		method, path = http.MethodPost, "/api/users"
		body = fmt.Appendf(nil, `{"email":"load-%s@example.com","password":%q,"name":"Ada Lovelace","age":36}`, rand.Text(), password)
	}
	r, err := http.NewRequestWithContext(ctx, method, s.gatewayURL+path, bytes.NewReader(body))
	if err != nil {
		return sent{err: err}
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(r)
	if err != nil {
		return sent{err: err}
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return sent{status: resp.StatusCode, retry: resp.Header.Get("Retry-After") != "", err: err}
}

// failure says why the request is an error.
func (s sent) failure() error {
	if s.err != nil {
		return s.err
	}
	return fmt.Errorf("%s: status %d", s.kind, s.status)
}

// login returns an access token.
func login(ctx context.Context, base, email string) (string, error) {
	body := fmt.Appendf(nil, `{"email":%q,"password":%q}`, email, password)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/api/auth/login", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var v struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil || v.Token == "" {
		return "", fmt.Errorf("login answers %s: %w", resp.Status, err)
	}
	return v.Token, nil
}
