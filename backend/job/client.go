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
	// Timeout is how long one attempt may take unless Workers say otherwise.
	Timeout = 30 * time.Second
	// Completed jobs are kept for a look, discarded ones for a decision.
	completedFor = time.Hour
	discardedFor = 90 * 24 * time.Hour
	// Jobs are fetched for idle workers this often: together at most 320 a second.
	workers    = 16
	fetchEvery = 50 * time.Millisecond
)

// queue is what the two kinds of River client have in common.
type queue interface {
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
	StopAndCancel(ctx context.Context) error
	JobList(ctx context.Context, params *river.JobListParams) (*river.JobListResult, error)
	JobRetry(ctx context.Context, id int64) (*rivertype.JobRow, error)
}

// Client notes jobs and, once started, does them. It is safe for concurrent use.
type Client struct {
	queue
	db       *sql.DB
	insertTx func(ctx context.Context, tx sql.Tx, args river.JobArgs, opts *river.InsertOpts) error
	// revokes is false where no gateway is to hear of revoked tokens, analyzes where
	// no event is kept.
	revokes, analyzes bool
}

// Workers are those who do the jobs.
type Workers struct {
	Mailer *Mailer
	// Revoker may be nil: then revocations are told to nobody.
	Revoker *Revoker
	// Analyst may be nil: then events are not kept.
	Analyst *Analyst
	// Timeout bounds one attempt. A job whose process died is taken over after twice
	// that. Default: the constant.
	Timeout time.Duration
}

// New returns a client for the database of db. Without workers it can note jobs
// but not do them.
func New(db *sql.DB, w *Workers, log *slog.Logger) (*Client, error) {
	return newClient(db, w, log, attempts, nil)
}

// newClient is New with a number of attempts and a retry policy, nil for River's.
func newClient(db *sql.DB, w *Workers, log *slog.Logger, attempts int, retry river.ClientRetryPolicy) (*Client, error) {
	timeout := Timeout
	if w != nil && w.Timeout != 0 {
		timeout = w.Timeout
	}
	c := &river.Config{
		Logger:     slog.New(warnings{log.Handler()}),
		JobTimeout: timeout, RescueStuckJobsAfter: 2 * timeout, MaxAttempts: attempts, RetryPolicy: retry, FetchCooldown: fetchEvery,
		CompletedJobRetentionPeriod: completedFor, DiscardedJobRetentionPeriod: discardedFor,
		ErrorHandler: &failures{log},
		Middleware:   []rivertype.Middleware{settled(db)},
	}
	if w != nil {
		c.Workers = w.river()
		c.Queues = map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: workers}}
	}
	out := &Client{db: db, revokes: w == nil || w.Revoker != nil, analyzes: w == nil || w.Analyst != nil}
	if pool := db.Postgres(); pool != nil {
		return out, open(out, riverpgxv5.New(pool), c, func(tx sql.Tx) pgx.Tx { return tx.Postgres })
	}
	return out, open(out, riversqlite.New(db.SQLite()), c, func(tx sql.Tx) *stdsql.Tx { return tx.SQLite })
}

// settled has a job begin when what it is about is on the disk: who is not there
// after a power cut has got no mail.
func settled(db *sql.DB) rivertype.WorkerMiddleware {
	return river.WorkerMiddlewareFunc(func(ctx context.Context, _ *rivertype.JobRow, work func(context.Context) error) error {
		if err := db.Settle(); err != nil {
			return err
		}
		return work(ctx)
	})
}

// river registers the workers. All are always there, for jobs that were noted under
// another configuration.
func (w *Workers) river() *river.Workers {
	all := river.NewWorkers()
	river.AddWorker(all, w.Mailer)
	revoker := w.Revoker
	if revoker == nil {
		revoker = &Revoker{}
	}
	river.AddWorker(all, revoker)
	analyst := w.Analyst
	if analyst == nil {
		analyst = &Analyst{}
	}
	river.AddWorker(all, analyst)
	return all
}

// open gives c the client for one kind of transaction.
func open[T any](c *Client, driver riverdriver.Driver[T], conf *river.Config, native func(sql.Tx) T) error {
	q, err := river.NewClient(driver, conf)
	if err != nil {
		return fmt.Errorf("opening the job queue: %w", err)
	}
	c.queue = q
	c.insertTx = func(ctx context.Context, tx sql.Tx, args river.JobArgs, opts *river.InsertOpts) error {
		_, err := q.InsertTx(ctx, native(tx), args, opts)
		return err
	}
	return nil
}

// Note is the store's outbox: it notes what an event makes necessary.
func (c *Client) Note(ctx context.Context, tx sql.Tx, e backend.Event) error {
	switch {
	case e.Kind == backend.UserCreated:
		if err := c.insertTx(ctx, tx, MailArgs{Template: Welcome, UserID: e.UserID}, nil); err != nil || !c.analyzes {
			return err
		}
		return c.insertTx(ctx, tx, AnalyticsArgs{Event: e.Kind, UserID: e.UserID, At: e.At}, nil)
	case e.Kind == backend.TokensRevoked && c.revokes:
		return c.insertTx(ctx, tx, RevokeArgs{UserID: e.UserID, NotBefore: e.At.Unix()}, nil)
	}
	return nil
}

// SendReset notes a mail with a token for a new password, at most one a minute.
func (c *Client) SendReset(ctx context.Context, email string) error {
	return c.send(ctx, MailArgs{Template: Reset, Email: email})
}

// SendVerification notes a mail with a token that proves an address, at most one
// a minute.
func (c *Client) SendVerification(ctx context.Context, user int64) error {
	return c.send(ctx, MailArgs{Template: Verify, UserID: user})
}

func (c *Client) send(ctx context.Context, args MailArgs) error {
	once := &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByArgs: true, ByPeriod: time.Minute}}
	return c.db.Transact(ctx, func(ctx context.Context, tx sql.Tx) error { return c.insertTx(ctx, tx, args, once) })
}

// Shutdown lets running jobs end until soft does. Those that have not are
// interrupted, and tried again by whoever runs next; hard ends the wait for that.
func (c *Client) Shutdown(soft, hard context.Context) error {
	err := c.Stop(soft)
	if err == nil || soft.Err() == nil {
		return err
	}
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
