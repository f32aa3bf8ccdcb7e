package http

import (
	"context"
	"encoding/base64"
	"net/url"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/fairway-gateway/fairway/backend"
)

// onlyTheseParameters says what a misspelled filter comes to: without an error, it
// would come to everything.
const onlyTheseParameters = "Query parameters other than these are refused with 400."

type listUsersInput struct {
	Limit int    `query:"limit" minimum:"1" maximum:"100" default:"50" doc:"Users on this page"`
	After string `query:"after" maxLength:"40" doc:"The cursor next of the page before"`
	Role  string `query:"role" enum:"user,admin"`
	Plan  string `query:"plan" enum:"free,pro"`
	Email string `query:"email" maxLength:"254" doc:"The whole address"`
	Name  string `query:"name" maxLength:"50" doc:"The beginning of the name, in any case"`

	after  int64
	filter backend.UserFilter
}

// checkQuery complains about what net/url would leave out of a query without a word,
// and about a parameter of which only the first would count.
func checkQuery(ctx huma.Context) []error {
	u := ctx.URL()
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return []error{&huma.ErrorDetail{Location: "query", Message: "cannot be read"}}
	}
	var errs []error
	for name, values := range query {
		if len(values) > 1 {
			errs = append(errs, &huma.ErrorDetail{Location: "query." + name, Message: "is there twice"})
		}
	}
	return errs
}

// Resolve reads the cursor and brings the filters into the form that is stored.
func (in *listUsersInput) Resolve(ctx huma.Context) []error {
	errs := checkQuery(ctx)
	wrong := func(field, message string) {
		errs = append(errs, &huma.ErrorDetail{Location: "query." + field, Message: message})
	}
	in.filter = backend.UserFilter{Role: backend.Role(in.Role), Plan: backend.Plan(in.Plan), Name: in.Name}
	if in.After != "" {
		var ok bool
		if in.after, ok = parseCursor(in.After); !ok {
			wrong("after", "is not a cursor of this list")
		}
	}
	if in.Email != "" {
		var ok bool
		if in.filter.Email, ok = backend.NormalizeEmail(in.Email); !ok {
			wrong("email", "must be an email address")
		}
	}
	if !backend.Printable(in.Name) {
		wrong("name", "must hold only printable characters")
	}
	return errs
}

// A cursor is the last id of a page. It is encoded so that nobody takes it for
// something to count with.
func formatCursor(id int64) string {
	return base64.RawURLEncoding.EncodeToString([]byte("id:" + strconv.FormatInt(id, 10)))
}

func parseCursor(s string) (id int64, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) < 4 || string(b[:3]) != "id:" {
		return 0, false
	}
	id, err = strconv.ParseInt(string(b[3:]), 10, 64)
	return id, err == nil && id > 0
}

type listUsersOutput struct {
	Cacheable
	Link string `header:"Link" doc:"The next page, as rel=next"`
	Body struct {
		Users []userBody `json:"users" nullable:"false"`
		Next  string     `json:"next,omitempty" doc:"The cursor of the next page; absent on the last one"`
	}
}

func (s *server) listUsers(ctx context.Context, in *listUsersInput) (*listUsersOutput, error) {
	if !me(ctx).IsAdmin() {
		return nil, backend.Fail(backend.Forbidden, "only an admin may list users")
	}
	users, err := s.db.Users(ctx, in.filter, in.after, in.Limit+1) // one more tells whether there is a next page
	if err != nil {
		return nil, err
	}
	out := &listUsersOutput{Cacheable: cacheableFor(listAge, listGroup)}
	if len(users) > in.Limit {
		users = users[:in.Limit]
		out.Body.Next = formatCursor(users[in.Limit-1].ID)
		out.Link = in.next(out.Body.Next)
	}
	out.Body.Users = make([]userBody, len(users))
	for i := range users {
		out.Body.Users[i] = showUser(&users[i])
	}
	return out, nil
}

// next returns the Link header (RFC 8288) of the page after this one.
func (in *listUsersInput) next(cursor string) string {
	q := url.Values{"limit": {strconv.Itoa(in.Limit)}, "after": {cursor}}
	for name, value := range map[string]string{"role": in.Role, "plan": in.Plan, "email": in.Email, "name": in.Name} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return "</api/users?" + q.Encode() + `>; rel="next"`
}
