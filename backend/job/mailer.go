package job

import (
	"context"
	"fmt"
	"strings"
	"text/template"

	"github.com/riverqueue/river"

	"github.com/fairway-gateway/fairway/backend"
	"github.com/fairway-gateway/fairway/backend/mail"
	"github.com/fairway-gateway/fairway/backend/sql"
)

// Template names a mail.
type Template string

// The mails.
const (
	Welcome Template = "welcome"
)

// MailArgs is the job of sending one mail to one user. It names the user and
// holds nothing about them: what is sent is what is true when it is sent.
type MailArgs struct {
	Template Template `json:"template"`
	UserID   int64    `json:"user_id"`
}

// Kind is the job's name in the database.
func (MailArgs) Kind() string { return "mail" }

// Mailer does the jobs of MailArgs.
type Mailer struct {
	river.WorkerDefaults[MailArgs]
	DB     *sql.DB
	Sender mail.Sender
}

// letter is what a template becomes. Its text is a text/template over a *letterData.
type letter struct {
	subject string
	text    *template.Template
}

type letterData struct{ User *backend.User }

var letters = map[Template]letter{
	Welcome: {"Welcome", parse(`Hello {{.User.Name}},

your account for {{.User.Email}} is ready.
`)},
}

func parse(text string) *template.Template { return template.Must(template.New("").Parse(text)) }

// Work sends the mail. A user who is gone gets none.
func (m *Mailer) Work(ctx context.Context, j *river.Job[MailArgs]) error {
	l, ok := letters[j.Args.Template]
	if !ok {
		return river.JobCancel(fmt.Errorf("there is no mail %q", j.Args.Template))
	}
	u, err := m.DB.User(ctx, j.Args.UserID)
	if backend.ErrorCode(err) == backend.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	var text strings.Builder
	if err := l.text.Execute(&text, &letterData{User: u}); err != nil {
		return err
	}
	return m.Sender.Send(ctx, mail.Message{
		ID: messageID(j), Name: u.Name, Address: u.Email, Subject: l.subject, Text: text.String(), Date: j.CreatedAt,
	})
}

// messageID is the same at every attempt, and for the welcome of one user at
// every job that might be about it.
func messageID(j *river.Job[MailArgs]) string {
	if j.Args.Template == Welcome {
		return fmt.Sprintf("%s-user-%d", Welcome, j.Args.UserID)
	}
	return fmt.Sprintf("%s-job-%d", j.Args.Template, j.ID)
}
