// Package http is the API of the user service, on net/http and huma. Its OpenAPI
// document, at /openapi.json, is made from the Go types of this package.
//
// Every answer that is not a success is application/problem+json (RFC 9457) with
// the members error and details, in the shape of the gateway's own errors.
//
// Requests name who they come from by a bearer token, which this service checks
// itself: a header like X-User-ID, which the gateway adds, is never believed.
package http
