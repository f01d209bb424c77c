package cost

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Machine is where the figures come from.
type Machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	Arch       string `json:"arch"`
	Kernel     string `json:"kernel"`
	FileSystem string `json:"file_system"` // of the stores
	Load       string `json:"load"`        // averages before the run: how quiet it was
}

// Program is the agent that was measured.
type Program struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	Octets  int64  `json:"octets"` // size of the binary
}

// thisMachine describes the machine; folder is where the stores are.
func thisMachine(folder string) (Machine, error) {
	m := Machine{Cores: runtime.NumCPU(), Arch: runtime.GOARCH, CPU: "unknown", FileSystem: "unknown"}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return m, fmt.Errorf("describe the machine: %w: the bench reads /proc and runs on Linux only", err)
	}
	m.Kernel = strings.TrimSpace(string(kernel))
	cpu, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m, fmt.Errorf("describe the machine: %w", err)
	}
	m.CPU = cpuModel(string(cpu))
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return m, fmt.Errorf("describe the machine: %w", err)
	}
	if f := strings.Fields(string(load)); len(f) >= 3 {
		m.Load = strings.Join(f[:3], " ")
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return m, fmt.Errorf("describe the machine: %w", err)
	}
	if folder, err = filepath.EvalSymlinks(folder); err != nil {
		return m, fmt.Errorf("describe the machine: %w", err)
	}
	m.FileSystem = fileSystem(string(mounts), folder)
	return m, nil
}

// cpuModel reads the name of the processor; ARM boards give the board's.
func cpuModel(cpuinfo string) string {
	for _, key := range []string{"model name", "Model", "Hardware"} {
		for line := range strings.Lines(cpuinfo) {
			if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == key {
				return strings.TrimSpace(v)
			}
		}
	}
	return "unknown"
}

// fileSystem returns the type of the mount that folder lies on: the longest
// that leads there, and of those the last.
func fileSystem(mounts, folder string) string {
	best, kind := "", "unknown"
	for line := range strings.Lines(mounts) {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		under := f[1] == "/" || folder == f[1] || strings.HasPrefix(folder, f[1]+"/")
		if under && len(f[1]) >= len(best) {
			best, kind = f[1], f[2]
		}
	}
	return kind
}

func programOf(ctx context.Context, path string) (Program, error) {
	at, err := os.Stat(path)
	if err != nil {
		return Program{}, fmt.Errorf("look at the agent: %w", err)
	}
	said, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return Program{}, fmt.Errorf("ask %s for its version: %w", path, err)
	}
	version := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(string(said)), "lvagent version"))
	return Program{Version: version, Go: runtime.Version(), Octets: at.Size()}, nil
}
