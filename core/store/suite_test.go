package store

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/core/shard/shardtest"
)

// A harness is a store as the suite of all stores wants it.
type harness struct {
	*Store
	t    *testing.T
	cfg  Config
	stop func()
	// crash returns the file system and the folder as a power cut leaves them.
	crash func(cfg Config) (Config, error)
}

func (h *harness) Write(w *shard.Write) error {
	// What a Host never asks for, the store's loop takes as the store's end.
	if _, err := h.Info(w.Replica); w.Create && err == shard.ErrRemoved {
		return err
	}
	return write(h.t, h.Store, w)
}

func (h *harness) Crash() (shardtest.Harness, error) {
	cfg, err := h.crash(h.cfg)
	if err != nil {
		return nil, err
	}
	n := &harness{t: h.t, cfg: cfg, crash: h.crash}
	n.Store, n.stop = run(h.t, cfg)
	return n, nil
}

func (h *harness) Close() { h.stop() }

func TestSuiteInMemory(t *testing.T) {
	shardtest.TestStore(t, func(t *testing.T) shardtest.Harness {
		h := &harness{t: t, cfg: testConfig(vfs.NewCrashableMem())}
		h.crash = func(cfg Config) (Config, error) {
			cfg.FS = crashed(cfg.FS)
			return cfg, nil
		}
		h.Store, h.stop = run(t, h.cfg)
		return h
	})
}

// A disk's folder is copied while the process runs: like a kill -9, not like a power cut.
func TestSuiteOnDisk(t *testing.T) {
	shardtest.TestStore(t, func(t *testing.T) shardtest.Harness {
		top, n := t.TempDir(), 0
		h := &harness{t: t, cfg: testConfig(vfs.Default)}
		h.cfg.Dir = filepath.Join(top, "0")
		h.crash = func(cfg Config) (Config, error) {
			n++
			from := cfg.Dir
			cfg.Dir = filepath.Join(top, fmt.Sprint(n))
			_, err := vfs.Clone(vfs.Default, vfs.Default, from, cfg.Dir)
			return cfg, err
		}
		h.Store, h.stop = run(t, h.cfg)
		return h
	})
}
