package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strconv"
)

// loopCommand is the first argument with which the bench starts itself as an
// origin or as a bare loop.
const loopCommand = "loop"

// runLoop serves until it is killed: as origin or LoopAnswer, or, with -to, as
// LoopProxy. It reads just enough of HTTP/1.1 for requests of the bench itself
// and is no server for anything else.
func runLoop(args []string) error {
	fs := flag.NewFlagSet(loopCommand, flag.ContinueOnError)
	listen := fs.String("listen", "", "address")
	to := fs.String("to", "", "forward to this address")
	if err := fs.Parse(args); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	for {
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		if *to == "" {
			go answer(conn)
		} else {
			go forward(conn, *to)
		}
	}
}

// originBody is what the origin and every contender answer: 1 KiB of words.
var originBody = append(bytes.Repeat([]byte("fairway "), 127), "fairway!"...)

// The origin's answers: for a shared cache to keep, in three sizes, and not.
var (
	cacheableAnswer = originAnswer("public, max-age=3600", originBody)
	largeAnswer     = originAnswer("public, max-age=3600", largeBody)
	hugeAnswer      = originAnswer("public, max-age=3600", hugeBody)
	uncacheable     = originAnswer("no-store", originBody)
)

func originAnswer(cacheControl string, body []byte) []byte {
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCache-Control: %s\r\nContent-Length: %d\r\n\r\n",
		cacheControl, len(body))
	return append([]byte(head), body...)
}

// originReply is the answer to a request, by its path.
func originReply(req []byte) []byte {
	line := firstLine(req)
	switch {
	case bytes.Contains(line, []byte("/no-store")):
		return uncacheable
	case bytes.Contains(line, []byte(largePath)):
		return largeAnswer
	case bytes.Contains(line, []byte(hugePath)):
		return hugeAnswer
	}
	return cacheableAnswer
}

// answer serves one connection by itself.
func answer(conn net.Conn) {
	defer conn.Close()
	r := messages{conn: conn}
	for {
		req, err := r.next()
		if err != nil {
			return
		}
		if _, err := conn.Write(originReply(req)); err != nil {
			return
		}
	}
}

// forward serves one connection by one connection of its own to the origin.
func forward(conn net.Conn, to string) {
	defer conn.Close()
	up, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer up.Close()
	requests, replies := messages{conn: conn}, messages{conn: up}
	for {
		req, err := requests.next()
		if err != nil {
			return
		}
		if _, err := up.Write(req); err != nil {
			return
		}
		reply, err := replies.next()
		if err != nil {
			return
		}
		if _, err := conn.Write(reply); err != nil {
			return
		}
	}
}

// messages cuts a connection into HTTP/1.1 messages with no body or one of a
// stated Content-Length.
type messages struct {
	conn io.Reader
	buf  [16 << 10]byte
	have []byte // read and not yet returned
}

var errTooLarge = errors.New("message larger than the buffer")

// next returns the next message. It is valid until the next call.
func (m *messages) next() ([]byte, error) {
	for {
		if n := messageLength(m.have); n > 0 && n <= len(m.have) {
			msg := m.have[:n]
			m.have = m.have[n:]
			return msg, nil
		}
		copy(m.buf[:], m.have)
		m.have = m.buf[:len(m.have)]
		if len(m.have) == len(m.buf) {
			return nil, errTooLarge
		}
		n, err := m.conn.Read(m.buf[len(m.have):])
		if err != nil {
			return nil, err
		}
		m.have = m.buf[:len(m.have)+n]
	}
}

var (
	headEnd       = []byte("\r\n\r\n")
	contentLength = []byte("\r\nContent-Length: ")
)

// messageLength is the length of the message that b begins with, 0 if its head
// is not complete.
func messageLength(b []byte) int {
	end := bytes.Index(b, headEnd)
	if end < 0 {
		return 0
	}
	length := end + len(headEnd)
	if at := bytes.Index(b[:end], contentLength); at >= 0 {
		value := b[at+len(contentLength) : end]
		if cr := bytes.IndexByte(value, '\r'); cr >= 0 {
			value = value[:cr]
		}
		n, err := strconv.Atoi(string(value))
		if err != nil {
			return 0
		}
		length += n
	}
	return length
}

func firstLine(msg []byte) []byte {
	line, _, _ := bytes.Cut(msg, headEnd[:2])
	return line
}
