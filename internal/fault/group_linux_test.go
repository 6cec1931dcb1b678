package fault

import (
	"os/exec"
	"syscall"
)

// dieWithUs has the kernel kill a child whose parent died without a chance to do so.
func dieWithUs(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
