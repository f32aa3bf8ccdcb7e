package revoke

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fairway-gateway/fairway/modules/gateway/redistest"
)

var (
	notBefore = time.Unix(1764000000, 0)
	until     = time.Unix(1764003660, 0)
)

func TestRedis_StoresAndAnnounces(t *testing.T) {
	server := redistest.Start(t)
	store := server.Client()
	r, err := NewRedis(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	heard := r.client.Subscribe(t.Context(), name)
	defer heard.Close()
	if _, err := heard.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // telling twice is telling once
		if err := r.RevokeSubject(t.Context(), "https://fairway.example", "42", notBefore, until); err != nil {
			t.Fatal(err)
		}
	}
	const want = `["sub","https://fairway.example","42",1764000000]`
	if members, err := store.ZRange(t.Context(), name, 0, -1).Result(); err != nil || len(members) != 1 || members[0] != want {
		t.Errorf("the set holds %v, %v, want %s", members, err, want)
	}
	if score, err := store.ZScore(t.Context(), name, want).Result(); err != nil || score != 1764003660 {
		t.Errorf("the score is %v, %v", score, err)
	}
	m, err := heard.ReceiveMessage(t.Context())
	if err != nil || m.Payload != "1764003660 "+want {
		t.Errorf("the message is %v, %v", m, err)
	}
	server.Kill()
	if err := r.RevokeSubject(t.Context(), "i", "42", notBefore, until); err == nil {
		t.Error("a dead Redis was told")
	}
}

func TestAdmin_Asks(t *testing.T) {
	status := http.StatusOK
	var got map[string]any
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "POST" || r.URL.Path != "/fairway/jwt_auth/revoke" {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		_ = json.NewDecoder(r.Body).Decode(&got)
		w.WriteHeader(status)
	}))
	defer gateway.Close()
	a, err := NewAdmin(gateway.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.RevokeSubject(t.Context(), "https://fairway.example", "42", notBefore, until); err != nil {
		t.Fatal(err)
	}
	if got["iss"] != "https://fairway.example" || got["sub"] != "42" || got["not_before"] != 1764000000.0 || got["until"] != 1764003660.0 {
		t.Errorf("the gateway was told %v", got)
	}
	status = http.StatusBadRequest
	if err := a.RevokeSubject(t.Context(), "i", "42", notBefore, until); err == nil {
		t.Error("a refusal was taken for an answer")
	}
}

func TestBadURLs(t *testing.T) {
	for _, address := range []string{"", "localhost:2019", "ftp://x"} {
		if _, err := NewAdmin(address); err == nil {
			t.Errorf("NewAdmin(%q) succeeded", address)
		}
	}
	for _, address := range []string{"", "http://x", "redis://:hunter2@[x"} {
		if _, err := NewRedis(address); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("NewRedis(%q) = %v", address, err)
		}
	}
}
