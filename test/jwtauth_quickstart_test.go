package test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Who copies the quick start from the page and changes nothing but the two
// addresses of their own, where the gateway listens and what is behind it, has
// protected the route: the provider is that of the page, met over https by its
// own name, with keys found by discovery.
func TestJWTAuth_QuickStart(t *testing.T) {
	quickStart := shownConfig(t, "jwt_auth.md", "")
	t.Run("as it is on the page", func(t *testing.T) {
		p, authority := startHTTPSProvider(t, "your-tenant.eu.auth0.com")
		p.issuer = "https://your-tenant.eu.auth0.com/"
		// The internet, on one machine: a proxy that leads to the provider, and a
		// file of the authorities to trust.
		followsQuickStart(t, p, quickStart, "HTTPS_PROXY="+startTunnel(t, p.Listener.Addr().String()), "SSL_CERT_FILE="+authority)
	})
	t.Run("with the house's own provider and authority", func(t *testing.T) {
		p, authority := startHTTPSProvider(t, "localhost")
		p.issuer = "https://localhost:" + port(p.Listener.Addr().String())
		followsQuickStart(t, p, replaced(t, quickStart,
			"https://your-tenant.eu.auth0.com/", p.issuer, "discovery", "discovery\n\t\t\ttls_ca "+authority))
	})
}

func followsQuickStart(t *testing.T, p *identityProvider, snippet string, env ...string) {
	t.Helper()
	if lines := strings.Split(strings.TrimSpace(between(t, snippet, "jwt_auth", "\t}\n\treverse_proxy")), "\n"); len(lines)-1 > 6 {
		t.Errorf("more than five lines and a brace protect the route:\n%s", snippet)
	}
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "behind ", r.URL.Path) }))
	t.Cleanup(behind.Close)
	config := "{\n\tadmin {$FAIRWAY_ADMIN}\n}\n" + replaced(t, snippet,
		"example.com {", "{$FAIRWAY_LISTEN} {", "localhost:3000", strings.TrimPrefix(behind.URL, "http://"))
	k := newRSAKey(t, "k1")
	p.publish(k)
	g := startGateway(t, config, env...)

	api := get(g.url + "/api/orders")
	good := p.sign(k, "auth0|42", nil)
	eventually(t, "the keys of the provider", func() error { return tryStatus(api.as(good), http.StatusOK) })
	if a := api.as(good).send(t); a.body != "behind /api/orders" {
		t.Errorf("want the answer of the server behind; %s", a)
	}
	api.send(t).want(t, http.StatusUnauthorized).wantHeader(t, "WWW-Authenticate", `Bearer realm="fairway"`)
	for _, token := range p.hostile(k) {
		api.as(token).send(t).want(t, http.StatusUnauthorized).wantHeader(t, "WWW-Authenticate", `error="invalid_token"`)
	}
	get(g.url+"/").send(t).want(t, http.StatusOK) // the rest of the site is open

	inspectSaysWhy(t, p, k, config, env)
}

// inspectSaysWhy runs the page's `fairway token inspect`.
func inspectSaysWhy(t *testing.T, p *identityProvider, k *idpKey, config string, env []string) {
	t.Helper()
	for _, v := range append(env, "FAIRWAY_LISTEN=:8080", "FAIRWAY_ADMIN=off") {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "Caddyfile"), config)
	wrong := p.sign(k, "auth0|42", jwt.MapClaims{"aud": "other-api"})
	out, code := run(t, dir, fairway(t), "token", "inspect", "--config", file, wrong)
	if code == 0 || !strings.Contains(out, "refused with 401, reason audience: the token is meant for another audience; wanted: aud "+idpAudience) {
		t.Errorf("token inspect ended with %d and said:\n%s", code, out)
	}
	out, code = run(t, dir, fairway(t), "token", "inspect", "--config", file, p.sign(k, "auth0|42", nil))
	if code != 0 || !strings.Contains(out, `accepted, the user is "auth0|42"`) {
		t.Errorf("token inspect of a good token ended with %d and said:\n%s", code, out)
	}
}

func between(t *testing.T, text, from, to string) string {
	t.Helper()
	start, end := strings.Index(text, from), strings.Index(text, to)
	if start < 0 || end < start {
		t.Fatalf("no %q before %q in:\n%s", from, to, text)
	}
	return text[start:end]
}

// startHTTPSProvider starts a provider with a certificate for a name, and
// returns the file of the authority that issued it.
func startHTTPSProvider(t *testing.T, name string) (p *identityProvider, authority string) {
	t.Helper()
	caKey, leafKey := newIDPKey(t, "").Signer.(*ecdsa.PrivateKey), newIDPKey(t, "").Signer.(*ecdsa.PrivateKey)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test Authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{name}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, leafKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	p = newProvider(t)
	p.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leafDER}, PrivateKey: leafKey}}}
	p.StartTLS()
	return p, write(t, filepath.Join(t.TempDir(), "authority.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})))
}

// startTunnel starts a proxy that connects everybody to one address.
func startTunnel(t *testing.T, to string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(w, "CONNECT only", http.StatusMethodNotAllowed)
			return
		}
		server, err := net.Dial("tcp", to)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer server.Close()
		w.WriteHeader(http.StatusOK)
		client, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer client.Close()
		go func() { _, _ = io.Copy(server, buffered) }()
		_, _ = io.Copy(client, server)
	}))
	t.Cleanup(s.Close)
	return s.URL
}
