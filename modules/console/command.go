package console

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// maxAnswer bounds what the command line reads from the admin endpoint.
const maxAnswer = 64 << 20

// view is a command that shows one kind of part and passes actions on to it.
type view struct {
	name  string
	kind  string // empty: all kinds, and no actions
	act   string // the action, where the command itself names it
	short string
	long  string
}

var views = []view{
	{
		name: "status", short: "Shows the state of every part of the running gateway",
		long: "Shows every part of the running gateway: caches, limits, key sets, breakers, Redis.",
	},
	{
		name: "purge", kind: "cache", act: "purge", short: "Removes responses from the cache of the running gateway",
		long: `Removes cached responses by url=<url>, prefix=<url>, tag=<tag> or all, on every
gateway that shares the cache. With soft they are kept as stale ones.

	fairway purge url=http://localhost:8080/api/users/1
	fairway purge tag=user-1 soft
	fairway purge all`,
	},
	{
		name: "warm", kind: "cache", act: "warm", short: "Fetches URLs into the cache of the running gateway",
		long: `Asks for a list of URLs as an anonymous client would, four at a time and at most
10,000, so that their responses are in the cache where they may be. With
encodings each is asked for once with each Accept-Encoding.

	fairway warm urls="$(cat urls.txt)"
	fairway warm urls=http://localhost:8080/ encodings="br gzip"`,
	},
	{
		name: "limits", kind: "rate_limit", short: "Shows rate limits, or acts on them",
		long: "Shows the zones of the running gateway. With an action, carries it out.",
	},
	{
		name: "breakers", kind: "breaker", short: "Shows circuit breakers, or acts on them",
		long: "Shows the breaker of every upstream of the running gateway. With an action, carries it out.",
	},
	{
		name: "keys", kind: "jwt_auth", short: "Shows the key sets that tokens are verified with",
		long: "Shows every issuer's key set: where it is from, how old, and its key ids.",
	},
}

func init() {
	for _, v := range views {
		caddycmd.RegisterCommand(caddycmd.Command{
			Name:      v.name,
			Usage:     v.usage(),
			Short:     v.short,
			Long:      v.long,
			CobraFunc: v.cobra,
		})
	}
}

func (v view) usage() string {
	const flags = "[--json] [--address <admin>] [--config <path> [--adapter <name>]]"
	switch {
	case v.act != "":
		return "<name>[=<value>]… " + flags
	case v.kind != "":
		return "[<action> <name>[=<value>]…] " + flags
	}
	return flags
}

func (v view) cobra(cmd *cobra.Command) {
	cmd.Flags().Bool("json", false, "Print the answer as JSON")
	cmd.Flags().String("address", "", "Address of the admin endpoint, if not the default")
	cmd.Flags().StringP("config", "c", "", "Config to read the admin address from")
	cmd.Flags().StringP("adapter", "a", "", "Config adapter for --config")
	if v.kind == "" {
		cmd.Args = cobra.NoArgs
	}
	if v.act != "" {
		cmd.Args = cobra.MinimumNArgs(1)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		// Caddy's own commands put a mistake into its log, as JSON where that is
		// not a terminal. Here it is one line for people, and the exit code is 1.
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		err := v.run(caddycmd.Flags{FlagSet: cmd.Flags()})
		if err != nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "fairway: %s\n", strings.TrimSpace(err.Error()))
		}
		return err
	}
}

func (v view) run(fl caddycmd.Flags) error {
	address, err := caddycmd.DetermineAdminAPIAddress(fl.String("address"), nil, fl.String("config"), fl.String("adapter"))
	if err != nil {
		return fmt.Errorf("finding the admin endpoint: %w", err)
	}
	answer, err := v.call(address, fl.Args())
	if err != nil {
		return err
	}
	if fl.Bool("json") {
		_, err = fmt.Println(strings.TrimSpace(string(answer)))
		return err
	}
	return render(os.Stdout, answer)
}

// call asks the admin endpoint to show the parts or, if there are words on the
// command line, to act on them.
func (v view) call(address string, words []string) ([]byte, error) {
	method, uri, body := http.MethodGet, prefix+v.kind, ""
	action := v.act
	if action == "" && len(words) > 0 {
		action, words = words[0], words[1:]
	}
	if action != "" {
		args, err := arguments(words)
		if err != nil {
			return nil, err
		}
		method, uri, body = http.MethodPost, prefix+v.kind+"/"+url.PathEscape(action), args
	}
	header := http.Header{"Content-Type": {"application/json"}}
	resp, err := caddycmd.AdminAPIRequest(address, method, uri, header, strings.NewReader(body))
	if err != nil {
		return nil, plainError(err)
	}
	defer resp.Body.Close()
	return io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
}

// plainError takes the message out of the JSON with which the admin endpoint
// refuses, where Caddy's error holds that.
func plainError(err error) error {
	var refusal struct {
		Error string `json:"error"`
	}
	text := err.Error()
	at := strings.IndexByte(text, '{')
	if at < 0 || json.Unmarshal([]byte(text[at:]), &refusal) != nil || refusal.Error == "" {
		return err
	}
	return errors.New(refusal.Error)
}

// arguments makes a JSON object of name=value words. A bare name is true.
func arguments(words []string) (string, error) {
	args := make(map[string]any, len(words))
	for _, word := range words {
		name, value, valued := strings.Cut(word, "=")
		if name == "" {
			return "", fmt.Errorf("argument %q: want name=value", word)
		}
		if _, twice := args[name]; twice {
			return "", fmt.Errorf("argument %q is given twice", name)
		}
		args[name] = true
		if valued {
			args[name] = value
		}
	}
	text, err := json.Marshal(args)
	return string(text), err
}
