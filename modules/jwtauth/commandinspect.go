package jwtauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

func inspectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect [--config <path> [--adapter <name>]] <token>|-",
		Short: "Shows a token, and what each jwt_auth of a config makes of it",
		Long: `Decodes a token and judges it by every jwt_auth in the config, which fetches keys
as the gateway would, and by the revocations in the Redis and the storage that the
config names. It ends with 1 if no jwt_auth accepts the token.`,
		Args: cobra.ExactArgs(1),
		RunE: run(func(cmd *cobra.Command, args []string) error {
			token, err := tokenArgument(cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			fl := caddycmd.Flags{FlagSet: cmd.Flags()}
			document, _, _, err := caddycmd.LoadConfig(fl.String("config"), fl.String("adapter"))
			if err != nil {
				return err
			}
			return inspect(cmd.OutOrStdout(), token, document, time.Now())
		}),
	}
	f := cmd.Flags()
	f.StringP("config", "c", "", "Config to judge by. Default: the Caddyfile in this folder")
	f.StringP("adapter", "a", "", "Config adapter for --config")
	return cmd
}

var errNowhereAccepted = errors.New("no jwt_auth of the config accepts the token")

// inspect writes what a token holds and what each jwt_auth makes of it.
func inspect(w io.Writer, token string, document []byte, now time.Time) error {
	raw, reason := parseToken(token)
	if reason != ReasonOK {
		return fmt.Errorf("this is no token that could be accepted: %s", reasonTexts[reason].description)
	}
	if err := describe(w, raw, now); err != nil {
		return err
	}
	configs, err := findConfigs(document)
	if err != nil {
		return err
	}
	if len(configs) == 0 {
		return errors.New("the config has no jwt_auth")
	}
	revoked, where, err := readRevocations(document)
	text := fmt.Sprintf("revocations in %s: %d\n", where, revoked.count.Load())
	if err != nil {
		text = fmt.Sprintf("revocations are not all known, so a revoked token may look accepted: %v\n", err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		return err
	}
	accepted := false
	for i, c := range configs {
		verdict, ok := judge(c, revoked, token, now)
		accepted = accepted || ok
		if _, err := fmt.Fprintf(w, "jwt_auth %d (%s): %s\n", i+1, c.issuerList(), verdict); err != nil {
			return err
		}
	}
	if !accepted {
		return errNowhereAccepted
	}
	return nil
}

func describe(w io.Writer, raw *rawToken, now time.Time) error {
	claims, err := json.MarshalIndent(raw.claims, "", "  ")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "algorithm %s, key id %q, type %q\n%s\n", raw.header.alg, raw.header.kid, raw.header.typ, claims); err != nil {
		return err
	}
	for _, name := range []string{"iat", "nbf", "exp"} {
		number, ok := raw.claims[name].(json.Number)
		seconds, err := number.Float64()
		if !ok || err != nil || seconds <= 0 || seconds*1000 > float64(latest) {
			continue
		}
		at := time.UnixMilli(int64(seconds * 1000))
		if _, err := fmt.Fprintf(w, "%s is %s, %s\n", name, at.UTC().Format(time.RFC3339), relative(at.Sub(now))); err != nil {
			return err
		}
	}
	return nil
}

func relative(d time.Duration) string {
	if d < 0 {
		return (-d).Round(time.Second).String() + " ago"
	}
	return "in " + d.Round(time.Second).String()
}

func (c *Config) issuerList() string {
	names := make([]string, len(c.Issuers))
	for i, ic := range c.Issuers {
		names[i] = ic.Issuer
	}
	return strings.Join(names, ", ")
}

// judge says what one jwt_auth makes of a token.
func judge(c *Config, revoked *revocations, token string, now time.Time) (verdict string, accepted bool) {
	c, err := c.resolved()
	if err != nil {
		return "the config is wrong: " + err.Error(), false
	}
	issuers, err := c.fetchIssuers()
	if err != nil {
		return "its keys cannot be had: " + err.Error(), false
	}
	g, err := c.guard(issuers, revoked, nil)
	if err != nil {
		return "the config is wrong: " + err.Error(), false
	}
	g.verifier.mustKnow = false
	d := g.judge(g.verifier.Verify(token, now))
	if d.Reason == ReasonOK {
		return fmt.Sprintf("accepted, the user is %q", d.Caller.ID()), true
	}
	verdict = fmt.Sprintf("refused with %d, reason %s: %s", d.Reason.Status(), d.Reason, reasonTexts[d.Reason].description)
	if wanted := g.wanted(&d); wanted != "" {
		verdict += "; wanted: " + wanted
	}
	return verdict, false
}

