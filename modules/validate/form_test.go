package validate

import (
	"fmt"
	"strings"
	"testing"
)

const formsDocument = `
openapi: 3.1.0
info: {title: Forms, version: "1"}
paths:
  /styled:
    post:
      requestBody:
        content:
          application/x-www-form-urlencoded:
            schema:
              type: object
              properties:
                ids: {type: array, items: {type: integer}}
                tags: {type: array, items: {type: string}, default: [a, b]}
                filter: {type: object, properties: {min: {type: integer}}, default: {min: 3}}
                range: {type: object, properties: {from: {type: integer}, to: {type: integer}}}
                note: {type: object, required: [text]}
                name: {type: string, default: no name}
            encoding:
              ids: {style: form, explode: false}
              tags: {style: pipeDelimited, explode: false}
              filter: {style: deepObject, explode: true}
              range: {style: form, explode: true}
  /upload:
    post:
      requestBody:
        content:
          multipart/form-data:
            schema:
              type: object
              required: [photo]
              properties:
                photo: {type: string, format: binary}
                about: {type: object, required: [title], properties: {title: {type: string}}}
                rows: {type: array, items: {type: object, required: [n]}}
                plan: {type: string, enum: [free, pro], default: free}
                list: {type: array, items: {type: integer}, default: [1, 2]}
            encoding:
              photo: {contentType: "image/png, image/jpeg", headers: {X-Rotation: {required: true, schema: {type: integer}}}}
              about: {contentType: application/json}
`

func forms(t *testing.T, change func(*Handler)) *Handler {
	t.Helper()
	h := &Handler{OpenAPI: &OpenAPI{Document: writeFile(t, "forms.yaml", formsDocument)}}
	if change != nil {
		change(h)
	}
	return provision(t, h)
}

func TestForm_FieldsInTheStylesOfTheirEncoding(t *testing.T) {
	const form = "application/x-www-form-urlencoded"
	plain := forms(t, nil)
	changing := forms(t, func(h *Handler) { h.StripUnknown, h.FillDefaults = true, true })
	u := &upstream{}
	for name, c := range map[string]struct {
		h                *Handler
		body, want, sent string
	}{
		"a list":             {plain, "ids=1,2", "", "ids=1,2"},
		"a bad list":         {plain, "ids=1,x", "ids[1]: must be a whole number", ""},
		"a list twice":       {plain, "ids=1&ids=2", "ids: must be given once", ""},
		"pipes":              {plain, "tags=a%7Cb", "", "tags=a%7Cb"},
		"an object by keys":  {plain, "filter[min]=x", "filter.min: must be a whole number", ""},
		"an object spread":   {plain, "from=1&to=x", "range.to: must be a whole number", ""},
		"an object as JSON":  {plain, "note={}", "note.text: is required", ""},
		"an object, no JSON": {plain, "note=x", "note: must be JSON", ""},
		"unknown ones go":    {changing, "x=1&filter%5Bmin%5D=1&from=1&y=2&tags=z&name=n", "", "filter%5Bmin%5D=1&from=1&tags=z&name=n"},
		"defaults come":      {changing, "ids=1", "", "ids=1&filter%5Bmin%5D=3&name=no+name&tags=a%7Cb"},
	} {
		t.Run(name, func(t *testing.T) {
			*u = upstream{}
			status, got := call(c.h, u, "POST", "/styled", form, c.body)
			if got != c.want || (status == 200) != (c.want == "") || u.body != c.sent {
				t.Errorf("%d %s, upstream got %s\nwant %s, %s", status, got, u.body, c.want, c.sent)
			}
		})
	}
}

// formPartText writes one part of a form whose boundary is "line".
func formPartText(head, content string) string {
	return "--line\r\nContent-Disposition: form-data; " + head + "\r\n\r\n" + content + "\r\n"
}

func TestMultipart_PartsByTheirEncoding(t *testing.T) {
	const photo = `name="photo"; filename="a.png"` + "\r\nContent-Type: image/png\r\nX-Rotation: 90"
	plain := forms(t, nil)
	changing := forms(t, func(h *Handler) { h.StripUnknown, h.FillDefaults = true, true })
	u := &upstream{}
	good := formPartText(photo, "png")
	for name, c := range map[string]struct {
		h                *Handler
		parts            string
		want, sent, gone string
	}{
		"as described":      {h: plain, parts: good + formPartText(`name="about"`+"\r\nContent-Type: application/json; charset=utf-8", `{"title":"x"}`)},
		"a file's name*":    {h: plain, parts: strings.Replace(good, `a.png"`, `a.png"; filename*=utf-8''a.png`, 1)},
		"without a type":    {h: plain, parts: good + formPartText(`name="about"`, `{"title":"x"}`)},
		"JSON of a file":    {h: plain, parts: good + formPartText(`name="about"; filename="a.json"`+"\r\nContent-Type: application/json", `{}`), want: "about.title: is required"},
		"another type":      {h: plain, parts: formPartText(`name="photo"; filename="a.gif"`+"\r\nContent-Type: image/gif\r\nX-Rotation: 0", "gif"), want: "photo: must be of the type image/png or image/jpeg"},
		"a file, no type":   {h: plain, parts: formPartText(`name="photo"; filename="a.gif"`+"\r\nX-Rotation: 0", "gif"), want: "photo: must be of the type image/png or image/jpeg"},
		"no JSON":           {h: plain, parts: good + formPartText(`name="about"`, `title`), want: "about: must be JSON"},
		"JSON, twice named": {h: plain, parts: good + formPartText(`name="about"`, `{"title":"x","title":"y"}`), want: "about: must be JSON"},
		"JSON items":        {h: plain, parts: good + formPartText(`name="rows"`, `{"n":1}`) + formPartText(`name="rows"`, `{}`), want: "rows[1].n: is required"},
		"a header is bad":   {h: plain, parts: strings.Replace(good, "90", "left", 1), want: "photo.header.X-Rotation: must be a whole number"},
		"a header lacks":    {h: plain, parts: strings.Replace(good, "X-Rotation", "X-Other", 1), want: "photo.header.X-Rotation: is required"},
		"unknown ones go":   {h: changing, parts: good + formPartText(`name="evil"`, `x`) + formPartText(`name="plan"`, "pro") + formPartText(`name="list"`, "7"), sent: formPartText(`name="plan"`, "pro"), gone: "evil"},
		"defaults come":     {h: changing, parts: good, sent: formPartText("name=list", "1") + formPartText("name=list", "2") + formPartText("name=plan", "free") + "--line--\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			*u = upstream{}
			body := c.parts + "--line--\r\n"
			status, got := call(c.h, u, "POST", "/upload", "multipart/form-data; boundary=line", body)
			if got != c.want || (status == 200) != (c.want == "") {
				t.Fatalf("%d %s\nwant %s", status, got, c.want)
			}
			if status == 200 && c.h == plain && u.body != body {
				t.Errorf("not what was sent went on: %q", u.body)
			}
			if !strings.Contains(u.body, c.sent) || c.gone != "" && strings.Contains(u.body, c.gone) {
				t.Errorf("%q went on, want %q in it, and no %q", u.body, c.sent, c.gone)
			}
		})
	}
}

