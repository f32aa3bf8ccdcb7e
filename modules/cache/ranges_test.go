package cache

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
)

// servePart answers as an origin that knows ranges and If-Range.
func servePart(w http.ResponseWriter, r *http.Request, whole string) error {
	part, result := parseRange(r.Header["Range"], int64(len(whole)))
	condition := r.Header.Get("If-Range")
	if result != rangeSome || condition != "" && condition != w.Header().Get("Etag") {
		_, err := io.WriteString(w, whole)
		return err
	}
	w.Header().Set("Content-Range", contentRange(part[0], int64(len(whole))))
	w.WriteHeader(206)
	_, err := io.WriteString(w, whole[part[0].start:part[0].start+part[0].length])
	return err
}

func TestRange(t *testing.T) {
	s := newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Etag", `"1"`)
		_, err := io.WriteString(w, "0123456789")
		return err
	})
	s.get("/")
	for _, tc := range []struct {
		fields       []string
		status       int
		body, ranges string
	}{
		{[]string{"Range: bytes=0-1"}, 206, "01", "bytes 0-1/10"},
		{[]string{"Range: bytes=8-"}, 206, "89", "bytes 8-9/10"},
		{[]string{"Range: bytes=8-99999999999999999999"}, 206, "89", "bytes 8-9/10"},
		{[]string{"Range: bytes=-3"}, 206, "789", "bytes 7-9/10"},
		{[]string{"Range: bytes=-30"}, 206, "0123456789", "bytes 0-9/10"},
		{[]string{"Range: bytes=0-1, 2-4"}, 206, "01234", "bytes 0-4/10"},
		{[]string{"Range: bytes=2-4, 0-1,3-3"}, 206, "01234", "bytes 0-4/10"},
		{[]string{"Range: bytes=0-1, 20-"}, 206, "01", "bytes 0-1/10"},
		{[]string{"Range: bytes=0-0" + strings.Repeat(",0-0", maxRanges)}, 200, "0123456789", ""},
		{[]string{"Range: bytes=10-"}, 416, "", "bytes */10"},
		{[]string{"Range: bytes=-0"}, 416, "", "bytes */10"},
		{[]string{"Range: bytes=3-2"}, 200, "0123456789", ""},
		{[]string{"Range: bytes=x"}, 200, "0123456789", ""},
		{[]string{"Range: lines=1-2"}, 200, "0123456789", ""},
		{[]string{"Range: bytes=0-1", `If-Range: "1"`}, 206, "01", "bytes 0-1/10"},
		{[]string{"Range: bytes=0-1", `If-Range: "2"`}, 200, "0123456789", ""},
		{[]string{"Range: bytes=0-1", `If-Range: W/"1"`}, 200, "0123456789", ""},
		{[]string{"Range: bytes=0-1", `If-None-Match: "1"`}, 304, "", ""},
	} {
		a := s.get("/", tc.fields...)
		if a.StatusCode != tc.status || a.text != tc.body || a.Header.Get("Content-Range") != tc.ranges {
			t.Errorf("%q: got %d %q %q, want %d %q %q", tc.fields, a.StatusCode, a.text, a.Header.Get("Content-Range"),
				tc.status, tc.body, tc.ranges)
		}
	}
	s.wantAsked(1)
}

func TestRange_PartsAreStoredAndCombined(t *testing.T) {
	const whole = "0123456789"
	for _, tc := range []struct {
		etag    string
		combine bool
	}{{`"1"`, true}, {`W/"1"`, false}, {"", false}} {
		s := newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Cache-Control", "max-age=60")
			if tc.etag != "" {
				w.Header().Set("Etag", tc.etag)
			}
			return servePart(w, r, whole)
		})
		s.get("/", "Range: bytes=0-4")
		wantText(t, s.get("/", "Range: bytes=1-2"), "12")
		s.wantAsked(1)
		asked := s.asked.Load()
		s.get("/", "Range: bytes=5-9")
		a := s.get("/")
		wantText(t, a, whole)
		want := asked + 2
		if tc.combine {
			want = asked + 1
		}
		s.wantAsked(want)
		s.get("/other", "Range: bytes=0-4")
		wantText(t, s.get("/other", "Range: bytes=1-2", `If-Range: "other"`), whole)
	}
}

func TestRange_PartsThatLieAreNotStored(t *testing.T) {
	for _, lie := range []string{"bytes 0-4/10", "bytes 0-1/1", "bytes 0-0/2", "bytes 1-2/*", "bytes 2-1/10", "", "multipart"} {
		s := newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Etag", `"1"`)
			w.Header().Set("Content-Range", lie)
			w.WriteHeader(206)
			_, err := io.WriteString(w, "01")
			return err
		})
		s.get("/", "Range: bytes=0-1")
		s.get("/", "Range: bytes=0-1")
		s.get("/")
		s.wantAsked(3)
	}
}

