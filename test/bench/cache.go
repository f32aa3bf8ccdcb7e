package main

import (
	"bytes"
	"os"
	"path/filepath"
)

// The larger bodies, which the origin answers at these paths, and which lie in
// files of these names for file_server.
const (
	largePath = "/large" // 100 KiB
	hugePath  = "/huge"  // 10 MiB
)

var (
	largeBody = bytes.Repeat(originBody, 100)
	hugeBody  = bytes.Repeat(originBody, 10<<10)
)

func writeBodies(dir string) error {
	for path, body := range map[string][]byte{largePath: largeBody, hugePath: hugeBody} {
		if err := os.WriteFile(filepath.Join(dir, path), body, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// bodyOf is what the origin answers at a path.
func bodyOf(path string) []byte {
	switch path {
	case largePath:
		return largeBody
	case hugePath:
		return hugeBody
	}
	return originBody
}

const (
	byRespond    = "caddy respond"
	byFileServer = "caddy file_server"
)

// sizeScenario is hitScenario for a larger body, against the handlers of Caddy's
// that answer it by themselves; the first one named is the baseline.
func sizeScenario(name string, r Request, baseline ...Contender) Scenario {
	for i := range baseline {
		baseline[i].Server, baseline[i].Request = StockCaddy, r
	}
	return Scenario{
		Name:     name,
		Question: "a larger response from the cache, against Caddy answering the same bytes by itself (target: at most 1.15)",
		Baseline: baseline[0].Name,
		Contenders: append(baseline,
			Contender{Name: "bare Go loop", Server: LoopAnswer, Request: r},
			Contender{Name: "fairway cache", Server: Fairway, Config: inRoute(cacheOn, plainProxy), Request: r, Want: Answer{Header: cacheHit}},
		),
	}
}

func cacheScenarios() []Scenario {
	files := Contender{Name: byFileServer, Config: "\troot " + wordKeys + "\n\tfile_server"}
	respond := Contender{Name: byRespond, Config: "\theader Content-Type text/plain\n\trespond \"" + wordLarge + "\""}
	return []Scenario{
		sizeScenario("hit-100k", Request{Path: largePath}, respond, files),
		// Not respond, which looks for placeholders in its body each time: 10 MiB
		// take it longer than a warm-up.
		sizeScenario("hit-10m", Request{Path: hugePath, Connections: 8}, files),
	}
}
