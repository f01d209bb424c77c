package bench

import "syscall"

// childAttr puts the child in a process group of its own and ties its life to
// ours.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
