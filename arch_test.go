// Package lvagent_test holds the rules that the whole tree keeps.
package lvagent_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "lvagent/"

// below says what each package of ours may import of ours. A package that is
// not here may not exist: the first thing a new one needs is its place.
var below = map[string][]string{
	"cmd/lvagent":              {"agent/cli"},
	"cmd/lvbench":              {"hwtest", "hwtest/bench", "hwtest/cost", "hwtest/play", "hwtest/report", "hwtest/scenario", "hwtest/scenarios"},
	"agent":                    {"agent/audit", "agent/clock", "agent/core", "agent/credentials", "agent/ledger", "agent/message", "agent/metrics", "agent/outbox", "agent/page", "agent/points", "agent/poll", "agent/recorder", "agent/socket", "agent/sparkplug", "agent/statefile", "agent/tape", "agent/trial", "agent/uplink", "configs", "dnp3", "dnp3/dnp3net", "failsafe", "failsafe/journal", "failsafe/relay", "meter", "meter/modbus", "meter/spi"},
	"agent/cli":                {"agent", "agent/audit", "agent/core", "agent/credentials", "agent/message", "agent/page", "agent/points", "agent/replay", "agent/simulate", "agent/socket", "agent/survey", "agent/trial", "agent/uplink", "agent/watch", "configs", "failsafe", "failsafe/journal", "meter", "meter/modbus"},
	"agent/audit":              {"failsafe", "meter"},
	"agent/socket":             {},
	"agent/credentials":        {},
	"agent/survey":             {"configs", "meter", "meter/modbus"},
	"agent/clock":              {"meter"},
	"agent/core":               {"agent/audit", "agent/clock", "agent/message", "agent/outbox", "agent/uplink", "configs", "failsafe", "failsafe/journal", "meter", "meter/alarm", "meter/ev", "meter/loading", "meter/pq", "meter/window", "meter/wiring"},
	"agent/message":            {"meter"},
	"agent/message/schematest": {"agent/message"},
	"agent/ledger":             {"agent/message"},
	"agent/outbox":             {"agent/ledger", "agent/message", "agent/uplink", "buffer", "configs"},
	"agent/recorder":           {"agent/message", "agent/ring", "meter", "meter/flight"},
	"agent/metrics":            {},
	"agent/page":               {"agent/socket"},
	"agent/points":             {"dnp3", "failsafe", "meter"},
	"agent/poll":               {"meter"},
	"agent/statefile":          {},
	"agent/trial":              {},
	"agent/sparkplug":          {"agent/message", "agent/uplink/sparkplugpb", "meter"},
	"agent/watch":              {"agent/message", "agent/sparkplug", "agent/uplink/sparkplugpb"},
	"agent/uplink":             {"agent/message", "agent/sparkplug", "meter"},
	"agent/uplink/sparkplugpb": {},
	"agent/uplink/uplinktest":  {},
	"buffer":                   {},
	"configs":                  {"failsafe", "meter", "meter/alarm", "meter/ev", "meter/loading"},
	"dnp3":                     {"dnp3/app", "dnp3/link", "dnp3/transport"},
	"dnp3/app":                 {},
	"dnp3/dnp3net":             {"dnp3"},
	"dnp3/dnp3test":            {},
	"dnp3/link":                {},
	"dnp3/transport":           {},
	"failsafe":                 {"meter"},
	"failsafe/relay/relaytest": {"failsafe/relay", "meter"},
	"failsafe/relay":           {"failsafe", "meter"},
	"failsafe/journal":         {"failsafe", "meter"},
	"agent/replay":             {"agent/audit", "failsafe", "failsafe/journal"},
	"agent/ring":               {},
	"agent/tape":               {"agent/ring", "failsafe", "failsafe/journal", "meter"},
	"agent/simulate":           {"failsafe", "meter"},
	"hwtest":                   {"agent/message", "dnp3/dnp3test", "hwtest/bench", "meter"},
	"hwtest/cost":              {"agent/message", "buffer", "hwtest/bench", "meter", "meter/alarm", "meter/metertest", "meter/modbus", "meter/window"},
	"hwtest/powercut":          {},
	"hwtest/bench":             {"agent/message", "meter", "meter/metertest"},
	"hwtest/scenario":          {},
	"hwtest/scenarios":         {"hwtest/scenario"},
	"hwtest/report":            {"hwtest/play", "hwtest/scenario"},
	"hwtest/play":              {"dnp3/dnp3test", "hwtest/bench", "hwtest/scenario", "meter/metertest"},
	"meter":                    {},
	"meter/alarm":              {"meter", "meter/fixed"},
	"meter/ev":                 {"meter"},
	"meter/fixed":              {},
	"meter/flight":             {"meter"},
	"meter/loading":            {"meter", "meter/fixed"},
	"meter/metertest":          {"meter"},
	"meter/modbus":             {"meter"},
	"meter/pq":                 {"meter", "meter/fixed"},
	"meter/spi":                {"meter"},
	"meter/spi/spitest":        {},
	"meter/window":             {"meter", "meter/fixed"},
	"meter/wiring":             {"meter", "meter/fixed"},
	"packaging":                {"hwtest/bench"},
	"packaging/manual":         {"agent/cli"},
	"packaging/sbom":           {},
	"":                         {},
}

