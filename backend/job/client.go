package job

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivertype"

	"github.com/fairway-gateway/fairway/backend"
	"github.com/fairway-gateway/fairway/backend/sql"
)

const (
	// attempts is how often a job is tried. The waits grow with the fourth power:
	// twelve attempts span about 12 hours.
	attempts = 12
	// jobTimeout bounds one attempt. rescueAfter takes over a job whose process
	// died, and so must be longer.
	jobTimeout  = 30 * time.Second
	rescueAfter = time.Minute
	// Completed jobs are kept for a look, discarded ones for a decision.
	completedFor = time.Hour
	discardedFor = 90 * 24 * time.Hour
)

// queue is what the two kinds of River client have in common.
type queue interface {
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
	StopAndCancel(ctx context.Context) error
	Insert(ctx context.Context, args river.JobArgs, opts *river.InsertOpts) (*rivertype.JobInsertResult, error)
	JobList(ctx context.Context, params *river.JobListParams) (*river.JobListResult, error)
	JobRetry(ctx context.Context, id int64) (*rivertype.JobRow, error)
}

// Client notes jobs and, once started, does them. It is safe for concurrent use.
type Client struct {
	queue
	insertTx func(ctx context.Context, tx sql.Tx, args river.JobArgs) error
}

// New returns a client for the database of db. Without a mailer it can note jobs
// but not do them.
func New(db *sql.DB, m *Mailer, log *slog.Logger) (*Client, error) {
	return newClient(db, m, log, attempts, nil)
}

// newClient is New with a number of attempts and a retry policy, nil for River's.
func newClient(db *sql.DB, m *Mailer, log *slog.Logger, attempts int, retry river.ClientRetryPolicy) (*Client, error) {
	c := &river.Config{
		Logger:     slog.New(warnings{log.Handler()}),
		JobTimeout: jobTimeout, RescueStuckJobsAfter: rescueAfter, MaxAttempts: attempts, RetryPolicy: retry,
		CompletedJobRetentionPeriod: completedFor, DiscardedJobRetentionPeriod: discardedFor,
		ErrorHandler: &failures{log},
	}
	if m != nil {
		c.Workers = river.NewWorkers()
		river.AddWorker(c.Workers, m)
		c.Queues = map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 4}}
	}
	if pool := db.Postgres(); pool != nil {
		return open(riverpgxv5.New(pool), c, func(tx sql.Tx) pgx.Tx { return tx.Postgres })
	}
	return open(riversqlite.New(db.SQLite()), c, func(tx sql.Tx) *stdsql.Tx { return tx.SQLite })
}

// open makes the client for one kind of transaction.
func open[T any](driver riverdriver.Driver[T], c *river.Config, native func(sql.Tx) T) (*Client, error) {
	q, err := river.NewClient(driver, c)
	if err != nil {
		return nil, fmt.Errorf("opening the job queue: %w", err)
	}
	insert := func(ctx context.Context, tx sql.Tx, args river.JobArgs) error {
		_, err := q.InsertTx(ctx, native(tx), args, nil)
		return err
	}
	return &Client{queue: q, insertTx: insert}, nil
}

// UserCreated is the store's outbox: it notes the welcome mail.
func (c *Client) UserCreated(ctx context.Context, tx sql.Tx, u *backend.User) error {
	return c.insertTx(ctx, tx, MailArgs{Template: Welcome, UserID: u.ID})
}

// Shutdown lets running jobs end. Those that have not when ctx ends are
// interrupted, and tried again by whoever runs next.
func (c *Client) Shutdown(ctx context.Context) error {
	err := c.Stop(ctx)
	if err == nil || ctx.Err() == nil {
		return err
	}
	hard, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	return errors.Join(err, c.StopAndCancel(hard))
}

// failures logs what went wrong with a job, without its arguments.
type failures struct{ log *slog.Logger }

// HandleError is called after each failed attempt.
func (f *failures) HandleError(ctx context.Context, j *rivertype.JobRow, err error) *river.ErrorHandlerResult {
	level := slog.LevelWarn
	if j.Attempt >= j.MaxAttempts {
		level = slog.LevelError
	}
	f.log.Log(ctx, level, "job failed", "job", j.ID, "kind", j.Kind, "attempt", j.Attempt, "of", j.MaxAttempts, "error", err)
	return nil
}

// HandlePanic is called after an attempt that panicked.
func (f *failures) HandlePanic(ctx context.Context, j *rivertype.JobRow, value any, trace string) *river.ErrorHandlerResult {
	f.log.ErrorContext(ctx, "job panicked", "job", j.ID, "kind", j.Kind, "panic", value, "stack", trace)
	return nil
}

// warnings is a log handler without what River says in passing.
type warnings struct{ slog.Handler }

// Enabled reports whether somebody wants to know.
func (w warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && w.Handler.Enabled(ctx, l)
}