// wanted says what would have been accepted in place of what was found.
func (g *Guard) wanted(d *Decision) string {
	v := g.verifier
	if d.Issuer < 0 {
		names := make([]string, len(v.issuers))
		for i, is := range v.issuers {
			names[i] = is.name
		}
		return "iss " + strings.Join(names, " or ")
	}
	is := v.issuers[d.Issuer]
	switch d.Reason {
	case ReasonAudience:
		return "aud " + strings.Join(is.audiences, " or ")
	case ReasonAlgorithm:
		return "alg " + strings.Join(is.allowed.names(), " or ")
	case ReasonType:
		return "typ " + is.typ
	case ReasonKey:
		return "a kid of " + is.keys.kids()
	case ReasonClaims:
		return "exp as a number, and one of the claims " + strings.Join(v.userClaims, ", ")
	case ReasonRequire:
		return "the claims " + strings.Join(g.policy.require, ", ")
	case ReasonScope:
		return fmt.Sprintf("all of the scopes %q, and any of %q", g.policy.scopes.All, g.policy.scopes.Any)
	case ReasonClaim:
		return fmt.Sprintf("%+v", g.policy.claims)
	}
	return ""
}

func (s *keySet) kids() string {
	var kids []string
	if snap := s.current.Load(); snap != nil {
		for _, k := range snap.keys {
			kids = append(kids, fmt.Sprintf("%q (%s)", k.kid, k.kty))
		}
	}
	return strings.Join(kids, ", ")
}

// fetchIssuers are the issuers of the config with keys that are fetched here and
// now, once.
func (c *Config) fetchIssuers() ([]*issuer, error) {
	var list []*issuer
	for _, ic := range c.Issuers {
		allowed, err := newAllowlist(ic.Algorithms)
		if err != nil {
			return nil, err
		}
		keys, err := ic.fetchKeys(allowed)
		if err != nil {
			return nil, fmt.Errorf("issuer %q: %w", ic.Issuer, err)
		}
		list = append(list, newIssuer(ic.Issuer, allowed, ic.audiences(), ic.Type, keys))
	}
	return list, nil
}

func (ic *IssuerConfig) fetchKeys(allowed allowlist) (*keySet, error) {
	if ic.Key != "" {
		k, err := parseInlineKey(ic.Key, allowed)
		if err != nil {
			return nil, err
		}
		return fixedKeySet(k), nil
	}
	src, err := ic.source(allowed)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(ic.Timeout))
	defer cancel()
	doc, err := src.fetch(ctx)
	if err != nil {
		return nil, err
	}
	keys, _, err := parseJWKS(doc.body, allowed)
	if err != nil {
		return nil, err
	}
	return fixedKeySet(keys...), nil
}

// findConfigs finds every jwt_auth handler and jwt provider in a JSON config.
func findConfigs(document []byte) ([]*Config, error) {
	var tree any
	if err := json.Unmarshal(document, &tree); err != nil {
		return nil, fmt.Errorf("reading the config: %w", err)
	}
	var found []*Config
	var failed error
	walk(tree, func(object map[string]any) {
		if object["handler"] != "jwt_auth" && !isProvider(object) {
			return
		}
		c := new(Config)
		b, err := json.Marshal(object)
		if err == nil {
			err = json.Unmarshal(b, c)
		}
		if err != nil {
			failed = err
			return
		}
		found = append(found, c)
	})
	return found, failed
}

// isProvider tells the jwt provider by what it cannot do without.
func isProvider(object map[string]any) bool {
	_, named := object["handler"]
	issuers, ok := object["issuers"].([]any)
	if named || !ok || len(issuers) == 0 {
		return false
	}
	first, ok := issuers[0].(map[string]any)
	return ok && first["algorithms"] != nil && first["issuer"] != nil
}

// walk calls visit for every object, in the order of lists and of names.
func walk(tree any, visit func(map[string]any)) {
	switch node := tree.(type) {
	case []any:
		for _, e := range node {
			walk(e, visit)
		}
	case map[string]any:
		visit(node)
		names := make([]string, 0, len(node))
		for name := range node {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			walk(node[name], visit)
		}
	}
}
