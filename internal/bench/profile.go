package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strconv"
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

// profiled has a child write a CPU profile until stop, if one is wanted.
func (p *process) profiled(b *bench) (stop func() error, err error) {
	if b.cfg.Profiles == "" {
		return func() error { return nil }, nil
	}
	b.profiles++
	file := filepath.Join(b.cfg.Profiles, b.row+"-"+string(p.role)+"-"+strconv.Itoa(b.profiles)+".pprof")
	if err := p.do(request{Do: "profile", File: file}); err != nil {
		return nil, err
	}
	return func() error { return p.do(request{Do: "profile"}) }, nil
}
