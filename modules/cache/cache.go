// Package cache is Fairway's response cache: RFC 9111 as a shared cache, with
// one copy of a response in this process and, with Redis, one for the fleet.
//
//	cache {
//		ttl 30s
//		stale_while_revalidate 30s
//		stale_if_error 10m
//		max_size 256MiB
//	}
//
// Whether a stored response answers a request is decided by one pure function,
// Decide; what is stored, by Rules.Admit. Requests that want the same thing at
// the same time become one request to the origin, but only what may be stored
// and reused is ever shared. A response is streamed to its client while it is
// stored. What is stored outlives reloads of the config.
//
// It does not promise to keep anything: an entry may go at any time. And it
// does not make a personal response cacheable: an origin that says nothing
// about a response to a user's request gets every such request.
package cache
