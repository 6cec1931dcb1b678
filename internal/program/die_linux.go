package program

import (
	"os/exec"
	"syscall"
)

// DieWithUs has the kernel kill cmd's process if this one dies without a chance to do so. Linux
// only; elsewhere it does nothing.
func DieWithUs(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
