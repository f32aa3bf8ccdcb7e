package main

import (
	"crypto/rand"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairway-gateway/fairway/backend"
	"github.com/fairway-gateway/fairway/backend/auth"
	"github.com/fairway-gateway/fairway/backend/export"
	"github.com/fairway-gateway/fairway/backend/seed"
	"github.com/fairway-gateway/fairway/backend/sql"
)

func exportCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{Use: "export", Short: "Write all users to the standard output, newest first", Args: cobra.NoArgs}
	format := cmd.Flags().String("format", "csv", "csv or ndjson")
	since := cmd.Flags().String("since", "", "only users created then or later, like 2026-01-31")
	return onDatabase(getenv, cmd, func(cmd *cobra.Command, db *sql.DB) error {
		var from time.Time
		if *since != "" {
			var err error
			if from, err = time.Parse(time.DateOnly, *since); err != nil {
				return fmt.Errorf("--since: must be like 2026-01-31, got %q", *since)
			}
		}
		e, err := export.Begin(cmd.Context(), db, export.Format(*format), from)
		if err != nil {
			return err
		}
		return e.Write(cmd.Context(), cmd.OutOrStdout(), func() error { return nil })
	})
}

func seedCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "seed N", Short: "Store N invented users, for tests; they get no mail", Args: cobra.ExactArgs(1),
		Long: "Store N invented users, for tests. They get no mail. Nobody knows their password, unless it is read from the standard input.",
	}
	stdin := cmd.Flags().Bool("password-stdin", false, "give all of them the password in the first line of the standard input")
	return onDatabase(getenv, cmd, func(cmd *cobra.Command, db *sql.DB) error {
		n, err := strconv.Atoi(cmd.Flags().Arg(0))
		if err != nil || n < 1 || n > 100_000_000 {
			return fmt.Errorf("%q is not a number of users from 1 to 100000000", cmd.Flags().Arg(0))
		}
		password := rand.Text()
		if *stdin {
			if password, err = firstLine(cmd.InOrStdin()); err != nil {
				return err
			}
		}
		password, wrong := backend.CheckPassword(password)
		if err := backend.InvalidFields(wrong); err != nil {
			return err
		}
		hash, err := auth.NewHasher(auth.DefaultCost).Hash(cmd.Context(), password)
		if err != nil {
			return err
		}
		return seed.Users(cmd.Context(), db, n, hash, func(done int) {
			if done%100_000 == 0 || done == n {
				fmt.Fprintf(cmd.ErrOrStderr(), "%d users\n", done)
			}
		})
	})
}
