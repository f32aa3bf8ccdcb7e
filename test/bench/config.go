package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A contender's config may use these words, which stand for what differs from
// run to run.
const (
	wordOrigin = "ORIGIN" // the origin's host:port
	wordBody   = "BODY"   // the body that all contenders answer
	wordLarge  = "LARGE"  // the same for larger ones
	wordKeys   = "KEYS"   // the folder of the keys of tokens.go
	wordSchema = "SCHEMA" // a file with userSchema
)

// userSchema is what `validate` checks: the form of a new user.
const userSchema = `{
	"$schema": "https://json-schema.org/draft/2020-12/schema",
	"type": "object",
	"required": ["email", "password", "name"],
	"additionalProperties": false,
	"properties": {
		"email": {"type": "string", "format": "email", "maxLength": 254},
		"password": {"type": "string", "minLength": 8, "maxLength": 256},
		"name": {"type": "string", "minLength": 2, "maxLength": 50},
		"age": {"type": "integer", "minimum": 13, "maximum": 120}
	}
}`

// caddyfile is the whole Caddyfile of a contender. The access log is off: it
// costs the same everywhere, and more than most modules. Only HTTP/1.1 is on,
// which is what wrk speaks.
func (l *lab) caddyfile(c Contender, listen string) string {
	var b strings.Builder
	fmt.Fprint(&b, "{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n\tlog {\n\t\tlevel ERROR\n\t}\n")
	fmt.Fprint(&b, "\tservers {\n\t\tprotocols h1\n\t}\n")
	if c.Redis {
		fmt.Fprintf(&b, "\tfairway {\n\t\tredis redis://%s/0\n\t}\n", l.redisAddr)
	}
	fmt.Fprintf(&b, "}\nhttp://%s {\n%s\n}\n", listen, c.Config)
	return strings.NewReplacer(
		wordOrigin, l.originAddr,
		wordBody, string(originBody),
		wordLarge, string(largeBody),
		wordKeys, l.dir,
		wordSchema, filepath.Join(l.dir, wordSchema),
	).Replace(b.String())
}

// writeFiles writes what the configs name, and returns the tokens.
func (l *lab) writeFiles() (*credentials, error) {
	if err := os.WriteFile(filepath.Join(l.dir, wordSchema), []byte(userSchema), 0o600); err != nil {
		return nil, err
	}
	if err := writeBodies(l.dir); err != nil {
		return nil, err
	}
	return makeTokens(l.dir)
}
