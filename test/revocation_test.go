package test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/fairway-gateway/fairway/modules/gateway/redistest"
	"github.com/fairway-gateway/fairway/test/process"
)

// Whose account is deleted is refused by the gateway itself, long before the
// token expires: the user service tells it, through Redis or the admin API.
func TestRevocation_DeletedAccountIsRefusedByTheGateway(t *testing.T) {
	t.Run("told through Redis", func(t *testing.T) {
		redis, addr := redistest.Start(t), process.FreeAddr()
		g := startGateway(t, example(t, generous...), "USERS_ADDRESS="+addr, "REDIS_URL="+redis.URL())
		refusesTheDeleted(t, g, startUsersAt(t, addr, "USERS_REDIS_URL="+redis.URL()))
	})
	t.Run("told through the admin API", func(t *testing.T) {
		addr := process.FreeAddr()
		g := startGateway(t, example(t, generous...), "USERS_ADDRESS="+addr)
		refusesTheDeleted(t, g, startUsersAt(t, addr, "USERS_GATEWAY_ADMIN="+g.admin))
	})
}

func refusesTheDeleted(t *testing.T, g *gateway, u *userService) {
	t.Helper()
	awaitKeys(t, g)
	ada, bob := signUp(t, "http://"+u.addr, "ada"), signUp(t, "http://"+u.addr, "bob")
	me := get(g.url + "/api/users/me")
	for _, who := range []account{ada, bob} {
		me.as(who.token).send(t).want(t, http.StatusOK)
		me.as(who.token).send(t).want(t, http.StatusOK).wantHeader(t, "Cache-Status", "; hit")
	}
	request{method: http.MethodDelete, url: me.url, token: ada.token}.send(t).want(t, http.StatusNoContent)

	eventually(t, "refusal of a deleted account by the gateway", func() error {
		a := me.as(ada.token).send(t)
		if by := a.header.Get("Via"); by != "" || a.status != http.StatusUnauthorized {
			return fmt.Errorf("want status 401 without asking the service; %s", a)
		}
		return nil
	})
	me.as(bob.token).send(t).want(t, http.StatusOK)
}
