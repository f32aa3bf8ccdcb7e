package jwtauth

import (
	"errors"
	"fmt"
	"slices"
)

// ClaimRule asks for a claim to have one of some values.
type ClaimRule struct {
	// Claim is the name, or a path with dots into nested objects.
	Claim string `json:"claim"`

	// In lists the accepted values. A claim that is a list needs one of them
	// among its elements.
	In []string `json:"in"`
}

// ScopeRule asks for scopes. Both lists may be given.
type ScopeRule struct {
	// All of these scopes are needed.
	All []string `json:"all,omitempty"`

	// Any one of these scopes is needed.
	Any []string `json:"any,omitempty"`
}

// policy is what a genuine token must say to be let in.
type policy struct {
	require []string
	scopes  ScopeRule
	claims  []ClaimRule
}

func (p *policy) check() error {
	for _, rule := range p.claims {
		if rule.Claim == "" {
			return errors.New("claim: the name is empty")
		}
		if len(rule.In) == 0 {
			return fmt.Errorf("claim %q: no accepted values are given", rule.Claim)
		}
	}
	if slices.Contains(slices.Concat(p.scopes.All, p.scopes.Any, p.require), "") {
		return errors.New("scopes, require: a name is empty")
	}
	return nil
}

// judge reports what the caller lacks.
func (p *policy) judge(c *Caller) Reason {
	for _, name := range p.require {
		if v, _ := c.claims.find(name); v.empty() {
			return ReasonRequire
		}
	}
	if !p.scopes.met(c) {
		return ReasonScope
	}
	for i := range p.claims {
		if v, _ := c.claims.find(p.claims[i].Claim); !p.claims[i].met(v) {
			return ReasonClaim
		}
	}
	return ReasonOK
}

func (r *ScopeRule) met(c *Caller) bool {
	for _, scope := range r.All {
		if !c.hasScope(scope) {
			return false
		}
	}
	return len(r.Any) == 0 || slices.ContainsFunc(r.Any, c.hasScope)
}

func (r *ClaimRule) met(v claim) bool {
	if v.plain() {
		return slices.Contains(r.In, v.text())
	}
	for element := range v.elements() {
		if element.plain() && slices.Contains(r.In, element.text()) {
			return true
		}
	}
	return false
}
