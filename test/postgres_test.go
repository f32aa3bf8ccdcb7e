package test

import (
	"net/http"
	"testing"

	"github.com/fairway-gateway/fairway/backend/sql/pgtest"
)

// Two user services on one PostgreSQL are one to the gateway: users, tokens and
// keys of the one are good at the other.
func TestPostgres_TwoUserServicesShareUsersAndKeys(t *testing.T) {
	database := "DATABASE_URL=" + pgtest.Database(t)
	first, second := startUsers(t, database), startUsers(t, database)
	g := startGateway(t, example(t), "USERS_ADDRESS="+first.addr)
	awaitKeys(t, g)
	ada := signUp(t, "http://"+second.addr, "ada")
	me := get(g.url + "/api/users/me").as(ada.token)
	me.send(t).want(t, http.StatusOK)
	me.send(t).want(t, http.StatusOK).wantHeader(t, "Cache-Status", "; hit")

	if err := first.Stop(stopGrace); err != nil {
		t.Fatal(err)
	}
	get("http://"+second.addr+"/api/users/me").as(ada.token).send(t).want(t, http.StatusOK)
	post("http://"+second.addr+"/api/auth/register", `{"email":"ada@example.com","password":"correct horse","name":"Ada"}`).
		send(t).wantProblem(t, http.StatusConflict, "Conflict")
}
