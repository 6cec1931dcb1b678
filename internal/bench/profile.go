package bench

import (
	"fmt"
	"os"
	"runtime/pprof"
)

// A profiler writes CPU profiles of its process.
type profiler struct{ file *os.File }

// profile begins one, or ends it when name is empty.
func (p *profiler) profile(name string) error {
	if p.file != nil {
		pprof.StopCPUProfile()
		err := p.file.Close()
		p.file = nil
		if err != nil || name == "" {
			return err
		}
	}
	if name == "" {
		return nil
	}
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	p.file = f
	return pprof.StartCPUProfile(f)
}
