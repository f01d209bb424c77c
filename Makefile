# make demo   runs the main job on a simulated substation
# make bench  says what the agent costs beside a loop that only polls
# make deb    builds Debian packages of it for armhf, arm64 and amd64 into dist
# make test   passes the tests; installs what they need from Debian when missing
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  = -s -w -X lvagent/agent.Version=$(VERSION)
BUILD    = CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)'

.PHONY: build demo bench test cross deb generate clean

build:
	@mkdir -p bin
	$(BUILD) -o bin/lvagent ./cmd/lvagent
	$(BUILD) -o bin/lvbench ./cmd/lvbench

demo: build
	bin/lvbench demo $(ARGS)

bench: build
	bin/lvbench bench $(ARGS)
	$(GO) test -run '^$$' -bench 'OpenAMillion|Drain' -benchtime 3x ./buffer
	$(GO) test ./dnp3/... -run '^$$' -bench .
	$(GO) test ./meter/ev -run '^$$' -bench BenchmarkDetection -benchtime 1x -timeout 30m
	$(GO) test ./failsafe -run '^$$' -bench BenchmarkStep
	$(GO) test ./failsafe -run '^$$' -bench BenchmarkReaction -benchtime 1x
	$(GO) test ./failsafe -run '^$$' -bench BenchmarkClosedLoopDay -benchtime 1x -timeout 30m

test: build
	.ci/install mosquitto mosquitto_sub python3 tmux protoc npm chromium tshark
	.ci/seeded -timeout 30m ./...
	$(GO) test -count=1 -timeout 40m -tags integration ./hwtest/... ./dnp3/dnp3net
	$(GO) test -count=1 -tags integration -run "FullDisk|FilledDisk" ./buffer ./agent/outbox

cross:
	@mkdir -p dist
	GOOS=linux GOARCH=arm GOARM=7 $(BUILD) -o dist/lvagent-linux-armv7 ./cmd/lvagent
	GOOS=linux GOARCH=arm64 $(BUILD) -o dist/lvagent-linux-arm64 ./cmd/lvagent
	GOOS=linux GOARCH=amd64 $(BUILD) -o dist/lvagent-linux-amd64 ./cmd/lvagent

deb: cross
	packaging/build

# generate makes the code that is made; a test of sparkplugpb finds it out of date.
generate:
	.ci/install protoc
	$(GO) build -modfile=packaging/tools/go.mod -o bin/protoc-gen-go google.golang.org/protobuf/cmd/protoc-gen-go
	protoc --plugin=protoc-gen-go=bin/protoc-gen-go --proto_path=agent/uplink/sparkplugpb \
		--go_out=agent/uplink/sparkplugpb --go_opt=paths=source_relative sparkplug_b.proto

clean:
	rm -rf bin dist
