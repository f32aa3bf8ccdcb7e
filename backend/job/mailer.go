package job

import (
	"context"
	"fmt"
	"strings"
	"text/template"

	"github.com/riverqueue/river"

	"github.com/fairway-gateway/fairway/backend"
	"github.com/fairway-gateway/fairway/backend/auth"
	"github.com/fairway-gateway/fairway/backend/mail"
	"github.com/fairway-gateway/fairway/backend/sql"
)

// Template names a mail.
type Template string

// The mails.
const (
	Welcome Template = "welcome"
	Verify  Template = "verify-email"
	Reset   Template = "reset-password"
)

// MailArgs is the job of sending one mail to one user, who is named by the id or,
// for Reset, by the address. What is sent is what is true when it is sent.
type MailArgs struct {
	Template Template `json:"template"`
	UserID   int64    `json:"user_id,omitempty"`
	Email    string   `json:"email,omitempty"`
}

// Kind is the job's name in the database.
func (MailArgs) Kind() string { return "mail" }

// Mailer does the jobs of MailArgs.
type Mailer struct {
	river.WorkerDefaults[MailArgs]
	DB     *sql.DB
	Sender mail.Sender
	// Tokens makes the tokens that mail carries.
	Tokens *auth.Service
	// PublicURL is where the front end is, whose pages /verify-email and
	// /reset-password post the token of their fragment to the API.
	PublicURL string
}

// letter is what a template becomes. Its text is a text/template over a *letterData.
type letter struct {
	subject string
	text    *template.Template
}

type letterData struct {
	User *backend.User
	// Link leads to the page that takes the token. The token is in the fragment,
	// which browsers send to no server and in no Referer.
	Link string
}

var letters = map[Template]letter{
	Welcome: {"Welcome", parse(`Hello {{.User.Name}},

your account for {{.User.Email}} is ready. Please confirm that this address is
yours within two days:

{{.Link}}

If you did not create an account, you need not do anything.
`)},
	Verify: {"Please confirm your address", parse(`Hello {{.User.Name}},

please confirm within two days that {{.User.Email}} is yours:

{{.Link}}
`)},
	Reset: {"Choose a new password", parse(`Hello {{.User.Name}},

to choose a new password, open this within an hour:

{{.Link}}

If you did not ask for this, you need not do anything: your password stays.
`)},
}

func parse(text string) *template.Template { return template.Must(template.New("").Parse(text)) }

// Work sends the mail. A user who is not there gets none.
func (m *Mailer) Work(ctx context.Context, j *river.Job[MailArgs]) error {
	l, ok := letters[j.Args.Template]
	if !ok {
		return river.JobCancel(fmt.Errorf("there is no mail %q", j.Args.Template))
	}
	data, err := m.data(ctx, j.Args)
	if backend.ErrorCode(err) == backend.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	var text strings.Builder
	if err := l.text.Execute(&text, data); err != nil {
		return err
	}
	return m.Sender.Send(ctx, mail.Message{
		ID: messageID(j), Name: data.User.Name, Address: data.User.Email, Subject: l.subject, Text: text.String(), Date: j.CreatedAt,
	})
}

// data reads what is true now.
func (m *Mailer) data(ctx context.Context, a MailArgs) (*letterData, error) {
	if a.Template == Reset {
		return m.resetData(ctx, a.Email)
	}
	u, err := m.DB.User(ctx, a.UserID)
	if err != nil {
		return nil, err
	}
	token, err := m.Tokens.VerifyToken(u)
	return &letterData{User: u, Link: m.PublicURL + "/verify-email#token=" + token}, err
}

func (m *Mailer) resetData(ctx context.Context, email string) (*letterData, error) {
	c, err := m.DB.CredentialsByEmail(ctx, email)
	if err != nil {
		return nil, err
	}
	u, err := m.DB.User(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	token, err := m.Tokens.ResetToken(c)
	return &letterData{User: u, Link: m.PublicURL + "/reset-password#token=" + token}, err
}

// messageID is the same at every attempt, and for the welcome of one user at
// every job that might be about it.
func messageID(j *river.Job[MailArgs]) string {
	if j.Args.Template == Welcome {
		return fmt.Sprintf("%s-user-%d", Welcome, j.Args.UserID)
	}
	return fmt.Sprintf("%s-job-%d", j.Args.Template, j.ID)
}
