package agent

import (
	"os"
	"strings"
)

// hostRun names the run of this machine: the kernel draws another at each boot.
// Empty where there is none; then nobody can tell.
func hostRun() string {
	body, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(body))
}
