// Package play runs scenarios on a rig: simulated meters and controllers that
// speak real Modbus TCP, a real broker, the agent as a child process, a control
// centre and a DNP3 master. It writes down everything that it sees, asks
// [scenario.Evaluate] what it means, and keeps the evidence.
//
// It judges nothing itself, and it knows the agent from outside only.
//
// Requirements: those of the scenarios.
package play

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"lvagent/hwtest/bench"
	"lvagent/hwtest/scenario"
)

// Rig is what scenarios run on: addresses and wires.
type Rig struct {
	Agent    string        `yaml:"agent" doc:"The lvagent to test; a relative path counts from the rig's file. Default beside lvbench, else in $PATH."`
	Emulator []string      `yaml:"emulator" doc:"What the agent is started by, like qemu-arm for a binary of another processor."`
	Broker   string        `yaml:"broker" doc:"mosquitto: one of its own for each scenario. internal: inside lvbench; it cannot be killed or frozen, and such scenarios are refused." one:"mosquitto,internal"`
	Parallel int           `yaml:"parallel" doc:"How many scenarios run at the same time, each on ports of its own. Default 6."`
	Ready    time.Duration `yaml:"ready" doc:"How long the agent may take to come online. Default 20s."`
}

// Loopback is the rig where no file says otherwise.
func Loopback() Rig { return Rig{Broker: "mosquitto", Parallel: 6, Ready: 20 * time.Second} }

// RigSchema is the JSON Schema of a rig file.
func RigSchema() []byte { return scenario.SchemaOf("lvbench rig", Rig{}) }

// ReadRig reads a rig file and returns all its faults.
func ReadRig(file string) (Rig, []scenario.Fault, error) {
	r := Loopback()
	text, err := os.ReadFile(file)
	if err != nil {
		return r, nil, fmt.Errorf("read rig: %w", err)
	}
	faults := scenario.ParseInto(file, text, &r)
	if r.Parallel < 1 || r.Parallel > 64 {
		faults = append(faults, scenario.Fault{File: file, Path: "parallel", Message: "must be 1 to 64"})
	}
	if r.Ready < time.Second {
		faults = append(faults, scenario.Fault{File: file, Path: "ready", Message: "must be 1s or more"})
	}
	if r.Agent != "" && !filepath.IsAbs(r.Agent) {
		r.Agent = filepath.Join(filepath.Dir(file), r.Agent)
	}
	return r, faults, nil
}

// Check finds what the rig lacks, before anything starts. It fills in where the
// agent is.
func (r *Rig) Check(ctx context.Context) (version string, err error) {
	if r.Agent == "" {
		if r.Agent, err = bench.FindAgent(); err != nil {
			return "", err
		}
	}
	if r.Agent, err = filepath.Abs(r.Agent); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	out, err := r.command(ctx, "--version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("the agent does not run on this rig: %s --version: %w %s", r.Agent, err, out)
	}
	if r.Broker == "mosquitto" {
		if _, err := bench.FindMosquitto(); err != nil {
			return "", err
		}
	}
	return string(out), nil
}

// command is a command line of lvagent on the rig.
func (r *Rig) command(ctx context.Context, args ...string) *exec.Cmd {
	line := append(append([]string(nil), r.Emulator...), r.Agent)
	line = append(line, args...)
	return exec.CommandContext(ctx, line[0], line[1:]...)
}

// start starts the agent.
func (r *Rig) start(log *os.File, args ...string) (*bench.Agent, error) {
	line := append(append([]string(nil), r.Emulator...), r.Agent)
	line = append(line, args...)
	return bench.StartAgent(log, line[0], line[1:]...)
}

// checkScenario finds what a scenario asks for that its site or the rig does not have,
// and what can never be true there.
func (r *Rig) checkScenario(s *scenario.Scenario) ([]scenario.Fault, error) {
	place, err := placeOf(s)
	if err != nil {
		return nil, fmt.Errorf("%s: given.site: %w", s.File, err)
	}
	faults := s.Check(place)
	for i := range s.Steps {
		if b := s.Steps[i].When.Broker; r.Broker == "internal" && b != "" && b != "cut" && b != "restore" {
			faults = append(faults, scenario.Fault{File: s.File, Line: s.Steps[i].Line, Path: fmt.Sprintf("steps[%d].when.broker", i),
				Message: "the rig's broker is inside lvbench and takes only cut and restore"})
		}
	}
	return faults, nil
}

// errRig marks what is wrong with the rig and not with the agent.
var errRig = errors.New("the rig is broken")
