package store

import (
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
	// crash returns where a crash leaves the store.
	crash func(h *harness) Config
}

func (h *harness) Write(w *shard.Write) error {
	// What a Host never asks for, the store's loop takes as the store's end.
	if _, err := h.Info(w.Replica); w.Create && err == shard.ErrRemoved {
		return err
	}
	return write(h.t, h.Store, w)
}

func (h *harness) Crash() (shardtest.Harness, error) {
	cfg := h.crash(h)
	n := &harness{t: h.t, cfg: cfg, crash: h.crash}
	n.Store, n.stop = run(h.t, cfg)
	return n, nil
}

func (h *harness) Close() { h.stop() }

func TestSuiteInMemory(t *testing.T) {
	shardtest.TestStore(t, func(t *testing.T) shardtest.Harness {
		h := &harness{t: t, cfg: testConfig(vfs.NewCrashableMem())}
		h.crash = func(h *harness) Config {
			cfg := h.cfg
			cfg.FS = crashed(cfg.FS)
			return cfg
		}
		h.Store, h.stop = run(t, h.cfg)
		return h
	})
}

// On a disk the databases are closed without a flush: like a kill -9, not like a power cut.
func TestSuiteOnDisk(t *testing.T) {
	shardtest.TestStore(t, func(t *testing.T) shardtest.Harness {
		h := &harness{t: t, cfg: testConfig(vfs.Default)}
		h.cfg.Dir = filepath.Join(t.TempDir(), "node")
		h.crash = func(h *harness) Config {
			h.closeSnapshots() // the suite holds one, and Pebble's checks mind
			h.release()
			return h.cfg
		}
		h.Store, h.stop = run(t, h.cfg)
		return h
	})
}
