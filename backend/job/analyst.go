package job

import (
	"context"
	"fmt"
	"time"

	"github.com/riverqueue/river"

	"github.com/fairway-gateway/fairway/backend"
	"github.com/fairway-gateway/fairway/backend/analytics"
)

// AnalyticsArgs is the job of keeping an event for analytics.
type AnalyticsArgs struct {
	Event  backend.EventKind `json:"event"`
	UserID int64             `json:"user_id"`
	At     time.Time         `json:"at"`
}

// Kind is the job's name in the database.
func (AnalyticsArgs) Kind() string { return "analytics" }

// Analyst does the jobs of AnalyticsArgs.
type Analyst struct {
	river.WorkerDefaults[AnalyticsArgs]
	// Events is where they are kept. Nil: nowhere.
	Events *analytics.Folder
}

// Work keeps the event.
func (a *Analyst) Work(_ context.Context, j *river.Job[AnalyticsArgs]) error {
	if a.Events == nil {
		return nil
	}
	return a.Events.Add(analytics.Event{
		ID: fmt.Sprintf("%s-%d", j.Args.Event, j.Args.UserID), Type: string(j.Args.Event), UserID: j.Args.UserID, Time: j.Args.At,
	}, j.Attempt > 1)
}
