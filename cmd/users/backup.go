package main

import (
	"github.com/spf13/cobra"

	"github.com/fairway-gateway/fairway/backend/sql"
)

func backupCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "backup FILE", Short: "Copy the SQLite database to a new file, while the service goes on", Args: cobra.ExactArgs(1),
	}
	return onDatabase(getenv, cmd, func(cmd *cobra.Command, db *sql.DB) error {
		return db.Backup(cmd.Context(), cmd.Flags().Arg(0))
	})
}
