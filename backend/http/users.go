package http

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/fairway-gateway/fairway/backend"
)

// userBody is a user as clients see it.
type userBody struct {
	ID            int64        `json:"id" doc:"Never reused" example:"42"`
	Email         string       `json:"email" format:"email"`
	Name          string       `json:"name"`
	Age           *int         `json:"age" doc:"In years; null if the user did not say"`
	Role          backend.Role `json:"role" enum:"user,admin"`
	Plan          backend.Plan `json:"plan" enum:"free,pro"`
	EmailVerified bool         `json:"email_verified" doc:"Whether the user proved to own the address"`
	Profile       profileBody  `json:"profile"`
	CreatedAt     time.Time    `json:"created_at"`
	UpdatedAt     time.Time    `json:"updated_at"`
	Version       int64        `json:"version" doc:"Counts the changes, from 1; part of the ETag"`
}

type profileBody struct {
	Bio       *string `json:"bio"`
	Location  *string `json:"location"`
	Website   *string `json:"website"`
	AvatarURL *string `json:"avatar_url"`
}

func showUser(u *backend.User) userBody {
	return userBody{
		ID: u.ID, Email: u.Email, Name: u.Name, Age: u.Age, Role: u.Role, Plan: u.Plan,
		EmailVerified: u.EmailVerifiedAt != nil, Profile: profileBody(u.Profile),
		CreatedAt: u.CreatedAt, UpdatedAt: u.UpdatedAt, Version: u.Version,
	}
}

// userRoutes registers everything under /api/users.
func (s *server) userRoutes() {
	creation := needsBearer
	if s.cfg.OpenRegistration {
		creation = mayBearer
	}
	op := func(id, method, path, summary string, errors ...int) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: method, Path: path, Summary: summary,
			Tags: []string{"users"}, Security: needsBearer, Errors: append(errors, 400, 401, 403, 503),
		}
	}
	create := op("create-user", http.MethodPost, "/api/users", "Create a user", 409, 413, 415, 422)
	create.Security, create.DefaultStatus = creation, http.StatusCreated
	handle(s, create, s.createUser)
	list := op("list-users", http.MethodGet, "/api/users", "List users, newest first (admins only)")
	list.Description, list.RejectUnknownQueryParameters = onlyTheseParameters, true
	handle(s, list, s.listUsers)
	handle(s, op("get-user", http.MethodGet, "/api/users/{id}", "Read a user", 404), s.getUser)
	handle(s, op("update-user", http.MethodPatch, "/api/users/{id}", "Change a user", 404, 409, 412, 413, 415), s.updateUser)
	handle(s, op("delete-user", http.MethodDelete, "/api/users/{id}", "Delete a user", 404, 412), s.deleteUser)
}

// OnUser is the part of a path that names a user.
type OnUser struct {
	ID string `path:"id" pattern:"^(me|[1-9][0-9]{0,18})$" patternDescription:"a user's id or me" doc:"The user's id, or me" example:"me"`
}

// user returns the id that the path means, if the caller may have to do with it.
func (o *OnUser) user(ctx context.Context) (int64, error) {
	caller := me(ctx)
	if o.ID == "me" {
		return caller.ID, nil
	}
	id, err := strconv.ParseInt(o.ID, 10, 64)
	if err != nil {
		return 0, backend.Fail(backend.NotFound, "no user has that id")
	}
	return id, caller.MayAccess(id)
}

// NewUserBody is what registering takes.
type NewUserBody struct {
	Email    string `json:"email" format:"email" maxLength:"254" example:"ada@example.com"`
	Password string `json:"password" minLength:"8" maxLength:"256" writeOnly:"true" example:"correct horse battery"`
	Name     string `json:"name" minLength:"2" maxLength:"50" example:"Ada Lovelace"`
	Age      *int   `json:"age,omitempty" minimum:"13" maximum:"120" example:"36"`
}

// Resolve checks what a schema cannot say. Huma has reported empty fields, and
// of several complaints about one field only the first is shown.
func (b *NewUserBody) Resolve(huma.Context) []error {
	n := b.newUser()
	return complaints(n.Normalize(), map[string]bool{"email": b.Email == "", "password": b.Password == "", "name": b.Name == ""})
}

