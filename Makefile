# make demo   runs the main job on a simulated substation
# make bench  says what the agent costs beside a loop that only polls
# make test   passes the tests; installs what they need from Debian when missing
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  = -s -w -X lvagent/agent.Version=$(VERSION)
BUILD    = CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)'

.PHONY: build demo bench test cross clean

build:
	@mkdir -p bin
	$(BUILD) -o bin/lvagent ./cmd/lvagent
	$(BUILD) -o bin/lvbench ./cmd/lvbench

demo: build
	bin/lvbench demo $(ARGS)

bench: build
	bin/lvbench bench $(ARGS)
	$(GO) test -run '^$$' -bench 'OpenAMillion|Drain' -benchtime 3x ./buffer
	$(GO) test ./failsafe -run '^$$' -bench BenchmarkStep
	$(GO) test ./failsafe -run '^$$' -bench BenchmarkClosedLoopDay -benchtime 1x -timeout 30m

test: build
	.ci/install mosquitto tmux
	$(GO) test ./...
	$(GO) test -count=1 -tags integration ./hwtest/...

cross:
	@mkdir -p dist
	GOOS=linux GOARCH=arm GOARM=7 $(BUILD) -o dist/lvagent-linux-armv7 ./cmd/lvagent
	GOOS=linux GOARCH=arm64 $(BUILD) -o dist/lvagent-linux-arm64 ./cmd/lvagent
	GOOS=linux GOARCH=amd64 $(BUILD) -o dist/lvagent-linux-amd64 ./cmd/lvagent

clean:
	rm -rf bin dist
