package mail

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Maildir is a Sender that writes into a maildir (https://cr.yp.to/proto/maildir.html).
// A file is named after its Message-ID, so that a mail which is delivered twice
// is there once, until a mail program has moved it. It is safe for concurrent use.
type Maildir struct {
	dir  string
	from From
}

// NewMaildir makes the maildir if it is not there.
func NewMaildir(dir string, from From) (*Maildir, error) {
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, fmt.Errorf("making the maildir: %w", err)
		}
	}
	return &Maildir{dir: dir, from: from}, nil
}

// Send writes the mail to tmp, completely, and then makes it appear in new.
func (d *Maildir) Send(_ context.Context, m Message) error {
	b, err := d.from.render(m)
	if err != nil {
		return err
	}
	tmp := filepath.Join(d.dir, "tmp", rand.Text())
	if err := writeSynced(tmp, b); err != nil {
		_ = os.Remove(tmp)
		return err
	}
	defer os.Remove(tmp)
	sum := sha256.Sum256([]byte(m.ID + "@" + d.from.Domain))
	err = os.Link(tmp, filepath.Join(d.dir, "new", hex.EncodeToString(sum[:16])+".fairway"))
	if errors.Is(err, fs.ErrExist) {
		return nil // delivered before
	}
	return err
}

func writeSynced(name string, b []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

var _ Sender = (*Maildir)(nil)
