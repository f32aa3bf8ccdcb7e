package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
)

func jwtOn(alg string) string {
	return fmt.Sprintf(`	jwt_auth {
		issuer %s {
			algorithms %s
			audience %s
			key {file.KEYS/%[2]s.key}
		}
	}
`, issuer, alg, audience)
}

func jwtScenario() Scenario {
	s := Scenario{
		Name:       "jwt",
		Question:   "a proxied request whose token is verified",
		Baseline:   caddyProxy,
		Contenders: proxyPair(Request{Token: "RS256"}),
	}
	for _, alg := range []string{"HS256", "RS256", "ES256"} {
		s.Contenders = append(s.Contenders, Contender{
			Name: "fairway jwt_auth " + alg, Server: Fairway,
			Config: inRoute(jwtOn(alg), plainProxy), Request: Request{Token: alg},
		})
	}
	return s
}

// jwtUsersScenario is what verification adds to a route when each request has
// another user's token.
func jwtUsersScenario() Scenario {
	const without = "fairway, route without jwt_auth"
	users := Request{Token: "RS256", Users: 10_000}
	return Scenario{
		Name:     "jwt-users",
		Question: "a proxied request with the RS256 tokens of 10,000 users in turn; at most 1.10",
		Baseline: without,
		Contenders: []Contender{
			{Name: without, Server: Fairway, Config: inRoute(plainProxy), Request: users},
			{
				Name: "fairway jwt_auth RS256, 10k users", Server: Fairway,
				Config: inRoute(jwtOn("RS256"), plainProxy), Request: users,
			},
		},
	}
}

// meetUsers sends the token of each user once, so that a measurement is about
// tokens that were seen before, however few requests the warm-up was.
func (l *lab) meetUsers(ctx context.Context, r Request, url string) error {
	if r.Users == 0 || l.Short {
		return nil
	}
	list, err := os.ReadFile(filepath.Join(l.dir, usersFile))
	if err != nil {
		return err
	}
	tokens := bytes.Fields(list)
	const senders = 8
	failed := make([]error, senders)
	var sending sync.WaitGroup
	for i := range senders {
		part := tokens[i*len(tokens)/senders : (i+1)*len(tokens)/senders]
		sending.Go(func() { failed[i] = sendEach(ctx, part, url+r.path()) })
	}
	sending.Wait()
	return errors.Join(failed...)
}

func sendEach(ctx context.Context, tokens [][]byte, url string) error {
	client := &http.Client{Transport: new(http.Transport)}
	defer client.CloseIdleConnections()
	for _, token := range tokens {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+string(token))
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("the token of a user was answered %d", resp.StatusCode)
		}
	}
	return nil
}
