package mail

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// smtpTimeout bounds a conversation with the server.
const smtpTimeout = 20 * time.Second

// SMTP is a Sender that hands mail to a server, one conversation a mail. It is
// safe for concurrent use.
type SMTP struct {
	host    string
	options []gomail.Option
	from    From
}

// NewSMTP returns a sender for a server named by a URL:
//
//	smtp://user:password@host:587   STARTTLS, which the server must offer
//	smtps://user:password@host:465  TLS from the first byte
//	smtp://127.0.0.1:1025           loopback: TLS only if offered
//
// The user and the password may be left out.
func NewSMTP(address string, from From) (*SMTP, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("the SMTP URL cannot be read") // the cause would quote the password
	}
	s := &SMTP{host: u.Hostname(), from: from}
	port, policy := 587, gomail.TLSMandatory
	s.options = append(s.options, gomail.WithTimeout(smtpTimeout))
	switch {
	case u.Hostname() == "" || u.Scheme != "smtp" && u.Scheme != "smtps":
		return nil, fmt.Errorf("the SMTP URL must be like smtp://host:587 or smtps://host:465, got %q", u.Redacted())
	case u.Scheme == "smtps":
		port = 465
		s.options = append(s.options, gomail.WithSSL())
	case isLoopback(u.Hostname()):
		policy = gomail.TLSOpportunistic
	}
	if p := u.Port(); p != "" {
		if port, err = strconv.Atoi(p); err != nil {
			return nil, fmt.Errorf("the SMTP URL has the port %q", p)
		}
	}
	s.options = append(s.options, gomail.WithTLSPolicy(policy), gomail.WithPort(port))
	if u.User != nil {
		password, _ := u.User.Password()
		s.options = append(s.options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover),
			gomail.WithUsername(u.User.Username()), gomail.WithPassword(password))
	}
	_, err = gomail.NewClient(s.host, s.options...)
	return s, err
}

func isLoopback(host string) bool {
	return host == "localhost" || host == "127.0.0.1" || host == "::1"
}

// Send returns nil once the server has taken the mail over.
func (s *SMTP) Send(ctx context.Context, m Message) error {
	msg, err := s.from.build(m)
	if err != nil {
		return err
	}
	c, err := gomail.NewClient(s.host, s.options...)
	if err != nil {
		return err
	}
	return c.DialAndSendWithContext(ctx, msg)
}

var _ Sender = (*SMTP)(nil)
