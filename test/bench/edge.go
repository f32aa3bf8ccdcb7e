package main

// accessLog writes a line for each request to nowhere, so that what is measured
// is the line and not a disk.
const accessLog = `	log {
		output file /dev/null {
			roll_disabled
		}
		format json
	}
`

// edgeScenarios measure what the edge's modules add to a request that is logged.
func edgeScenarios() []Scenario {
	const logged = "fairway, access log"
	return []Scenario{{
		Name:     "edge",
		Question: "a logged, proxied request: what request_id, problem and log fields of ours add (target: 3 %)",
		Baseline: logged,
		Contenders: []Contender{
			{Name: "fairway, no log", Server: Fairway, Config: plainProxy},
			{Name: logged, Server: Fairway, Config: accessLog + plainProxy},
			{
				Name: "fairway request_id, problem, log fields", Server: Fairway,
				Config: accessLog + "	request_id\n" + plainProxy + "\n	handle_errors {\n		problem\n	}",
			},
			{
				Name: "fairway the same and log_append", Server: Fairway,
				Config: accessLog + "	log_append upstream {http.reverse_proxy.upstream.hostport}\n	request_id\n" +
					plainProxy + "\n	handle_errors {\n		problem\n	}",
			},
		},
	}}
}
