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
		if v, found := c.claim(name); !found || v == nil || v == "" {
			return ReasonRequire
		}
	}
	if !p.scopes.met(c.Scopes) {
		return ReasonScope
	}
	for i := range p.claims {
		if v, _ := c.claim(p.claims[i].Claim); !p.claims[i].met(v) {
			return ReasonClaim
		}
	}
	return ReasonOK
}

func (r *ScopeRule) met(scopes []string) bool {
	for _, s := range r.All {
		if !slices.Contains(scopes, s) {
			return false
		}
	}
	if len(r.Any) == 0 {
		return true
	}
	for _, s := range r.Any {
		if slices.Contains(scopes, s) {
			return true
		}
	}
	return false
}

func (r *ClaimRule) met(v any) bool {
	switch v := v.(type) {
	case nil, map[string]any:
		return false
	case []any:
		for _, element := range v {
			switch element.(type) {
			case []any, map[string]any, nil:
			default:
				if slices.Contains(r.In, claimText(element)) {
					return true
				}
			}
		}
		return false
	default:
		return slices.Contains(r.In, claimText(v))
	}
}
