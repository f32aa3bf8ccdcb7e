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

// sizeScenario is hitScenario for a larger body: word stands for it in a config.
func sizeScenario(name, path, word string, connections int) Scenario {
	const baseline = "caddy respond"
	r := Request{Path: path, Connections: connections}
	respond := "\theader Content-Type text/plain\n\trespond \"" + word + "\""
	return Scenario{
		Name:     name,
		Question: "a larger response from the cache, against Caddy answering the same bytes by itself",
		Baseline: baseline,
		Contenders: []Contender{
			{Name: "bare Go loop", Server: LoopAnswer, Request: r},
			{Name: baseline, Server: StockCaddy, Config: respond, Request: r},
			{Name: "caddy file_server", Server: StockCaddy, Config: "\troot " + wordKeys + "\n\tfile_server", Request: r},
			{Name: "fairway cache", Server: Fairway, Config: inRoute(cacheOn, plainProxy), Request: r, Want: Answer{Header: cacheHit}},
		},
	}
}

func cacheScenarios() []Scenario {
	return []Scenario{
		sizeScenario("hit-100k", largePath, wordLarge, 0),
		sizeScenario("hit-10m", hugePath, wordHuge, 8),
	}
}
