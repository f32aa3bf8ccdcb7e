package jwtauth

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/mitchellh/mapstructure"
)

// instant is a time in milliseconds since 1970. Zero means that the token does
// not say.
type instant int64

func instantOf(t time.Time) instant { return instant(t.UnixMilli()) }

// latest is the end of the year 9999; a later NumericDate is a mistake or an
// attempt to overflow (RFC 7519, 2).
const latest = instant(253402300799_000)

// registered are the claims with a meaning of their own (RFC 7519, 4.1;
// RFC 8693, 4.2; RFC 9068). It is decoded once per token.
type registered struct {
	Issuer   string    `mapstructure:"iss"`
	Subject  string    `mapstructure:"sub"`
	Audience audience  `mapstructure:"aud"`
	Expires  instant   `mapstructure:"exp"`
	Before   instant   `mapstructure:"nbf"`
	IssuedAt instant   `mapstructure:"iat"`
	ID       string    `mapstructure:"jti"`
	Scope    scopeList `mapstructure:"scope"`
	SCP      scopeList `mapstructure:"scp"`
}

type (
	audience  []string
	scopeList []string
)

// claimTypes decodes registered claims. Names match exactly, a wrong type is an
// error, nothing is converted silently.
var claimTypes = mapstructure.ComposeDecodeHookFunc(strictStrings, numericDates, stringLists)

var errClaimType = errors.New("a claim has the wrong type")

// decodeClaims reads the registered claims. The error says nothing about the
// values: mapstructure's own would repeat them into logs.
func decodeClaims(claims map[string]any) (*registered, error) {
	r := new(registered)
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result:     r,
		DecodeHook: claimTypes,
		MatchName:  func(claim, field string) bool { return claim == field },
	})
	if err != nil {
		return nil, err
	}
	if err := decoder.Decode(registeredOnly(claims)); err != nil {
		return nil, errClaimType
	}
	return r, nil
}

// registeredNames are the claims that decodeClaims looks at.
var registeredNames = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "scope", "scp"}

// registeredOnly keeps mapstructure away from all other claims. A null becomes
// an error later, because nothing converts from it.
func registeredOnly(claims map[string]any) map[string]any {
	subset := make(map[string]any, len(registeredNames))
	for _, name := range registeredNames {
		v, present := claims[name]
		if !present {
			continue
		}
		if v == nil {
			v = struct{}{}
		}
		subset[name] = v
	}
	return subset
}

var (
	numberType  = reflect.TypeFor[json.Number]()
	instantType = reflect.TypeFor[instant]()
	stringType  = reflect.TypeFor[string]()
)

// strictStrings refuses a number where a string is due: a json.Number is a
// string to mapstructure.
func strictStrings(from, to reflect.Type, data any) (any, error) {
	if to == stringType && from != stringType {
		return nil, errClaimType
	}
	return data, nil
}

// numericDates takes JSON numbers only: not "1700000000", not 1e300. Zero is as
// good as absent: some providers write nbf 0, and exp is demanded elsewhere.
func numericDates(from, to reflect.Type, data any) (any, error) {
	if to != instantType {
		return data, nil
	}
	if from != numberType {
		return nil, errClaimType
	}
	seconds, err := data.(json.Number).Float64()
	if err != nil || math.IsNaN(seconds) || seconds < 0 || seconds*1000 > float64(latest) {
		return nil, errClaimType
	}
	return instant(seconds * 1000), nil
}

// stringLists reads aud, a string or an array of strings, and scope, the same
// with a string of words (RFC 8693, 4.2).
func stringLists(_, to reflect.Type, data any) (any, error) {
	switch to {
	case reflect.TypeFor[audience]():
		list, err := stringList(data, func(s string) []string { return []string{s} })
		return audience(list), err
	case reflect.TypeFor[scopeList]():
		list, err := stringList(data, strings.Fields)
		return scopeList(list), err
	default:
		return data, nil
	}
}

func stringList(data any, split func(string) []string) ([]string, error) {
	switch v := data.(type) {
	case string:
		return split(v), nil
	case []any:
		list := make([]string, len(v))
		for i := range v {
			s, ok := v[i].(string)
			if !ok {
				return nil, errClaimType
			}
			list[i] = s
		}
		return list, nil
	default:
		return nil, errClaimType
	}
}

// meantFor reports whether one of the accepted audiences is named (RFC 8725,
// 3.9).
func (a audience) meantFor(accepted []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(accepted, s) })
}

// unvalidated hands claims that are decoded already to golang-jwt, which then
// checks method and signature only. All other checks are Fairway's, because
// they are repeated whenever a cached token is used again.
type unvalidated struct{ jwt.RegisteredClaims }

// UnmarshalJSON ignores the payload: golang-jwt has checked that it is JSON.
func (*unvalidated) UnmarshalJSON([]byte) error { return nil }
