// Command users is Fairway's user service: accounts, logins and access tokens,
// on SQLite or PostgreSQL.
//
//	users serve --listen 127.0.0.1:8081 --data ./data
//
// Every flag has an environment variable; a flag beats its variable.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func main() { os.Exit(run(os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr)) }

// run is the program. It returns the exit code.
func run(args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	// A second signal, while the first one's shutdown runs, ends the process.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	root := rootCommand(getenv)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(stderr, "users: %s\n", oneLine(err))
		return 1
	}
	return 0
}

func rootCommand(getenv func(string) string) *cobra.Command {
	root := &cobra.Command{
		Use: "users", Short: "Fairway's user service",
		SilenceUsage: true, SilenceErrors: true,
	}
	root.AddCommand(serveCommand(getenv), migrateCommand(getenv), adminCommand(getenv), jobsCommand(getenv), keysCommand(getenv),
		exportCommand(getenv), seedCommand(getenv), backupCommand(getenv), versionCommand())
	return root
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), version())
			return err
		},
	}
}

// version is the module's version as the Go tool recorded it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

// oneLine joins the lines of an error, as some drivers write several.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
