package jwtauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

func revokeCommand() *cobra.Command {
	var a revokeArgs
	var exp, notBefore, until string
	cmd := &cobra.Command{
		Use:   "revoke [<token>|-] [--iss <issuer>] [--jti <id> | --sub <subject>] [--until <unix seconds>]",
		Short: "Revokes a token, or all tokens of a subject, on every gateway",
		Long: `Revokes one token, given as such or by --jti, or with --sub all tokens of a
subject that were issued up to now (or --not-before). It tells the running
gateway, which tells all others through Redis.`,
		Args: cobra.MaximumNArgs(1),
		RunE: run(func(cmd *cobra.Command, args []string) error {
			a.Expires, a.NotBefore, a.Until = json.Number(exp), json.Number(notBefore), json.Number(until)
			return revokeByAdmin(cmd, args, a)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&a.Issuer, "iss", "", "Issuer; not needed if the gateway knows only one")
	f.StringVar(&a.TokenID, "jti", "", "Id of the token")
	f.StringVar(&exp, "exp", "", "When the token expires, in Unix seconds")
	f.StringVar(&a.Subject, "sub", "", "Subject whose tokens to revoke")
	f.StringVar(&notBefore, "not-before", "", "Revoke tokens issued at or before this time, in Unix seconds. Default: now")
	f.StringVar(&until, "until", "", "How long to remember it, in Unix seconds. Default: 30 days from now")
	f.String("address", "", "Address of the admin endpoint, if not the default")
	f.StringP("config", "c", "", "Config to read the admin address from")
	f.StringP("adapter", "a", "", "Config adapter for --config")
	return cmd
}

func revokeByAdmin(cmd *cobra.Command, args []string, a revokeArgs) error {
	if len(args) == 1 {
		if a.TokenID != "" || a.Subject != "" {
			return errors.New("give either a token, or --jti, or --sub")
		}
		token, err := tokenArgument(cmd.InOrStdin(), args[0])
		if err != nil {
			return err
		}
		a.Token = token
	}
	body, err := json.Marshal(a.given())
	if err != nil {
		return err
	}
	fl := caddycmd.Flags{FlagSet: cmd.Flags()}
	address, err := caddycmd.DetermineAdminAPIAddress(fl.String("address"), nil, fl.String("config"), fl.String("adapter"))
	if err != nil {
		return fmt.Errorf("finding the admin endpoint: %w", err)
	}
	header := http.Header{"Content-Type": {"application/json"}}
	resp, err := caddycmd.AdminAPIRequest(address, http.MethodPost, "/fairway/"+partKind+"/revoke", header, strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(cmd.OutOrStdout(), io.LimitReader(resp.Body, maxDocument))
	return err
}

// given are the arguments that have a value.
func (a *revokeArgs) given() map[string]string {
	all := map[string]string{
		"iss": a.Issuer, "jti": a.TokenID, "sub": a.Subject, "token": a.Token,
		"exp": a.Expires.String(), "not_before": a.NotBefore.String(), "until": a.Until.String(),
	}
	for name, v := range all {
		if v == "" {
			delete(all, name)
		}
	}
	return all
}
