package http

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fairway-gateway/fairway/backend/seed"
)

// download reads an export over a real connection.
func (f *fixture) download(query string, header []string) (*http.Response, string) {
	f.t.Helper()
	srv := httptest.NewServer(f)
	defer srv.Close()
	r, err := http.NewRequestWithContext(f.t.Context(), "GET", srv.URL+"/api/users/export"+query, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	r.Header.Set(header[0], header[1])
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return resp, string(body)
}

func TestExport_EveryUserOnceNewestFirst(t *testing.T) {
	eachDatabase(t, func(f *fixture) {
		const n = 2500
		if err := seed.Users(f.t.Context(), f.db, n, "hash", func(int) {}); err != nil {
			f.t.Fatal(err)
		}
		admin := f.admin()
		resp, body := f.download("", admin)
		rows, err := csv.NewReader(strings.NewReader(body)).ReadAll()
		if err != nil || resp.Header.Get("Content-Type") != "text/csv; charset=utf-8" || !strings.Contains(resp.Header.Get("Content-Disposition"), "users.csv") {
			f.t.Fatalf("%v, %v", resp.Header, err)
		}
		if len(rows) != n+2 || strings.Join(rows[0], ",") != "id,email,name,created_at" || rows[1][1] != "root@example.com" {
			f.t.Fatalf("%d rows, the first %v", len(rows), rows[:2])
		}
		seen := map[string]bool{}
		for i, row := range rows[1:] {
			if seen[row[0]] {
				f.t.Fatalf("user %s is there twice", row[0])
			}
			seen[row[0]] = true
			at, err := time.Parse(time.RFC3339Nano, row[3])
			if err != nil {
				f.t.Fatal(err)
			}
			if i > 0 {
				if before, _ := time.Parse(time.RFC3339Nano, rows[i][3]); at.After(before) {
					f.t.Fatalf("%s comes after %s", row[3], rows[i][3])
				}
			}
		}
		_, lines := f.download("?format=ndjson", admin)
		if got := strings.Count(lines, "\n"); got != n+1 {
			f.t.Errorf("there are %d lines of JSON, want %d", got, n+1)
		}
		var v struct{ Email string }
		if line, _, _ := strings.Cut(lines, "\n"); json.Unmarshal([]byte(line), &v) != nil || v.Email != "root@example.com" {
			f.t.Errorf("the first line is %s", line)
		}
		_, today := f.download("?since="+time.Now().UTC().Add(-time.Hour).Format(time.RFC3339), admin)
		if got := strings.Count(today, "\n"); got != 2 {
			f.t.Errorf("since an hour ago: %s", today)
		}
	})
}

func TestExport_FormulasAreText(t *testing.T) {
	f := onSQLite(t, nil)
	admin := f.admin()
	for i, name := range []string{"=cmd|' /C calc'!A0", "+1+1abc", "-1x", "@SUM(A1)x", `He said "hi", twice`} {
		b, _ := json.Marshal(name)
		f.want(201, f.do("POST", "/api/users", fmt.Sprintf(`{"email":"u%d@example.com","password":"12345678","name":%s}`, i, b)))
	}
	_, body := f.download("", admin)
	rows, err := csv.NewReader(strings.NewReader(body)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows[1:] {
		if strings.ContainsAny(row[2][:1], "=+-@") {
			t.Errorf("the cell %q is a formula", row[2])
		}
	}
	if rows[1][2] != `He said "hi", twice` {
		t.Errorf("the cell %q was not kept", rows[1][2])
	}
}

func TestExport_Refusals(t *testing.T) {
	f := onSQLite(t, nil)
	_, ada := f.register("ada@example.com")
	f.want(401, f.do("GET", "/api/users/export", ""))
	f.want(403, f.do("GET", "/api/users/export", "", ada...))
	admin := f.admin()
	for _, query := range []string{"since=yesterday", "since=2026-02-30", "since=0001-01-01", "format=xml"} {
		name, _, _ := strings.Cut(query, "=")
		if got := fields(f, f.do("GET", "/api/users/export?"+query, "", admin...)); got != name {
			t.Errorf("%s: fields = %q", query, got)
		}
	}
}

// A HEAD has the head of the export, and does not read a million users for it.
func TestExport_HeadReadsNothing(t *testing.T) {
	f := onSQLite(t, nil)
	admin := f.admin()
	if err := seed.Users(t.Context(), f.db, 10, "hash", func(int) {}); err != nil {
		t.Fatal(err)
	}
	a := f.want(200, f.do("HEAD", "/api/users/export", "", admin...)) // a recorder would keep a body
	if a.body != "" || a.Header.Get("Content-Type") != "text/csv; charset=utf-8" {
		t.Errorf("HEAD = %v %q", a.Header, a.body)
	}
}
