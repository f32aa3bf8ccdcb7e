# Each line here can be run by hand. `make` alone lists the targets.

# How everything is built: without C, without this machine's paths, and with
# xcaddy.toml's tags, so that bin/fairway and the tests compile a package once.
export CGO_ENABLED = 0
export GOFLAGS = -trimpath -tags=nobadger,nomysql,nopgx

PACKAGES = ./...
BENCH =
FUZZ = ./modules
LOAD =
FUZZTIME = 20s

.PHONY: help
help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -e 's/:.*## /	/' | expand -t 10

.PHONY: build
build: ## bin/fairway (by xcaddy, see xcaddy.toml) and bin/users
	go run ./cmd/build
	go build -o bin/users ./cmd/users

.PHONY: run
run: build ## build, start the gateway and the user service, show what to try
	go build -o bin/run ./cmd/run
	bin/run

.PHONY: test
test: ## install what the tests need, then run them all
	sh scripts/need.sh test
	go test -timeout 15m $(PACKAGES)

.PHONY: conformance
conformance: bin/fairway ## the HTTP caching tests of npm's http-cache-tests through `cache`
	sh scripts/need.sh test
	GATE=modules/cache/conformance/gate-0.4.5 modules/cache/conformance/run.sh bin/fairway

bin/fairway:
	go run ./cmd/build

.PHONY: fuzz
fuzz: ## look for inputs that break the parsers and the cache's decisions, FUZZTIME for each in FUZZ
	sh scripts/fuzz.sh $(FUZZTIME) $(FUZZ)

.PHONY: bench
bench: ## measure each module beside plain Caddy, then every other figure; BENCH=-short only tries
	sh scripts/need.sh bench
	go run ./test/bench $(BENCH)
	go test -run '^$$' -bench '^BenchmarkFigure' -benchtime 1x -p 1 -timeout 60m $(BENCH) ./modules/... ./backend/... ./test

.PHONY: load
load: build ## the whole stack under load: seven minutes of the mix, and the cost of passwords; LOAD=-short
	go run ./test/load $(LOAD)

.PHONY: artillery
artillery: build ## the same mix by Artillery 2.0.20, which npx fetches; LOAD=-short
	go run ./test/load -artillery $(LOAD)

.PHONY: lint
lint: bin/golangci-lint ## golangci-lint with the house's set, gofumpt among it
	bin/golangci-lint run $(PACKAGES)

.PHONY: fmt
fmt: bin/gofumpt ## format as lint wants it
	bin/gofumpt -w -extra .

.PHONY: vuln
vuln: bin/govulncheck ## known vulnerabilities in what we call (asks vuln.go.dev)
	bin/govulncheck $(PACKAGES)

.PHONY: clean
clean: ## remove bin/ and data/
	rm -rf bin data

# The tools' versions are in tools/go.mod, apart from the gateway's.
bin/golangci-lint: tools/go.mod
	go build -C tools -o ../bin/ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

bin/gofumpt: tools/go.mod
	go build -C tools -o ../bin/ mvdan.cc/gofumpt

bin/govulncheck: tools/go.mod
	go build -C tools -o ../bin/ golang.org/x/vuln/cmd/govulncheck