// A part that is stored is completed by asking for the rest alone.
func TestRange_APartIsCompleted(t *testing.T) {
	for _, size := range []int{10, 100_000} { // small bodies take another way than large ones
		whole := strings.Repeat("0123456789", size/10)
		for _, tc := range []struct {
			name, stored, asked string
			etags               [3]string // of the part, of the rest, and when asked for all
		}{
			{"the beginning", "bytes=0-3", "bytes=4-", [3]string{`"1"`, `"1"`}},
			{"the end", "bytes=7-", "bytes=0-6", [3]string{`"1"`, `"1"`}},
			{"changed meanwhile", "bytes=0-3", "bytes=4-", [3]string{`"1"`, `"2"`, `"2"`}},
			{"another part than asked for", "bytes=0-3", "bytes=4-, lies", [3]string{`"1"`, `"1"`, `"1"`}},
			{"the middle", "bytes=2-3", "", [3]string{`"1"`, `"1"`}},
			{"a weak tag", "bytes=0-3", "", [3]string{`W/"1"`, `W/"1"`}},
			{"no tag", "bytes=0-3", "", [3]string{"", ""}},
		} {
			t.Run(fmt.Sprintf("%s of %d", tc.name, size), func(t *testing.T) {
				asked, lies := strings.CutSuffix(tc.asked, ", lies")
				var ranges []string
				s := newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
					w.Header().Set("Cache-Control", "max-age=60")
					if etag := tc.etags[min(len(ranges), 2)]; etag != "" {
						w.Header().Set("Etag", etag)
					}
					ranges = append(ranges, r.Header.Get("Range"))
					if len(ranges) == 1 {
						w.Header().Set("X-First", "1")
					} else if lies && len(ranges) == 2 {
						w.Header().Set("Content-Range", fmt.Sprintf("bytes 5-9/%d", size))
						w.WriteHeader(206)
						_, err := io.WriteString(w, whole[5:10])
						return err
					}
					return servePart(w, r, whole)
				})
				s.get("/", "Range: "+tc.stored)
				a := s.get("/")
				if a.StatusCode != 200 || a.text != whole || a.Header.Get("Content-Range") != "" || a.ContentLength != -1 && a.ContentLength != int64(size) {
					t.Errorf("got %d, %d bytes, length %d, want 200 and %d: %v", a.StatusCode, len(a.text), a.ContentLength, size, a.Header)
				}
				if ranges[1] != asked {
					t.Errorf("the origin was asked for %q, want %q", ranges[1], asked)
				}
				if completed := asked != "" && tc.etags[0] == tc.etags[1] && !lies; completed != (a.Header.Get("X-First") == "1") {
					t.Errorf("X-First = %q: fields of the stored part stay if and only if it was completed", a.Header.Get("X-First"))
				}
				n := s.asked.Load()
				// a client has a large body a moment before it is stored: who asks
				// in that moment shares it
				status := func(a answer) string { return a.Header.Get("Cache-Status") }
				if a := s.get("/"); a.text != whole || !strings.HasPrefix(status(a), "Fairway; hit") && !strings.HasSuffix(status(a), "; collapsed") {
					t.Errorf("afterwards: %d bytes, %s", len(a.text), status(a))
				}
				s.wantAsked(n)
			})
		}
	}
}

// An origin that ignores If-Range may send the rest of another version, or not
// say of which: it is asked for the whole.
func TestRange_APartIsNotCompletedWithAnotherVersion(t *testing.T) {
	for _, etag := range []string{`"2"`, ""} {
		var s *site
		s = newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Cache-Control", "max-age=60")
			switch s.asked.Load() {
			case 1:
				w.Header().Set("Etag", `"1"`)
				return servePart(w, r, "old, old!!")
			case 2:
				w.Header()["Etag"] = []string{etag}
				w.Header().Set("Content-Range", "bytes 4-9/10")
				w.WriteHeader(206)
				_, err := io.WriteString(w, " new!!")
				return err
			}
			w.Header().Set("Etag", `"2"`)
			return servePart(w, r, "new, new!!")
		})
		s.get("/", "Range: bytes=0-3")
		wantText(t, s.get("/"), "new, new!!")
		wantText(t, s.get("/"), "new, new!!")
		s.wantAsked(3)
	}
}

// What breaks off while a part is completed is neither stored nor taken for
// whole.
func TestRange_ACompletionThatBreaksOff(t *testing.T) {
	var s *site
	s = newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Etag", `"1"`)
		if s.asked.Load() != 2 {
			return servePart(w, r, "0123456789")
		}
		w.Header().Set("Content-Range", "bytes 0-6/10")
		w.WriteHeader(206)
		_, _ = io.WriteString(w, "012")
		return nil
	})
	s.get("/", "Range: bytes=7-")
	if a := s.get("/"); !strings.HasSuffix(a.text, ">") {
		t.Errorf("the client took %q for whole", a.text)
	}
	wantText(t, s.get("/"), "0123456789")
}

func TestRange_Several(t *testing.T) {
	s := newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Type", "text/x")
		_, err := io.WriteString(w, "0123456789")
		return err
	})
	s.get("/")
	a := s.get("/", "Range: bytes=7-, 0-1,4-4, 1-2, 99-")
	media, params, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if a.StatusCode != 206 || err != nil || media != "multipart/byteranges" || a.ContentLength != int64(len(a.text)) {
		t.Fatalf("got %d %q, length %d of %d", a.StatusCode, a.Header.Get("Content-Type"), a.ContentLength, len(a.text))
	}
	var got []string
	for parts := multipart.NewReader(strings.NewReader(a.text), params["boundary"]); ; {
		p, err := parts.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(p)
		got = append(got, p.Header.Get("Content-Type")+" "+p.Header.Get("Content-Range")+" "+string(text))
	}
	want := []string{"text/x bytes 7-9/10 789", "text/x bytes 4-4/10 4", "text/x bytes 0-2/10 012"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("parts = %q, want %q", got, want)
	}
	s.wantAsked(1)
}
