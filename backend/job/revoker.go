package job

import (
	"context"
	"strconv"
	"time"

	"github.com/riverqueue/river"

	"github.com/fairway-gateway/fairway/backend/auth"
	"github.com/fairway-gateway/fairway/backend/revoke"
)

// RevokeArgs is the job of telling the gateways that a user's access tokens are
// no longer good.
type RevokeArgs struct {
	UserID int64 `json:"user_id"`
	// NotBefore, in Unix seconds: tokens issued then or earlier are refused.
	NotBefore int64 `json:"not_before"`
}

// Kind is the job's name in the database.
func (RevokeArgs) Kind() string { return "revoke" }

// Revoker does the jobs of RevokeArgs.
type Revoker struct {
	river.WorkerDefaults[RevokeArgs]
	// Gateways is how they are told. Nil: nobody is.
	Gateways revoke.Gateways
	// Issuer is the iss claim of the tokens.
	Issuer string
}

// Work tells them. After the longest life of a token there is nothing to tell.
func (r *Revoker) Work(ctx context.Context, j *river.Job[RevokeArgs]) error {
	notBefore := time.Unix(j.Args.NotBefore, 0)
	until := notBefore.Add(auth.AccessLife + time.Minute)
	if r.Gateways == nil || time.Now().After(until) {
		return nil
	}
	return r.Gateways.RevokeSubject(ctx, r.Issuer, strconv.FormatInt(j.Args.UserID, 10), notBefore, until)
}
