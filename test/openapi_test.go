package test

import (
	"net/http"
	"testing"
)

// The gateway validates by the document that the user service itself offers:
// what the service accepts passes, and what it would refuse does not reach it.
func TestOpenAPI_TheServicesOwnDocumentValidates(t *testing.T) {
	g, u := startExample(t, generous...)
	awaitKeys(t, g)
	eventually(t, "the document", func() error {
		return tryStatus(post(g.url+"/api/auth/login", `{"email":"nobody@example.com","password":"wrong wrong"}`), http.StatusUnauthorized)
	})
	ada := signUp(t, g.url, "ada")
	me := get(g.url + "/api/users/me").as(ada.token)
	me.send(t).want(t, http.StatusOK)
	me.send(t).want(t, http.StatusOK).wantHeader(t, "Cache-Status", "; hit")
	patch := request{method: http.MethodPatch, url: me.url, token: ada.token}
	patch.body = `{"name":"Ada Lovelace","age":36,"profile":{"bio":null,"location":"London"}}`
	patch.send(t).want(t, http.StatusOK)

	// The service is gone: who answers now is the gateway.
	u.Kill()
	patch.body = `{"name":"A","age":7}`
	bad := patch.send(t).wantProblem(t, http.StatusBadRequest, "Validation failed")
	if got := bad.fields(); len(got) != 2 || got[0] != "age" || got[1] != "name" {
		t.Errorf("details name %v, want age and name", got)
	}
	post(g.url+"/api/auth/register", `{"email":"x"}`).send(t).wantProblem(t, http.StatusBadRequest, "Validation failed")
}
