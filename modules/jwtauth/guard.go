package jwtauth

import "time"

// Guard decides about requests: it finds the token, has it verified and judges
// what it says. It is the core that the handler, the provider and others share,
// takes small values and does nothing but decide. It is safe for concurrent use.
type Guard struct {
	verifier   *Verifier
	sources    []Source
	policy     policy
	headers    headerRules
	challenges *challenges
	optional   bool
}

// Decision is what to do with a request.
type Decision struct {
	Verdict

	// Source is where the token was; nil without a token.
	Source *Source

	// Values are the claims to be carried in header fields, one per rule.
	Values []string

	// Challenge is the value of WWW-Authenticate, or "".
	Challenge string
}

// Decide judges a request by its header fields and its query.
func (g *Guard) Decide(fields Fields, rawQuery string, now time.Time) Decision {
	d := g.decide(fields, rawQuery, now)
	d.Challenge = g.challenges[d.Reason]
	return d
}

func (g *Guard) decide(fields Fields, rawQuery string, now time.Time) Decision {
	token, source, reason := credentials(g.sources, fields, rawQuery)
	if reason == ReasonMissing && g.optional {
		reason = ReasonAnonymous
	}
	if reason != ReasonOK {
		return Decision{Verdict: Verdict{Reason: reason, Issuer: -1}}
	}
	d := g.judge(g.verifier.Verify(token, now))
	d.Source = source
	return d
}

// judge adds to a verdict whether what the token says suffices.
func (g *Guard) judge(v Verdict) Decision {
	d := Decision{Verdict: v}
	if d.Reason == ReasonOK {
		d.Reason = g.policy.judge(d.Caller)
	}
	if d.Reason == ReasonOK {
		d.Values, d.Reason = g.headers.values(d.Caller)
	}
	return d
}
