package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/fairway-gateway/fairway/test/process"
)

// The gateway finds the service's keys by its discovery document alone.
func TestUsersDiscovery_GatewayFindsTheKeys(t *testing.T) {
	addr := process.FreeAddr()
	u := startUsersAt(t, addr, "USERS_ISSUER=http://"+addr)
	g := startGateway(t, `{
	admin {$FAIRWAY_ADMIN}
	default_bind {$FAIRWAY_BIND}
}
{$FAIRWAY_LISTEN} {
	route {
		jwt_auth {
			issuer http://{$USERS_ADDRESS} {
				discovery
				algorithms ES256
				audience fairway
			}
			header X-User-ID sub
		}
		respond "you are {http.auth.user.id}"
	}
}
`, "USERS_ADDRESS="+addr)
	ada := signUp(t, "http://"+u.addr, "ada")
	eventually(t, "the keys", func() error {
		a, err := get(g.url + "/").as(ada.token).try()
		if err != nil {
			return err
		}
		if want := fmt.Sprintf("you are %d", ada.id); a.status != http.StatusOK || a.body != want {
			return fmt.Errorf("want %q; %s", want, a)
		}
		return nil
	})
	get(g.url+"/").as(ada.token+"x").send(t).want(t, http.StatusUnauthorized)
}

// One trace leads from the gateway's try through the service's request to its SQL.
func TestUsersTraces_GoOnFromTheGateway(t *testing.T) {
	c := startCollector(t)
	u := startUsers(t, c.env()...)
	ada := signUp(t, "http://"+u.addr, "ada")
	g := startGateway(t, `{
	admin {$FAIRWAY_ADMIN}
	default_bind {$FAIRWAY_BIND}
}
{$FAIRWAY_LISTEN} {
	tracing {
		span gateway
	}
	reverse_proxy {$USERS_ADDRESS} {
		transport resilient
	}
}
`, append(c.env(), "USERS_ADDRESS="+u.addr)...)
	const caller = "5af7651916cd43dd8448eb211c80319c"
	get(g.url+"/api/users/me").as(ada.token).with("Traceparent", "00-"+caller+"-b7ad6b7169203331-01").send(t).want(t, http.StatusOK)
	spans := c.trace(t, caller, 5)
	byID := map[string]*tracepb.Span{}
	var request *tracepb.Span
	for _, s := range spans {
		byID[string(s.SpanId)] = s
		if s.Name == "GET /api/users/{id}" {
			request = s
		}
	}
	if request == nil {
		t.Fatalf("no span of the service:\n%s", drawTrace(spans))
	}
	if parent := byID[string(request.ParentSpanId)]; parent == nil || parent.Name != "upstream" {
		t.Errorf("the service's span is not below the gateway's try:\n%s", drawTrace(spans))
	}
	statements := 0
	for _, s := range spans {
		if bytes.Equal(s.ParentSpanId, request.SpanId) {
			statements++
		}
	}
	if statements < 2 {
		t.Errorf("%d statements are below the service's span:\n%s", statements, drawTrace(spans))
	}
}

// The commands work on the data of a service that runs.
func TestUsersCommands_BesideAServiceThatRuns(t *testing.T) {
	u := startUsers(t)
	signUp(t, "http://"+u.addr, "ada")
	dir := u.spec.Dir
	for _, args := range [][]string{
		{"migrate"},
		{"seed", "10"},
		{"keys", "rotate", "--force"},
		{"admin", "create", "--email", "root@example.com", "--name", "Root", "--password-stdin"},
		{"jobs", "list", "--state", "all"},
		{"backup", dir + "/copy.db"},
		{"export"},
	} {
		onData(t, dir, "", args...)
	}
	root := accessToken(t, u, "root@example.com") // signed by the key of after the rotation
	var list struct{ Users []json.RawMessage }
	get("http://"+u.addr+"/api/users").as(root).send(t).want(t, http.StatusOK).into(t, &list)
	if len(list.Users) != 12 {
		t.Errorf("there are %d users, want ada, ten and the admin", len(list.Users))
	}
}