// Whatever two readers could take apart in two ways is refused.
func TestMultipart_ReadInOneWayOnly(t *testing.T) {
	h, u := forms(t, func(h *Handler) { h.OpenAPI.OnUnknown = "refuse" }), &upstream{}
	good := formPartText(`name="photo"; filename="a.png"`+"\r\nContent-Type: image/png\r\nX-Rotation: 90", "png")
	const end = "--line--\r\n"
	for name, body := range map[string]string{
		"a part before the first boundary": "evil\r\n" + good + end,
		"a part behind the last boundary":  good + end + formPartText(`name="role"`, "admin") + end,
		"a part behind, without an end":    good + end + formPartText(`name="role"`, "admin"),
		"a boundary by LF alone":           good + formPartText(`name="x"`, "a\n--line\nContent-Disposition: form-data; name=role\n\nadmin") + end,
		"lines by LF alone":                strings.ReplaceAll(good+end, "\r\n", "\n"),
		"two dispositions":                 good + formPartText("name=\"x\"\r\nContent-Disposition: form-data; name=\"role\"", "admin") + end,
		"two names":                        good + formPartText(`name="x"; name="role"`, "admin") + end,
		"a name that some do not read":     good + formPartText(`name="role"; name*=utf-8''plan`, "pro") + end,
		"a name in pieces":                 good + formPartText(`filename="x";NAME*0="pl"; name*1="an"`, "pro") + end,
		"a name with a NUL":                good + formPartText("name=\"role\x00\"", "admin") + end,
		"a name with a quote":              good + formPartText(`name="role\"x"`, "admin") + end,
		"an encoding that some undo":       good + formPartText("name=\"x\"\r\nContent-Transfer-Encoding: base64", "YWRtaW4=") + end,
		"a name that is no text":           good + formPartText("name=\"\xff\"", "x") + end,
		"no name":                          good + formPartText("filename=x", "x") + end,
		"many parts":                       good + strings.Repeat(formPartText("name=a", ""), maxParts) + end,
		"a flood of headers":               good + formPartText("name=a\r\n"+strings.Repeat("X: 1\r\n", 20_000)+"Y: 2", "") + end,
		"a header without end":             good + "--line\r\nContent-Disposition: form-data; name=" + strings.Repeat("a", 500_000),
	} {
		t.Run(name, func(t *testing.T) {
			*u = upstream{}
			status, got := call(h, u, "POST", "/upload", "multipart/form-data; boundary=line", body)
			if status != 400 || u.calls != 0 {
				t.Errorf("%d %s, upstream called %d times", status, got, u.calls)
			}
		})
	}
}

func TestForm_ManyFieldsAreRefused(t *testing.T) {
	h, u := forms(t, nil), &upstream{}
	for _, body := range []string{strings.Repeat("a&", 400_000), strings.Repeat("&", 900_000), "name=%ff"} {
		status, got := call(h, u, "POST", "/styled", "application/x-www-form-urlencoded", body)
		if status != 400 || u.calls != 0 {
			t.Errorf("%.20s…: %d %s", body, status, got)
		}
	}
}

func TestForm_DefaultsThatCannotBeWrittenFailTheLoad(t *testing.T) {
	for media, value := range map[string]string{
		"application/x-www-form-urlencoded": "[[1]]", "multipart/form-data": "[[1]]",
	} {
		doc := fmt.Sprintf(`
openapi: 3.1.0
paths: {/p: {post: {requestBody: {content: {%s: {schema: {type: object, properties: {a: {type: array, default: %s}}}}}}}}}
`, media, value)
		file := writeFile(t, "p.yaml", doc)
		if err := tryProvision(t, &Handler{OpenAPI: &OpenAPI{Document: file}}); err != nil {
			t.Errorf("without fill_defaults: %v", err)
		}
		err := tryProvision(t, &Handler{OpenAPI: &OpenAPI{Document: file}, FillDefaults: true})
		if err == nil || !strings.Contains(err.Error(), `/schema: the default of field "a"`) {
			t.Errorf("%s: %v", media, err)
		}
	}
}