// pure packages hold no I/O, no clock, no log, no lock and no dice.
var pure = []string{"agent/points", "agent/audit", "agent/ledger", "agent/message", "agent/watch", "agent/sparkplug", "dnp3", "dnp3/app", "dnp3/link", "dnp3/transport", "failsafe", "meter", "meter/alarm", "meter/ev", "meter/fixed", "meter/flight", "meter/loading", "meter/pq", "meter/window", "meter/wiring", "agent/replay", "failsafe/journal", "agent/simulate", "hwtest/scenario"}

var impure = []string{"net", "os", "log", "log/slog", "sync", "sync/atomic", "math/rand", "math/rand/v2", "crypto/rand", "io/fs", "os/exec", "syscall", "context"}

var impureTime = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// homes says where an outside module may be imported: one place each, and the
// test rigs.
var homes = map[string][]string{
	"github.com/simonvetter/modbus":       {"meter/modbus"},
	"github.com/eclipse/paho.mqtt.golang": {"agent/uplink", "agent/uplink/uplinktest", "hwtest/bench"},
	"github.com/mochi-mqtt/server/v2":     {"hwtest/bench"},
	"google.golang.org/protobuf":          {"agent/uplink/sparkplugpb"},
	"go.etcd.io/bbolt":                    {"buffer"},
	"github.com/spf13/viper":              {"configs"},
	"github.com/go-viper/mapstructure/v2": {"configs"},
	"github.com/spf13/cobra":              {"agent/cli", "cmd/lvbench", "packaging/manual"},
	"github.com/coreos/go-systemd/v22":    {"agent/cli"},
	"golang.org/x/term":                   {"agent/cli", "hwtest", "cmd/lvbench"},
	"go.yaml.in/yaml/v3":                  {"configs", "meter/modbus", "meter/spi", "hwtest/bench", "hwtest/play", "hwtest/scenario"},
	"periph.io/x/conn/v3":                 {"meter/spi", "meter/spi/spitest"},
	"periph.io/x/host/v3":                 {"meter/spi"},
	"golang.org/x/sys":                    {"agent/clock", "buffer", "failsafe/relay", "meter/metertest"},

	// Not in the agent.
	"github.com/chromedp/chromedp":             {"hwtest"},
	"github.com/hanwen/go-fuse/v2":             {"hwtest/powercut"},
	"github.com/VictoriaMetrics/metrics":       {"agent/metrics"},
	"github.com/chromedp/cdproto":              {"hwtest"},
	"github.com/santhosh-tekuri/jsonschema/v6": {"agent/message/schematest"},
}

// TestArchitecture holds the rules of the house: imports point down only, pure
// packages are pure, each outside module has one home, no file is too long.
func TestArchitecture(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, fault := range check(t, f, nil) {
			t.Error(fault)
		}
	}
}

