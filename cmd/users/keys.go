package main

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/fairway-gateway/fairway/backend"
	"github.com/fairway-gateway/fairway/backend/auth"
	"github.com/fairway-gateway/fairway/backend/sql"
)

func keysCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "Look at the keys that sign access tokens, and rotate them"}
	cmd.AddCommand(keysListCommand(getenv), keysRotateCommand(getenv))
	return cmd
}

func keysListCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the keys, the oldest first, one JSON object a line", Args: cobra.NoArgs}
	return onDatabase(getenv, cmd, func(cmd *cobra.Command, db *sql.DB) error {
		keys, err := db.SigningKeys(cmd.Context())
		if err != nil {
			return err
		}
		for _, k := range keys {
			err := json.MarshalWrite(cmd.OutOrStdout(), struct {
				ID    string           `json:"kid"`
				State backend.KeyState `json:"state"`
				Since time.Time        `json:"since"`
			}{k.ID, k.State, k.ChangedAt})
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout())
		}
		return nil
	})
}

func keysRotateCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{Use: "rotate", Short: "Make the next key sign, and the signing one retire", Args: cobra.NoArgs}
	force := cmd.Flags().Bool("force", false, "even if gateways cannot know the next key yet: until they do, they refuse its tokens")
	leaked := cmd.Flags().Bool("leaked", false, "the signing key leaked: rotate at once and forget it, which ends its tokens as gateways fetch the keys")
	return onDatabase(getenv, cmd, func(cmd *cobra.Command, db *sql.DB) error {
		if _, err := auth.OpenKeys(cmd.Context(), db, time.Now); err != nil {
			return err
		}
		active, err := auth.Rotate(cmd.Context(), db, time.Now(), auth.Rotation{Force: *force || *leaked, Forget: *leaked})
		if err != nil {
			return err
		}
		return json.MarshalWrite(cmd.OutOrStdout(), struct {
			Active string `json:"active"`
		}{active})
	})
}
