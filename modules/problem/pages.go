package problem

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"os"
	"strconv"

	"github.com/caddyserver/caddy/v2"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

//go:embed page.html
var builtinPage string

var builtin = template.Must(template.New("problem").Parse(builtinPage))

// pages holds the template for each status that has its own, and the one for
// all others under "".
type pages map[string]*template.Template

func loadPages(file string, overrides map[string]*Override) (pages, error) {
	all, err := loadPage(file)
	if err != nil {
		return nil, err
	}
	ps := pages{"": all}
	for status, o := range overrides {
		if o == nil || o.HTML == "" {
			continue
		}
		if ps[status], err = loadPage(o.HTML); err != nil {
			return nil, fmt.Errorf("status %s: %w", status, err)
		}
	}
	return ps, nil
}

// loadPage parses a template and tries it, so that a wrong field name fails the
// config and not the first error page.
func loadPage(file string) (*template.Template, error) {
	if file == "" {
		return builtin, nil
	}
	name, err := caddy.NewReplacer().ReplaceOrErr(file, true, true)
	if err != nil {
		return nil, fmt.Errorf("html %q: %w", file, err)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("html %q: %w", file, err)
	}
	page, err := template.New(name).Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("html %q: %w", file, err)
	}
	sample := newProblem(400, "")
	sample.Details = []gateway.Detail{{Field: "email", Message: "is required"}}
	if err := page.Execute(&bytes.Buffer{}, sample); err != nil {
		return nil, fmt.Errorf("html %q: %w", file, err)
	}
	return page, nil
}

func (ps pages) render(p *Problem) ([]byte, error) {
	page := ps[""]
	for _, key := range []string{statusClass(p.Status), strconv.Itoa(p.Status)} {
		if own := ps[key]; own != nil {
			page = own
		}
	}
	var b bytes.Buffer
	err := page.Execute(&b, p)
	return b.Bytes(), err
}
