package backend

import (
	"fmt"
	"time"
)

// Role decides what a user may do to others.
type Role string

// The roles. A user sees only itself, an admin everybody.
const (
	RoleUser  Role = "user"
	RoleAdmin Role = "admin"
)

// Plan is what a user pays for. The gateway reads it from the token to choose
// a tier of rate limits.
type Plan string

// The plans.
const (
	PlanFree Plan = "free"
	PlanPro  Plan = "pro"
)

// User is an account. Email is in its normal form (see NormalizeEmail) and
// belongs to one user only.
type User struct {
	ID    int64
	Email string
	Name  string
	// Age in years, or nil when the user did not say.
	Age  *int
	Role Role
	Plan Plan
	// EmailVerifiedAt is when the user proved to own Email; nil means not yet.
	EmailVerifiedAt *time.Time
	Profile         Profile
	CreatedAt       time.Time
	UpdatedAt       time.Time
	// Version counts the changes to the user and its profile, from 1.
	Version int64
}

// Profile is what a user tells about itself. A nil field was never set or was
// cleared.
type Profile struct {
	Bio       *string
	Location  *string
	Website   *string
	AvatarURL *string
}

// NewUser is what it takes to create a user.
type NewUser struct {
	Email    string
	Password string
	Name     string
	Age      *int
	// Role and Plan default to RoleUser and PlanFree. Only an admin may set them.
	Role Role
	Plan Plan
}

// Normalize brings n into its stored form and returns everything that is wrong
// with it.
func (n *NewUser) Normalize() []FieldError {
	var c checker
	n.Email = c.email("email", n.Email)
	n.Password = c.password("password", n.Password)
	n.Name = c.name("name", n.Name)
	c.age("age", n.Age)
	if n.Role == "" {
		n.Role = RoleUser
	}
	if n.Plan == "" {
		n.Plan = PlanFree
	}
	c.role("role", n.Role)
	c.plan("plan", n.Plan)
	return c.wrong
}

// Change is what happens to a field in a patch: nothing (the zero value), a new
// value, or, with Set and a nil Value, clearing it.
type Change[T any] struct {
	Set   bool
	Value *T
}

// Patch is what to change in a user. Fields that are not set stay.
type Patch struct {
	Email     Change[string]
	Name      Change[string]
	Age       Change[int]
	Role      Change[Role]
	Plan      Change[Plan]
	Bio       Change[string]
	Location  Change[string]
	Website   Change[string]
	AvatarURL Change[string]
}

// NeedsAdmin reports whether p changes what only an admin may change.
func (p *Patch) NeedsAdmin() bool { return p.Role.Set || p.Plan.Set }

// Normalize brings p into its stored form and returns everything that is wrong
// with it.
func (p *Patch) Normalize() []FieldError {
	var c checker
	required(&c, "email", &p.Email, c.email)
	required(&c, "name", &p.Name, c.name)
	c.age("age", p.Age.Value)
	required(&c, "role", &p.Role, c.role)
	required(&c, "plan", &p.Plan, c.plan)
	optional(&p.Bio, func(s string) string { return c.text("profile.bio", s, 500) })
	optional(&p.Location, func(s string) string { return c.text("profile.location", s, 100) })
	optional(&p.Website, func(s string) string { return c.link("profile.website", s) })
	optional(&p.AvatarURL, func(s string) string { return c.link("profile.avatar_url", s) })
	if *p == (Patch{}) {
		c.add("body", "must change at least one field")
	}
	return c.wrong
}

// Apply makes the changes of p in u. A changed address has to be verified anew.
func (p *Patch) Apply(u *User) {
	if p.Email.Set && *p.Email.Value != u.Email {
		u.Email, u.EmailVerifiedAt = *p.Email.Value, nil
	}
	if p.Name.Set {
		u.Name = *p.Name.Value
	}
	if p.Role.Set {
		u.Role = *p.Role.Value
	}
	if p.Plan.Set {
		u.Plan = *p.Plan.Value
	}
	apply(&u.Age, p.Age)
	apply(&u.Profile.Bio, p.Bio)
	apply(&u.Profile.Location, p.Location)
	apply(&u.Profile.Website, p.Website)
	apply(&u.Profile.AvatarURL, p.AvatarURL)
}

func apply[T any](field **T, c Change[T]) {
	if c.Set {
		*field = c.Value
	}
}

func required[T any](c *checker, field string, ch *Change[T], check func(string, T) T) {
	switch {
	case !ch.Set:
	case ch.Value == nil:
		c.add(field, "must not be null")
	default:
		v := check(field, *ch.Value)
		ch.Value = &v
	}
}

func optional(ch *Change[string], check func(string) string) {
	if ch.Value != nil {
		v := check(*ch.Value)
		ch.Value = &v
	}
}

// UserFilter narrows a list of users. Zero fields do not narrow.
type UserFilter struct {
	Role  Role
	Plan  Plan
	Email string // the whole address, in its normal form
	Name  string // the beginning of the name, in any case
}

// MaxPage is the most users one page may hold.
const MaxPage = 100

// Principal is who makes a request, as the store knows them now, not as their
// token remembers them.
type Principal struct {
	ID   int64
	Role Role
}

// IsAdmin reports whether p may act for others.
func (p *Principal) IsAdmin() bool { return p != nil && p.Role == RoleAdmin }

// MayAccess returns nil if p may see and change the user with the given id. The
// answer to a stranger is the same whether or not that user exists.
func (p *Principal) MayAccess(id int64) error {
	if p != nil && (p.ID == id || p.Role == RoleAdmin) {
		return nil
	}
	return Fail(Forbidden, fmt.Sprintf("user %d belongs to somebody else", id))
}
