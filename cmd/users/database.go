package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/fairway-gateway/fairway/backend"
	"github.com/fairway-gateway/fairway/backend/auth"
	"github.com/fairway-gateway/fairway/backend/job"
	"github.com/fairway-gateway/fairway/backend/sql"
)

func openMigrated(ctx context.Context, c sql.Config) (*sql.DB, error) {
	db, err := sql.Open(ctx, c)
	switch {
	case err != nil && c.URL != "":
		return nil, fmt.Errorf("--database-url (DATABASE_URL): %w", err)
	case err != nil:
		return nil, fmt.Errorf("--data %q: %w", c.Dir, err)
	}
	if err := db.Migrate(ctx); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// onDatabase makes a command that works on a migrated database and ends.
func onDatabase(getenv func(string) string, cmd *cobra.Command, fn func(*cobra.Command, *sql.DB) error) *cobra.Command {
	e := &environment{getenv: getenv, flags: cmd.Flags()}
	d := addDatabaseFlags(e)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := e.err(); err != nil {
			return err
		}
		db, err := openMigrated(cmd.Context(), d.config)
		if err != nil {
			return err
		}
		defer db.Close()
		return fn(cmd, db)
	}
	return cmd
}

func migrateCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{Use: "migrate", Short: "Bring the database's tables up to date", Args: cobra.NoArgs}
	return onDatabase(getenv, cmd, func(*cobra.Command, *sql.DB) error { return nil })
}

func adminCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{Use: "admin", Short: "Manage admins"}
	cmd.AddCommand(adminCreateCommand(getenv))
	return cmd
}

func adminCreateCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "create", Short: "Create a user who may manage others", Args: cobra.NoArgs,
		Example: "  printf %s \"$PASSWORD\" | users admin create --email ada@example.com --name Ada --password-stdin",
	}
	n := backend.NewUser{Role: backend.RoleAdmin}
	cmd.Flags().StringVar(&n.Email, "email", "", "address to log in with")
	cmd.Flags().StringVar(&n.Name, "name", "", "name of the admin")
	stdin := cmd.Flags().Bool("password-stdin", false, "read the password from the first line of the standard input (required: arguments are seen by everybody)")
	return onDatabase(getenv, cmd, func(cmd *cobra.Command, db *sql.DB) error {
		if !*stdin {
			return errors.New("--password-stdin is missing: the password is read from the standard input")
		}
		var err error
		if n.Password, err = firstLine(cmd.InOrStdin()); err != nil {
			return fmt.Errorf("reading the password: %w", err)
		}
		jobs, err := noting(db)
		if err != nil {
			return err
		}
		db.SetOutbox(jobs.Note)
		accounts := &auth.Service{DB: db, Hasher: auth.NewHasher(auth.DefaultCost)}
		u, err := accounts.Register(cmd.Context(), n)
		if err != nil {
			return err
		}
		return json.MarshalWrite(cmd.OutOrStdout(), struct {
			ID    int64  `json:"id"`
			Email string `json:"email"`
		}{u.ID, u.Email})
	})
}

// noting returns a job client that can note jobs and look at them. A running
// users serve does them.
func noting(db *sql.DB) (*job.Client, error) {
	return job.New(db, nil, slog.New(slog.DiscardHandler))
}

func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return strings.TrimRight(line, "\r\n"), nil
}
