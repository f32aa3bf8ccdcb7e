package http

import (
	"fmt"
	"testing"
)

func (f *fixture) sessions(path string, header []string) []sessionBody {
	f.t.Helper()
	return decode[struct {
		Sessions []sessionBody `json:"sessions"`
	}](f.t, f.want(200, f.do("GET", path, "", header...))).Sessions
}

func TestSessions_ListAndRevoke(t *testing.T) {
	eachDatabase(t, func(f *fixture) {
		id, ada := f.register("ada@example.com")
		phone := decode[tokenBody](f.t, f.want(200, f.do("POST", "/api/auth/login",
			`{"email":"ada@example.com","password":"`+password+`"}`, "User-Agent", "phone", "X-Forwarded-For", "203.0.113.9")))
		list := f.sessions("/api/users/me/sessions", ada)
		if len(list) != 2 || list[0].UserAgent != "phone" || list[0].IP != "203.0.113.9" {
			f.t.Fatalf("sessions = %+v, want two, the phone's first", list)
		}
		_, bob := f.register("bob@example.com")
		path := fmt.Sprintf("/api/users/%d/sessions", id)
		f.want(403, f.do("GET", path, "", bob...))
		f.want(403, f.do("DELETE", path+"/"+list[0].ID, "", bob...))
		f.want(404, f.do("DELETE", "/api/users/me/sessions/"+list[0].ID, "", bob...))
		f.want(204, f.do("DELETE", path+"/"+list[0].ID, "", ada...))
		f.want(404, f.do("DELETE", path+"/"+list[0].ID, "", ada...))
		f.want(401, f.do("POST", "/api/auth/refresh", `{"refresh_token":"`+phone.RefreshToken+`"}`))
		if list = f.sessions(path, f.admin()); len(list) != 1 {
			f.t.Errorf("an admin sees %+v, want the one session that is left", list)
		}
	})
}

func TestLogoutEverywhere(t *testing.T) {
	eachDatabase(t, func(f *fixture) {
		f.register("ada@example.com")
		tokens := f.tokens("ada@example.com")
		header := []string{"Authorization", "Bearer " + tokens.AccessToken}
		f.want(204, f.do("DELETE", "/api/users/me/sessions", "", header...))
		f.want(401, f.do("GET", "/api/users/me", "", header...))
		f.want(401, f.do("POST", "/api/auth/refresh", `{"refresh_token":"`+tokens.RefreshToken+`"}`))
		f.want(200, f.do("GET", "/api/users/me", "", f.login("ada@example.com")...)) // at once, in the same second
	})
}

// A changed role ends the tokens that say the old one, but not the session.
func TestRoleChange_NeedsANewToken(t *testing.T) {
	eachDatabase(t, func(f *fixture) {
		id, _ := f.register("ada@example.com")
		tokens := f.tokens("ada@example.com")
		f.want(200, f.do("PATCH", fmt.Sprintf("/api/users/%d", id), `{"role":"admin"}`, f.admin()...))
		f.want(401, f.do("GET", "/api/users/me", "", "Authorization", "Bearer "+tokens.AccessToken))
		fresh := decode[tokenBody](f.t, f.want(200, f.do("POST", "/api/auth/refresh", `{"refresh_token":"`+tokens.RefreshToken+`"}`)))
		f.want(200, f.do("GET", "/api/users", "", "Authorization", "Bearer "+fresh.AccessToken))
	})
}
