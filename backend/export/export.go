// Package export writes all users, as CSV or as lines of JSON, a page at a time:
// what it needs of memory does not depend on how many there are.
package export

import (
	"bufio"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/fairway-gateway/fairway/backend/sql"
)

// pageSize is how many users are read at once.
const pageSize = 1000

// Format is how users are written.
type Format string

// The formats.
const (
	CSV    Format = "csv"
	NDJSON Format = "ndjson"
)

// ContentType returns the media type of f.
func (f Format) ContentType() string {
	if f == NDJSON {
		return "application/x-ndjson"
	}
	return "text/csv; charset=utf-8"
}

// Export is one run through all users, the newest first.
type Export struct {
	db     *sql.DB
	format Format
	since  time.Time
	page   []sql.ExportRow
}

// Begin reads the first page, so that what can go wrong does so before anything
// is written. Users created before since are left out; the zero time is none.
func Begin(ctx context.Context, db *sql.DB, f Format, since time.Time) (*Export, error) {
	if f != CSV && f != NDJSON {
		return nil, fmt.Errorf("format %q is not csv or ndjson", f)
	}
	e := &Export{db: db, format: f, since: since}
	var err error
	e.page, err = db.ExportPage(ctx, since, nil, pageSize)
	return e, err
}

// Write writes everything. flush is called after each page, when its bytes are on
// their way to w.
func (e *Export) Write(ctx context.Context, w io.Writer, flush func() error) error {
	b := bufio.NewWriterSize(w, 64<<10)
	row := e.rows(b)
	for len(e.page) > 0 {
		for i := range e.page {
			if err := row(&e.page[i]); err != nil {
				return err
			}
		}
		if err := b.Flush(); err != nil {
			return err
		}
		if err := flush(); err != nil {
			return err
		}
		if len(e.page) < pageSize {
			return nil
		}
		last := e.page[pageSize-1]
		var err error
		if e.page, err = e.db.ExportPage(ctx, e.since, &last, pageSize); err != nil {
			return err
		}
	}
	return b.Flush()
}

// rows returns what writes one user to b, and writes the header line of a CSV.
func (e *Export) rows(b *bufio.Writer) func(*sql.ExportRow) error {
	if e.format == NDJSON {
		return func(r *sql.ExportRow) error {
			if err := json.MarshalWrite(b, jsonRow{r.ID, r.Email, r.Name, r.CreatedAt}); err != nil {
				return err
			}
			return b.WriteByte('\n')
		}
	}
	c := csv.NewWriter(b)
	_ = c.Write([]string{"id", "email", "name", "created_at"}) // b keeps the error
	c.Flush()
	return func(r *sql.ExportRow) error {
		err := c.Write([]string{strconv.FormatInt(r.ID, 10), harmless(r.Email), harmless(r.Name), r.CreatedAt.Format(time.RFC3339Nano)})
		c.Flush()
		if err == nil {
			err = c.Error()
		}
		return err
	}
}

type jsonRow struct {
	ID        int64     `json:"id"`
	Email     string    `json:"email"`
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"created_at"`
}

// harmless keeps a spreadsheet from taking a cell for a formula: an apostrophe
// makes it text.
func harmless(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r|%", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}
