package main

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"github.com/fairway-gateway/fairway/backend/sql"
)

// environment reads the defaults of flags from variables.
type environment struct {
	getenv func(string) string
	flags  *pflag.FlagSet
	// wrong holds the variables that could not be read.
	wrong []error
}

func (e *environment) text(v *string, name, variable, value, usage string) {
	if s := e.getenv(variable); s != "" {
		value = s
	}
	e.flags.StringVar(v, name, value, usage+" ["+variable+"]")
}

func (e *environment) number(v *int, name, variable string, value int, usage string) {
	if s := e.getenv(variable); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			e.wrong = append(e.wrong, fmt.Errorf("%s: %q is not a number", variable, s))
		}
		value = n
	}
	e.flags.IntVar(v, name, value, usage+" ["+variable+"]")
}

func (e *environment) duration(v *time.Duration, name, variable string, value time.Duration, usage string) {
	if s := e.getenv(variable); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			e.wrong = append(e.wrong, fmt.Errorf("%s: %q is not a duration like 5s", variable, s))
		}
		value = d
	}
	e.flags.DurationVar(v, name, value, usage+" ["+variable+"]")
}

func (e *environment) toggle(v *bool, name, variable, usage string) {
	value := false
	if s := e.getenv(variable); s != "" {
		b, err := strconv.ParseBool(s)
		if err != nil {
			e.wrong = append(e.wrong, fmt.Errorf("%s: %q is not true or false", variable, s))
		}
		value = b
	}
	e.flags.BoolVar(v, name, value, usage+" ["+variable+"]")
}

// err returns the first variable that could not be read.
func (e *environment) err() error {
	if len(e.wrong) > 0 {
		return e.wrong[0]
	}
	return nil
}

// databaseFlags say which database a command uses.
type databaseFlags struct {
	env    *environment
	config sql.Config
}

func addDatabaseFlags(e *environment) *databaseFlags {
	d := &databaseFlags{env: e}
	c := &d.config
	e.text(&c.Dir, "data", "USERS_DATA", "./data", "folder of the SQLite file, where there is no database URL")
	e.text(&c.URL, "database-url", "DATABASE_URL", urlFromParts(e.getenv), "PostgreSQL, as postgres://user:password@host:5432/name")
	e.text(&c.ReplicaURL, "database-replica-url", "DATABASE_REPLICA_URL", "", "PostgreSQL server to read lists from")
	e.number(&c.MaxConns, "database-max-connections", "DATABASE_MAX_CONNECTIONS", 20, "size of the pool")
	e.duration(&c.IdleTimeout, "database-idle-timeout", "DATABASE_IDLE_TIMEOUT", 30*time.Second, "closes a pooled connection that nobody used")
	e.duration(&c.ConnectTimeout, "database-connect-timeout", "DATABASE_CONNECT_TIMEOUT", 2*time.Second, "bounds one attempt to connect")
	e.duration(&c.QueryTimeout, "database-query-timeout", "DATABASE_QUERY_TIMEOUT", 5*time.Second, "bounds a statement and its wait for a connection")
	e.flags.Lookup("database-url").DefValue = "" // it may hold a password
	return d
}

// urlFromParts builds the URL from DB_HOST, DB_PORT, DB_USER, DB_PASSWORD,
// DB_NAME and DB_SSLMODE. Without DB_HOST there is none.
func urlFromParts(getenv func(string) string) string {
	host := getenv("DB_HOST")
	if host == "" {
		return ""
	}
	or := func(variable, value string) string {
		if s := getenv(variable); s != "" {
			return s
		}
		return value
	}
	u := url.URL{
		Scheme: "postgres", Host: net.JoinHostPort(host, or("DB_PORT", "5432")), Path: "/" + or("DB_NAME", "fairway"),
		User: url.User(or("DB_USER", "fairway")),
	}
	if password := getenv("DB_PASSWORD"); password != "" {
		u.User = url.UserPassword(u.User.Username(), password)
	}
	if mode := getenv("DB_SSLMODE"); mode != "" {
		u.RawQuery = url.Values{"sslmode": {mode}}.Encode()
	}
	return u.String()
}