// TestArchitectureIsHeld plants violations, so that the rules are known to bite.
func TestArchitectureIsHeld(t *testing.T) {
	tests := []struct{ name, file, source, want string }{
		{"upward import", "meter/x.go", `package meter; import _ "lvagent/failsafe"`, "may not import lvagent/failsafe"},
		{"second home", "agent/x.go", `package agent; import _ "go.etcd.io/bbolt"`, "go.etcd.io/bbolt belongs to buffer"},
		{"the bench in the agent", "agent/x.go", `package agent; import _ "lvagent/hwtest/powercut"`, "may not import lvagent/hwtest/powercut"},
		{"a file system in the agent", "agent/x.go", `package agent; import _ "github.com/hanwen/go-fuse/v2/fs"`, "go-fuse/v2/fs belongs to hwtest/powercut"},
		{"unknown module", "agent/x.go", `package agent; import _ "example.org/x"`, "example.org/x has no home"},
		{"log in a pure package", "failsafe/x.go", `package failsafe; import _ "log/slog"`, "pure"},
		{"clock in a pure package", "failsafe/x.go", `package failsafe; import "time"; var x = time.Now()`, "time.Now"},
		{"timer in a pure package", "meter/window/x.go", `package window; import "time"; var x = time.NewTimer(1)`, "time.NewTimer"},
		{"testing outside tests", "hwtest/x.go", `package hwtest; import _ "testing"`, "testing"},
		{"package without a place", "agent/helper/x.go", `package helper`, "no place"},
		{"file too long", "agent/x.go", "package agent\n" + strings.Repeat("//\n", 801), "lines"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			faults := check(t, tt.file, []byte(tt.source))
			if !slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(f, tt.want) }) {
				t.Errorf("faults = %q, want one with %q", faults, tt.want)
			}
		})
	}
}

// TestPackagesSayWhatTheyAreFor demands a package comment of each package.
func TestPackagesSayWhatTheyAreFor(t *testing.T) {
	said := map[string]bool{}
	for _, f := range goFiles(t) {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		dir := path.Dir(f)
		said[dir] = said[dir] || parsed.Doc != nil
	}
	for dir, ok := range said {
		if !ok {
			t.Errorf("package %s has no comment that says what it is for", dir)
		}
	}
}

func goFiles(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard", "*.go").Output()
	if err != nil {
		t.Fatalf("list files: %v", err)
	}
	var files []string
	for f := range strings.Lines(string(out)) {
		f = strings.TrimSpace(f)
		if _, err := os.Stat(f); err == nil {
			files = append(files, filepath.ToSlash(f))
		}
	}
	if len(files) < 20 {
		t.Fatalf("only %d files found", len(files))
	}
	return files
}

// check returns the faults of one file; its text is read when source is nil.
func check(t *testing.T, file string, source []byte) (faults []string) {
	t.Helper()
	if source == nil {
		var err error
		if source, err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	fault := func(parts ...string) { faults = append(faults, file+": "+strings.Join(parts, " ")) }
	if n := bytes.Count(source, []byte("\n")); n > 800 {
		fault(strconv.Itoa(n), "lines, at most 800")
	}
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, file, source, 0)
	if err != nil {
		t.Fatal(err)
	}
	dir := strings.TrimPrefix(path.Dir(file), ".")
	test := strings.HasSuffix(file, "_test.go")
	allowed, known := below[dir]
	if !known {
		fault("package", dir, "has no place; give it one in arch_test.go")
	}
	isPure := slices.Contains(pure, dir) && !test
	for _, spec := range f.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		switch ours, isOurs := strings.CutPrefix(name, module); {
		case test && (isOurs || strings.Contains(name, ".")):
			// A test may use what it tests against.
		case isOurs && ours != dir && !slices.Contains(allowed, ours):
			fault("may not import", name)
		case isOurs:
		case isPure && slices.Contains(impure, name):
			fault("is pure and may not import", name)
		case name == "testing" && !test:
			fault("imports testing outside a test")
		case strings.Contains(strings.Split(name, "/")[0], "."):
			home, ok := homeOf(name)
			switch {
			case !ok:
				fault(name, "has no home; give it one in arch_test.go")
			case !slices.Contains(home, dir):
				fault(name, "belongs to", strings.Join(home, ", "))
			}
		}
	}
	if isPure {
		ast.Inspect(f, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(impureTime, sel.Sel.Name) {
				fault("is pure and may not use", "time."+sel.Sel.Name)
			}
			return true
		})
	}
	return faults
}

func homeOf(name string) ([]string, bool) {
	for m, home := range homes {
		if name == m || strings.HasPrefix(name, m+"/") {
			return home, true
		}
	}
	return nil, false
}
