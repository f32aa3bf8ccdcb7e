// Package mail sends the user service's mail: by SMTP, or, where there is no
// server, into a maildir, which any mail program opens and any test can read.
//
// Every message has an id that follows from what it is about, so that sending
// it twice can be recognized as the same mail. The maildir does so itself.
package mail

import (
	"bytes"
	"context"
	"fmt"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// Message is one mail to one person.
type Message struct {
	// ID names what the mail is about, the same at every attempt to send it. It
	// becomes the local part of the Message-ID.
	ID string
	// Name and Address are the person's.
	Name    string
	Address string
	Subject string
	Text    string
	// Date is when the mail came to be, not when it was sent.
	Date time.Time
}

// Sender delivers mail. It may deliver a message again that it has delivered
// before, under the same Message-ID.
type Sender interface {
	Send(ctx context.Context, m Message) error
}

// From is who mail comes from.
type From struct {
	Name    string
	Address string
	// Domain is the right half of Message-IDs.
	Domain string
}

// build makes the message as it goes over the wire. Headers are encoded by the
// library: a name cannot add one.
func (f From) build(m Message) (*gomail.Msg, error) {
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	if err := msg.FromFormat(f.Name, f.Address); err != nil {
		return nil, fmt.Errorf("sender %q: %w", f.Address, err)
	}
	if err := msg.AddToFormat(m.Name, m.Address); err != nil {
		return nil, fmt.Errorf("recipient: %w", err)
	}
	msg.Subject(m.Subject)
	msg.SetMessageIDWithValue(m.ID + "@" + f.Domain)
	msg.SetDateWithValue(m.Date)
	msg.SetBodyString(gomail.TypeTextPlain, m.Text)
	return msg, nil
}

func (f From) render(m Message) ([]byte, error) {
	msg, err := f.build(m)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	_, err = msg.WriteTo(&b)
	return b.Bytes(), err
}