func (b *NewUserBody) newUser() backend.NewUser {
	return backend.NewUser{Email: b.Email, Password: b.Password, Name: b.Name, Age: b.Age}
}

// complaints turns the domain's errors into huma's, less those about fields to skip.
func complaints(wrong []backend.FieldError, skip map[string]bool) []error {
	var errs []error
	for _, f := range wrong {
		if !skip[f.Field] {
			errs = append(errs, &huma.ErrorDetail{Location: "body." + f.Field, Message: f.Message})
		}
	}
	return errs
}

type createUserBody struct {
	NewUserBody
	Role backend.Role `json:"role,omitempty" enum:"user,admin" doc:"Only an admin may set it"`
	Plan backend.Plan `json:"plan,omitempty" enum:"free,pro" doc:"Only an admin may set it"`
}

type createUserInput struct {
	Once
	Body createUserBody
}

// Once is the header by which a creation is recognized when it comes again.
type Once struct {
	Key string `header:"Idempotency-Key" minLength:"1" maxLength:"255" pattern:"^[ -~]+$" patternDescription:"printable ASCII" doc:"Sent again within 24 hours, the same request gets the same answer and has no second effect"`
}

// created is the answer to every way of creating a user.
type created struct {
	Changed
	Location string `header:"Location"`
	Replayed string `header:"Idempotency-Replayed" doc:"true if the user had been created before"`
	Body     struct {
		ID    int64  `json:"id" example:"42"`
		Email string `json:"email" format:"email"`
	}
}

// create makes a user, once if there is a key.
func (s *server) create(ctx context.Context, o Once, n backend.NewUser) (*created, error) {
	if o.Key == "" {
		u, err := s.auth.Register(ctx, n)
		if err != nil {
			return nil, err
		}
		return showCreated(u.ID, u.Email), nil
	}
	by := ""
	if caller := me(ctx); caller != nil {
		by = strconv.FormatInt(caller.ID, 10)
	}
	id, email, replayed, err := s.auth.RegisterOnce(ctx, by, o.Key, n)
	if err != nil {
		return nil, err
	}
	out := showCreated(id, email)
	if replayed {
		out.Replayed = "true"
	}
	return out, nil
}

func showCreated(id int64, email string) *created {
	out := &created{Changed: changedUser(id), Location: fmt.Sprintf("/api/users/%d", id)}
	out.Body.ID, out.Body.Email = id, email
	return out
}

func (s *server) createUser(ctx context.Context, in *createUserInput) (*created, error) {
	caller := me(ctx)
	if !caller.IsAdmin() && (!s.cfg.OpenRegistration || in.Body.Role != "" || in.Body.Plan != "") {
		return nil, backend.Fail(backend.Forbidden, "only an admin may create such a user")
	}
	n := in.Body.newUser()
	n.Role, n.Plan = in.Body.Role, in.Body.Plan
	return s.create(ctx, in.Once, n)
}

type getUserInput struct {
	OnUser
	IfNoneMatch string `header:"If-None-Match" doc:"Answers 304 if the user still has this ETag"`
}

// userOutput is a user and what caches need to know about it. Without a body it
// is a 304.
type userOutput struct {
	Status int
	Cacheable
	ETag string `header:"ETag"`
	Body *userBody
}

func (s *server) getUser(ctx context.Context, in *getUserInput) (*userOutput, error) {
	id, err := in.user(ctx)
	if err != nil {
		return nil, err
	}
	u, err := s.db.User(ctx, id)
	if err != nil {
		return nil, err
	}
	out := &userOutput{Status: http.StatusOK, Cacheable: cacheableFor(userAge, userGroup(id)), ETag: etag(u)}
	if in.IfNoneMatch != "" && !noneMatch(in.IfNoneMatch, out.ETag) {
		out.Status = http.StatusNotModified
		return out, nil
	}
	body := showUser(u)
	out.Body = &body
	return out, nil
}

