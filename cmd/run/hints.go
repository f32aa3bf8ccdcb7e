package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// hintText shows the gateway's main traits in five commands, to be pasted into
// a POSIX shell. BASE, ADMIN and LOGS are filled in.
const hintText = `
Fairway is running: gateway BASE, admin ADMIN, logs LOGS
Try, in another terminal:

1. Register (409 if you have done so before)
   curl -i BASE/api/auth/register -H 'Content-Type: application/json' \
     -d '{"email":"ada@example.com","password":"correct horse battery","name":"Ada"}'

2. Log in, and keep the token
   TOKEN=$(curl -s BASE/api/auth/login -H 'Content-Type: application/json' \
     -d '{"email":"ada@example.com","password":"correct horse battery"}' \
     | sed -n 's/.*"access_token":"\([^"]*\)".*/\1/p')

3. Who am I? Twice: the second is a hit of the cache, see Cache-Status
   curl -i BASE/api/users/me -H "Authorization: Bearer $TOKEN"

4. Without a token: 401
   curl -i BASE/api/users/me

5. A bad body: 400 with each wrong field (and after 5 calls of /api/auth/: 429)
   curl -i BASE/api/auth/register -H 'Content-Type: application/json' \
     -d '{"email":"nobody","password":"short","name":""}'

Ctrl-C stops both.
`

func hints(out io.Writer, base string, o options) {
	fill := strings.NewReplacer("BASE", base, "ADMIN", o.admin, "LOGS", filepath.Join(o.data, "*.log"))
	fmt.Fprint(out, fill.Replace(hintText))
}
