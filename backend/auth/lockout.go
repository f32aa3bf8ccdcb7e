package auth

import (
	"context"
	"net/netip"
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

// How many mails for a new password may be asked for within lockoutWindow: to one
// address, so that nobody's mailbox is flooded, and from one, so that no queue is.
const (
	resetLimit   = 3
	resetIPLimit = 20
)

// loginTries are the counts that one login takes part in.
type loginTries struct{ pair, account, ip sql.Tries }

func triesOf(email, ip string) loginTries {
	ip = network(ip)
	return loginTries{
		pair:    sql.Tries{Key: digest("pair", email, ip), Limit: pairLimit},
		account: sql.Tries{Key: digest("account", email), Limit: accountLimit},
		ip:      sql.Tries{Key: digest("ip", ip), Limit: ipLimit},
	}
}

func (t *loginTries) all() []sql.Tries { return []sql.Tries{t.pair, t.account, t.ip} }

// BeginReset counts that somebody at ip wants a mail for a new password sent to email,
// which is in its normal form. It fails with Throttled alike for those who exist and
// those who do not.
func (s *Service) BeginReset(ctx context.Context, email, ip string) error {
	return s.DB.Try(ctx, lockoutWindow,
		sql.Tries{Key: digest("reset", email), Limit: resetLimit},
		sql.Tries{Key: digest("reset-ip", network(ip)), Limit: resetIPLimit})
}

// network is who has an address: of IPv6, whoever has one has at least 2^64 of them.
func network(ip string) string {
	addr, err := netip.ParseAddr(ip)
	if err != nil || !addr.Is6() || addr.Is4In6() {
		return ip
	}
	prefix, err := addr.WithZone("").Prefix(64)
	if err != nil {
		return ip
	}
	return prefix.String()
}