type patchBody struct {
	Email   optional[string]       `json:"email,omitzero" format:"email" maxLength:"254" nullable:"false"`
	Name    optional[string]       `json:"name,omitzero" minLength:"2" maxLength:"50" nullable:"false"`
	Age     optional[int]          `json:"age,omitzero" minimum:"13" maximum:"120" doc:"null clears it"`
	Role    optional[backend.Role] `json:"role,omitzero" enum:"user,admin" nullable:"false" doc:"Only an admin may change it"`
	Plan    optional[backend.Plan] `json:"plan,omitzero" enum:"free,pro" nullable:"false" doc:"Only an admin may change it"`
	Profile optional[profilePatch] `json:"profile,omitzero" doc:"null clears it, and null in it clears a member"`
}

type profilePatch struct {
	Bio       optional[string] `json:"bio,omitzero" maxLength:"500"`
	Location  optional[string] `json:"location,omitzero" maxLength:"100"`
	Website   optional[string] `json:"website,omitzero" maxLength:"2048" doc:"An http or https address"`
	AvatarURL optional[string] `json:"avatar_url,omitzero" maxLength:"2048" doc:"An http or https address"`
}

// profileChanges adds the changes of a profile to p. A null profile clears every
// member.
func profileChanges(c backend.Change[profilePatch], p *backend.Patch) {
	if !c.Set {
		return
	}
	clear := backend.Change[string]{Set: true}
	p.Bio, p.Location, p.Website, p.AvatarURL = clear, clear, clear, clear
	if v := c.Value; v != nil {
		p.Bio, p.Location, p.Website, p.AvatarURL = v.Bio.Change, v.Location.Change, v.Website.Change, v.AvatarURL.Change
	}
}

// patch returns the changes. They share their values with b.
func (b *patchBody) patch() backend.Patch {
	p := backend.Patch{
		Email: b.Email.Change, Name: b.Name.Change, Age: b.Age.Change, Role: b.Role.Change, Plan: b.Plan.Change,
	}
	profileChanges(b.Profile.Change, &p)
	return p
}

// Resolve checks what a schema cannot say. Whether anything changes at all is
// asked later, when nothing else is wrong.
func (b *patchBody) Resolve(huma.Context) []error {
	p := b.patch()
	return complaints(p.Normalize(), map[string]bool{"body": true})
}

// Guard is the header that guards a change against changes by others.
type Guard struct {
	IfMatch string `header:"If-Match" doc:"Changes the user only if it still has this ETag"`
}

// version returns the version that the user must still have, 0 for any.
func (m *Guard) version(ctx context.Context, s *server, id int64) (int64, error) {
	versions, any := wantedVersions(m.IfMatch, id)
	switch {
	case any:
		return 0, nil
	case len(versions) == 1:
		return versions[0], nil
	}
	u, err := s.db.User(ctx, id)
	if err != nil {
		return 0, err
	}
	if !slices.Contains(versions, u.Version) {
		return 0, backend.Fail(backend.PreconditionFailed, "the user has another version")
	}
	return u.Version, nil
}

type updateUserInput struct {
	OnUser
	Guard
	Body patchBody
}

// updated is a user after a change.
type updated struct {
	Changed
	ETag string `header:"ETag"`
	Body userBody
}

func (s *server) updateUser(ctx context.Context, in *updateUserInput) (*updated, error) {
	id, err := in.user(ctx)
	if err != nil {
		return nil, err
	}
	p := in.Body.patch()
	if p.NeedsAdmin() && !me(ctx).IsAdmin() {
		return nil, backend.Fail(backend.Forbidden, "only an admin may change role and plan")
	}
	if err := backend.InvalidFields(p.Normalize()); err != nil {
		return nil, err
	}
	version, err := in.version(ctx, s, id)
	if err != nil {
		return nil, err
	}
	u, err := s.db.UpdateUser(ctx, id, version, p)
	if err != nil {
		return nil, err
	}
	return &updated{Changed: changedUser(id), ETag: etag(u), Body: showUser(u)}, nil
}

type deleteUserInput struct {
	OnUser
	Guard
}

type deleted struct{ Changed }

func (s *server) deleteUser(ctx context.Context, in *deleteUserInput) (*deleted, error) {
	id, err := in.user(ctx)
	if err != nil {
		return nil, err
	}
	version, err := in.version(ctx, s, id)
	if err != nil {
		return nil, err
	}
	if err := s.db.DeleteUser(ctx, id, version); err != nil {
		return nil, err
	}
	return &deleted{changedUser(id)}, nil
}
