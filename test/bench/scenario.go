package main

import (
	"fmt"
	"io"
	"net/http"
)

// Scenario is one question, such as: what does a cache hit cost?
type Scenario struct {
	// Short name for the command line and the table.
	Name string

	// The question in one line.
	Question string

	// What is compared, in the order of the table.
	Contenders []Contender

	// The name of the contender that the ratios are to.
	Baseline string
}

// Contender is one server answering one kind of request.
type Contender struct {
	Name   string
	Server Server

	// The inside of the Caddyfile's site block, for StockCaddy and Fairway. It
	// may use the words in capitals that config.go explains.
	Config string

	// Redis says that the config needs a redis-server.
	Redis bool

	Request Request

	// What every answer must be. It is checked by single requests before and
	// after each measurement; during it, wrk counts answers of 400 and more.
	Want Answer
}

// Server is the kind of program that answers.
type Server string

const (
	// StockCaddy is Caddy with its standard modules and none of ours.
	StockCaddy Server = "caddy"

	// Fairway is the gateway.
	Fairway Server = "fairway"

	// LoopAnswer is a bare Go loop over net.Conn that answers by itself: the
	// least that a Go server on this machine can spend on a request.
	LoopAnswer Server = "loop"

	// LoopProxy is the same forwarding every request to the origin.
	LoopProxy Server = "loop-proxy"
)

// Request is what the load generator sends over and over.
type Request struct {
	Method string // default GET
	Path   string // default /
	Body   string // sent as application/json

	// Token names a token of tokens.go to send as bearer. Empty: none.
	Token string

	// Users sends the RS256 tokens of this many users in turn instead of Token,
	// which then only tries the server out. 0: none.
	Users int

	// UniquePath appends a number to the path that no other request has.
	UniquePath bool

	// Connections of the load generator. 0: as the command line says.
	Connections int

	// Keys sends an X-Key header that takes this many values in turn. 0: none.
	Keys int
}

// Answer is what a contender must answer.
type Answer struct {
	Status int // default 200

	// Header is a name and a part of the value that the answer must have.
	Header [2]string
}

func (a Answer) status() int {
	if a.Status == 0 {
		return http.StatusOK
	}
	return a.Status
}

func (r Request) path() string {
	if r.Path == "" {
		return "/"
	}
	return r.Path
}

func (r Request) method() string {
	if r.Method == "" {
		return http.MethodGet
	}
	return r.Method
}

func printScenarios(w io.Writer) {
	for _, s := range scenarios() {
		fmt.Fprintf(w, "%-10s %s\n", s.Name, s.Question)
		for _, c := range s.Contenders {
			fmt.Fprintf(w, "           - %s\n", c.Name)
		}
	}
}
