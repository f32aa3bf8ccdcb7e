package cache

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// RFC 9111, 4.3.5.
func TestHead_Updates(t *testing.T) {
	for _, tc := range []struct {
		name   string
		fields []string // of the response to HEAD
		want   string   // "updated", "stale" or "gone"
	}{
		{"nothing new", []string{"Cache-Control: max-age=60"}, "updated"},
		{"same tag", []string{"Cache-Control: max-age=60", `Etag: "1"`, "X-New: 1"}, "updated"},
		{"same length", []string{"Cache-Control: max-age=60", "Content-Length: 4"}, "updated"},
		{"another tag", []string{"Cache-Control: max-age=60", `Etag: "2"`}, "stale"},
		{"another date", []string{"Cache-Control: max-age=60", "Last-Modified: Mon, 02 Jan 2006 15:04:05 GMT"}, "stale"},
		{"another length", []string{"Cache-Control: max-age=60", "Content-Length: 5"}, "stale"},
		{"private now", []string{"Cache-Control: private"}, "gone"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var s *site
			s = newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
				if r.Method == http.MethodHead {
					for _, f := range tc.fields {
						name, value, _ := strings.Cut(f, ": ")
						w.Header().Set(name, value)
					}
					w.WriteHeader(200)
					return nil
				}
				w.Header().Set("Cache-Control", "max-age=60, stale-while-revalidate=600")
				w.Header().Set("Etag", `"1"`)
				w.Header().Set("X-Old", "1")
				_, err := io.WriteString(w, "body")
				return err
			})
			s.get("/")
			s.do("HEAD", "/", "Cache-Control: no-cache")
			s.wantAsked(2)
			a := s.get("/", "Cache-Control: only-if-cached")
			switch tc.want {
			case "updated":
				new := len(tc.fields) == 3
				if a.text != "body" || a.Header.Get("X-Old") != "1" || new && a.Header.Get("X-New") != "1" ||
					a.Header.Get("Cache-Control") != "max-age=60" || a.Header.Get("Content-Length") != "4" {
					t.Errorf("got %d %q %v", a.StatusCode, a.text, a.Header)
				}
			default:
				if a.StatusCode != 504 {
					t.Errorf("got %d %q, want 504", a.StatusCode, a.text)
				}
			}
		})
	}
}
