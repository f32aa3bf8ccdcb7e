package job

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/fairway-gateway/fairway/backend"
)

// Job is a job as an operator sees it.
type Job struct {
	ID        int64     `json:"id"`
	Kind      string    `json:"kind"`
	State     string    `json:"state"`
	Attempt   int       `json:"attempt"`
	Attempts  int       `json:"max_attempts"`
	CreatedAt time.Time `json:"created_at"`
	// NextAt is when it runs, or ran.
	NextAt time.Time `json:"scheduled_at"`
	// Error is why the last attempt failed.
	Error string `json:"error,omitempty"`
}

// States are the states a job can be in.
func States() []string {
	var names []string
	for _, s := range rivertype.JobStates() {
		names = append(names, string(s))
	}
	return names
}

// Jobs returns up to limit jobs, the newest first, of one state or, if that is
// empty, of all.
func (c *Client) Jobs(ctx context.Context, state string, limit int) ([]Job, error) {
	p := river.NewJobListParams().First(limit).OrderBy(river.JobListOrderByID, river.SortOrderDesc)
	if state != "" {
		p = p.States(rivertype.JobState(state))
	}
	found, err := c.JobList(ctx, p)
	if err != nil {
		return nil, err
	}
	jobs := make([]Job, len(found.Jobs))
	for i, j := range found.Jobs {
		jobs[i] = show(j)
	}
	return jobs, nil
}

func show(j *rivertype.JobRow) Job {
	out := Job{
		ID: j.ID, Kind: j.Kind, State: string(j.State), Attempt: j.Attempt, Attempts: j.MaxAttempts,
		CreatedAt: j.CreatedAt.UTC(), NextAt: j.ScheduledAt.UTC(),
	}
	if n := len(j.Errors); n > 0 {
		out.Error = j.Errors[n-1].Error
	}
	return out
}

// Retry makes a job run as soon as possible, however it ended before.
func (c *Client) Retry(ctx context.Context, id int64) error {
	_, err := c.JobRetry(ctx, id)
	if errors.Is(err, rivertype.ErrNotFound) {
		return backend.Fail(backend.NotFound, fmt.Sprintf("there is no job %d", id))
	}
	return err
}
