package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/fairway-gateway/fairway/modules/gateway/redistest"
)

const secretsConfig = `
{
	admin {$FAIRWAY_ADMIN}
	debug
	log default {
		format filter {
			wrap json
			request>uri query {
				replace access_token REDACTED
			}
			request>headers>Referer delete
		}
	}
	fairway {
		redis {env.SECRET_REDIS_URL}
	}
}
{$FAIRWAY_LISTEN} {
	log {
		format filter {
			wrap json
			request>uri query {
				replace access_token REDACTED
			}
			request>headers>Referer delete
		}
	}
	health /health {
		http partner {env.SECRET_HEALTH_URL}
		redis
		details private_ranges
	}
	route {
		metrics /metrics
		jwt_auth {
			issuer https://secrets.example {
				key {env.SECRET_KEY}
				algorithms HS256
				audience any
			}
		}
		rate_limit {
			zone users {
				key {http.auth.user.id}
				events 1000
				window 15m
			}
		}
		cache {
			ttl 1m
		}
		resilience {
			timeout 5s
		}
		reverse_proxy {$ORIGIN} {
			transport resilient {
				breaker 5 failures open 60s
			}
		}
	}
	handle_errors {
		problem
	}
}
`

// Keys, passwords, tokens and bodies are in no log, even at debug level, in no
// answer of the admin API and in no metric.
func TestSecrets_AreShownNowhere(t *testing.T) {
	const key, redisPassword, body = "key-that-nobody-may-see-0123456789abcdef", "redis-password-9f3b", "body-that-nobody-may-see"
	const queryToken, cookie, urlPassword = "query-token-4c1d", "cookie-value-77aa", "url-password-b51e"
	redis, o := redistest.Start(t), startOrigin(t)
	if err := redis.Client().ConfigSet(t.Context(), "requirepass", redisPassword).Err(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ORIGIN", o.addr)
	g := startGateway(t, secretsConfig,
		"SECRET_KEY="+key, "SECRET_REDIS_URL=redis://:"+redisPassword+"@"+redis.Addr(),
		"SECRET_HEALTH_URL=http://partner:"+urlPassword+"@"+startDeadEnd(t, "").addr+"/health?key="+urlPassword)

	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": "https://secrets.example", "sub": "ada", "exp": time.Now().Add(time.Hour).Unix(),
	}).SignedString([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	signature := token[strings.LastIndex(token, ".")+1:]
	forged := token[:len(token)-len(signature)] + strings.Repeat("B", len(signature)-1) + "A"

	get(g.url+"/cached/a").as(token).send(t).want(t, http.StatusOK)
	post(g.url+"/plain", fmt.Sprintf(`{"password":%q}`, body)).as(token).send(t).want(t, http.StatusOK)
	get(g.url+"/cached/a").as(forged).send(t).want(t, http.StatusUnauthorized)
	r := get(g.url+"/cached/d?access_token="+queryToken).as(token).with("Cookie", "session="+cookie).
		with("Referer", g.url+"/page?access_token="+queryToken)
	r.send(t).want(t, http.StatusOK)
	refusals := get(g.url+"/cached/e").as(forged).with("Cookie", "session="+cookie).send(t).body +
		get(g.url+"/cached/e").with("Authorization", "Basic "+cookie).send(t).body
	redis.Kill()
	get(g.url+"/cached/b").as(token).send(t).want(t, http.StatusOK)
	get(g.url+"/cached/c").as(token).send(t).want(t, http.StatusOK)

	health := get(g.url+"/health").send(t).want(t, http.StatusServiceUnavailable).body
	shown := map[string]string{
		"/health":   health,
		"/config/":  g.config(),
		"/fairway/": get(g.admin+"/fairway/").send(t).want(t, http.StatusOK).body,
		"refusals":  refusals,
		"/metrics":  get(g.url+"/metrics").send(t).want(t, http.StatusOK).body,
	}
	if err := g.Stop(stopGrace); err != nil {
		t.Error(err)
	}
	shown["the log"] = g.Log()
	if !strings.Contains(shown["the log"], "/cached/b") {
		t.Errorf("the access log has no line of a request:\n%s", g.LogTail(20))
	}
	for where, text := range shown {
		for what, secret := range map[string]string{
			"the signing key": key, "the Redis password": redisPassword, "a request body": body,
			"a password in a URL": urlPassword,
			"a token in a query":  queryToken, "a cookie": cookie,
			"a token": signature, "a forged token": strings.Repeat("B", len(signature)-1),
		} {
			if strings.Contains(text, secret) {
				at := strings.Index(text, secret)
				t.Errorf("%s shows %s: …%.300s", where, what, text[max(0, at-200):])
			}
		}
	}
}
