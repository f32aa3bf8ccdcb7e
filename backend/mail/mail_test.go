package mail

import (
	"bytes"
	"context"
	"io"
	"net"
	netmail "net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

var from = From{Name: "Fairway", Address: "no-reply@fairway.example", Domain: "fairway.example"}

func message() Message {
	return Message{
		ID: "welcome-user-1", Name: "Ada Lövelace", Address: "ada@example.com", Subject: "Grüße", Text: "Hello Ada,\n\nwelcome.\n",
		Date: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

func newMaildir(t *testing.T) (*Maildir, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "mail")
	d, err := NewMaildir(dir, from)
	if err != nil {
		t.Fatal(err)
	}
	return d, dir
}

// delivered returns the mails in new, and fails if something is left in tmp.
func delivered(t *testing.T, dir string) [][]byte {
	t.Helper()
	if left, _ := filepath.Glob(filepath.Join(dir, "tmp", "*")); len(left) > 0 {
		t.Errorf("%v are left in tmp", left)
	}
	files, err := filepath.Glob(filepath.Join(dir, "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	var mails [][]byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		mails = append(mails, b)
	}
	return mails
}

func TestMaildir_DeliversOnceHoweverOftenSent(t *testing.T) {
	d, dir := newMaildir(t)
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			if err := d.Send(t.Context(), message()); err != nil {
				t.Errorf("Send() = %v", err)
			}
		})
	}
	wait.Wait()
	other := message()
	other.ID = "welcome-user-2"
	if err := d.Send(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if n := len(delivered(t, dir)); n != 2 {
		t.Errorf("there are %d mails, want 2", n)
	}
}

func TestMaildir_MailIsReadable(t *testing.T) {
	d, dir := newMaildir(t)
	if err := d.Send(t.Context(), message()); err != nil {
		t.Fatal(err)
	}
	m, err := netmail.ReadMessage(bytes.NewReader(delivered(t, dir)[0]))
	if err != nil {
		t.Fatal(err)
	}
	to, err := m.Header.AddressList("To")
	if err != nil || len(to) != 1 || to[0].Address != "ada@example.com" || to[0].Name != "Ada Lövelace" {
		t.Errorf("To = %v, %v", to, err)
	}
	date, err := m.Header.Date()
	if err != nil || !date.Equal(message().Date) || m.Header.Get("Message-Id") != "<welcome-user-1@fairway.example>" {
		t.Errorf("Date = %v, %v, Message-ID = %q", date, err, m.Header.Get("Message-Id"))
	}
}

// A name cannot smuggle in a header or a second recipient.
func TestBuild_NameWithALineBreak(t *testing.T) {
	d, dir := newMaildir(t)
	m := message()
	m.Name = "Eve\r\nBcc: victim@example.com\r\n\r\nbody"
	if err := d.Send(t.Context(), m); err != nil {
		return // refused is as good
	}
	read, err := netmail.ReadMessage(bytes.NewReader(delivered(t, dir)[0]))
	if err != nil {
		t.Fatal(err)
	}
	if read.Header.Get("Bcc") != "" {
		t.Errorf("the name became a header: %v", read.Header)
	}
}

// server is an SMTP server that keeps what it is given.
type server struct {
	mu    sync.Mutex
	mails []string
	to    []string
}

func (s *server) NewSession(*smtp.Conn) (smtp.Session, error) { return &session{s}, nil }

type session struct{ *server }

func (s *session) Mail(string, *smtp.MailOptions) error { return nil }
func (s *session) Reset()                               {}
func (s *session) Logout() error                        { return nil }

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to = append(s.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails = append(s.mails, string(b))
	return err
}

func TestSMTP_HandsOver(t *testing.T) {
	got := &server{}
	srv := smtp.NewServer(got)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()
	s, err := NewSMTP("smtp://"+l.Addr().String(), from)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(t.Context(), message()); err != nil {
		t.Fatal(err)
	}
	got.mu.Lock()
	defer got.mu.Unlock()
	if len(got.mails) != 1 || got.to[0] != "ada@example.com" || !strings.Contains(got.mails[0], "Message-ID: <welcome-user-1@fairway.example>") {
		t.Errorf("the server got %q for %v", got.mails, got.to)
	}
}

func TestSMTP_ServerIsDown(t *testing.T) {
	s, err := NewSMTP("smtp://127.0.0.1:1", from)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(context.Background(), message()); err == nil {
		t.Error("Send() to nobody succeeded")
	}
}

// A server that is not on this machine must offer TLS.
func TestSMTP_URLs(t *testing.T) {
	for url, ok := range map[string]bool{
		"smtp://mail.example.com": true, "smtps://u:p@mail.example.com:465": true, "smtp://localhost:1025": true,
		"http://mail.example.com": false, "smtp://": false, "mail.example.com:25": false, "smtp://u:hunter2@h:port": false, "": false,
	} {
		_, err := NewSMTP(url, from)
		if (err == nil) != ok {
			t.Errorf("NewSMTP(%q) = %v, want ok %v", url, err, ok)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}
