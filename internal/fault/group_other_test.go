//go:build !linux

package fault

import "os/exec"

func dieWithUs(*exec.Cmd) {}
