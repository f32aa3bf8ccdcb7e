// Package fairway is the root of a reverse-proxy API gateway: Caddy v2 with
// modules that decide who is calling, how often, what they may send, what is
// already known and whether the upstream can take it.
//
// Nothing is imported from here. The gateway's own code is under modules/, the
// bundled user service under backend/, the commands under cmd/.
package fairway
