package main

import "fmt"

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
