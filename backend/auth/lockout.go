package auth

import (
	"time"

	"github.com/fairway-gateway/fairway/backend/sql"
)

// How many logins may fail within lockoutWindow. The account's limit is the
// highest that an attacker with many addresses has; the lower one for an account
// and an address together keeps that attacker from locking out its user, who
// comes from another address, for as long as possible.
const (
	lockoutWindow = 15 * time.Minute
	pairLimit     = 5
	accountLimit  = 100
	ipLimit       = 200
)

// loginTries are the counts that one login takes part in.
type loginTries struct{ pair, account, ip sql.Tries }

func triesOf(email, ip string) loginTries {
	return loginTries{
		pair:    sql.Tries{Key: digest("pair", email, ip), Limit: pairLimit},
		account: sql.Tries{Key: digest("account", email), Limit: accountLimit},
		ip:      sql.Tries{Key: digest("ip", ip), Limit: ipLimit},
	}
}

func (t *loginTries) all() []sql.Tries { return []sql.Tries{t.pair, t.account, t.ip} }
