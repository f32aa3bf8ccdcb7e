package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/fairway-gateway/fairway/backend/job"
	"github.com/fairway-gateway/fairway/backend/sql"
)

func jobsCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{Use: "jobs", Short: "Look at work that is done after a request, and start it anew"}
	cmd.AddCommand(jobsListCommand(getenv), jobsRetryCommand(getenv))
	return cmd
}

func jobsListCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List jobs, the newest first, one JSON object a line", Args: cobra.NoArgs}
	state := cmd.Flags().String("state", "discarded", "state of the jobs: "+strings.Join(job.States(), ", ")+", or all")
	limit := cmd.Flags().Int("limit", 100, "how many, up to 10000")
	return onDatabase(getenv, cmd, func(cmd *cobra.Command, db *sql.DB) error {
		wanted := *state
		switch {
		case wanted == "all":
			wanted = ""
		case !slices.Contains(job.States(), wanted):
			return fmt.Errorf("--state: must be all or one of %s, got %q", strings.Join(job.States(), ", "), wanted)
		}
		if *limit < 1 || *limit > 10_000 {
			return fmt.Errorf("--limit: must be from 1 to 10000, got %d", *limit)
		}
		jobs, err := noting(db)
		if err != nil {
			return err
		}
		list, err := jobs.Jobs(cmd.Context(), wanted, *limit)
		if err != nil {
			return err
		}
		for _, j := range list {
			if err := json.MarshalWrite(cmd.OutOrStdout(), j); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout())
		}
		return nil
	})
}

func jobsRetryCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{Use: "retry ID...", Short: "Run jobs as soon as possible, however they ended", Args: cobra.MinimumNArgs(1)}
	return onDatabase(getenv, cmd, func(cmd *cobra.Command, db *sql.DB) error {
		jobs, err := noting(db)
		if err != nil {
			return err
		}
		for _, arg := range cmd.Flags().Args() {
			id, err := strconv.ParseInt(arg, 10, 64)
			if err != nil {
				return fmt.Errorf("%q is not the id of a job", arg)
			}
			if err := jobs.Retry(cmd.Context(), id); err != nil {
				return err
			}
		}
		return nil
	})
}
