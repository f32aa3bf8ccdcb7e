package validate

import (
	"strings"
	"testing"
)

const serversDocument = `
openapi: 3.0.3
servers: [{url: "https://api.example.com/v1/"}]
paths:
  /things:
    get: {responses: {200: {description: ok}}}
    post:
      servers: [{url: /v2}, {url: "https://other.example/{stage}/x", variables: {stage: {default: v3}}}]
      requestBody: {required: true, content: {application/json: {}}}
      responses: {200: {description: ok}}
  /status:
    servers: [{url: /}]
    get: {responses: {200: {description: ok}}}
    options: {responses: {204: {description: ok}}}
  /{any}/one:
    get: {parameters: [{name: any, in: path, schema: {type: integer}}], responses: {200: {description: ok}}}
  /two/{any}:
    get: {parameters: [{name: any, in: path, schema: {type: integer}}], responses: {200: {description: ok}}}
  /two/one:
    get: {responses: {200: {description: ok}}}
`

// Servers of an operation win over those of its path, and those over the
// document's; base_path over all. What is concrete wins over what is not.
func TestOpenAPI_ServersAndPrecedence(t *testing.T) {
	u := &upstream{}
	file := writeFile(t, "servers.yaml", serversDocument)
	h := provision(t, &Handler{OpenAPI: &OpenAPI{Document: file, OnUnknown: "refuse"}})
	based := provision(t, &Handler{OpenAPI: &OpenAPI{Document: file, OnUnknown: "refuse", BasePath: "/api/"}})
	for target, want := range map[string][2]int{ // by the document's servers, by base_path
		"GET /v1/things": {200, 404}, "HEAD /v1/things": {200, 404}, "POST /v1/things": {405, 404},
		"GET /v2/things": {405, 404}, "POST /v2/things": {400, 404}, "POST /v3/x/things": {400, 404},
		"GET /status": {200, 404}, "OPTIONS /status": {200, 404}, "GET /v1/status": {404, 404},
		"GET /v1/two/one": {200, 404}, "GET /v1/7/one": {200, 404}, "GET /v1/two/7": {200, 404},
		"GET /v1/x/one": {400, 404}, "GET /v1/two/x": {400, 404}, "GET /v1/things/": {404, 404}, "GET /v1": {404, 404},
		"GET /api/things": {404, 200}, "POST /api/things": {404, 400}, "GET /api/status": {404, 200}, "OPTIONS /api/things": {404, 405},
		"CONNECT /status": {405, 404}, "get /status": {405, 404},
	} {
		method, path, _ := strings.Cut(target, " ")
		for i, each := range []*Handler{h, based} {
			if status, got := call(each, u, method, path, "", ""); status != want[i] {
				t.Errorf("%s: %d %s, want %d", target, status, got, want[i])
			}
		}
	}
}
