package bench

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// A readPlan reads the histories of channels, one after the other, or holds subscriptions.
type readPlan struct {
	Prefix   string // of the channels, bench:p0 and so on
	Channels int
	Messages uint64 // of each
	Hold     bool   // subscribe to all, live, and leave them open
}

// A readDone is what a readPlan read.
type readDone struct {
	Messages, Bytes uint64
	Took            time.Duration
}

func (p readPlan) run(ctx context.Context, up relay.Upstream, held *[]relay.Subscription) (d readDone, err error) {
	began := time.Now()
	for i := range p.Channels {
		ch := relay.Channel(fmt.Sprintf("%s%d", p.Prefix, i))
		if p.Hold {
			s, err := hold(ctx, up, ch)
			if err != nil {
				return d, err
			}
			*held = append(*held, s)
			continue
		}
		n, bytes, err := readHistory(ctx, up, ch, p.Messages)
		d.Messages += n
		d.Bytes += bytes
		if err != nil {
			return d, fmt.Errorf("%s: %w", ch, err)
		}
	}
	d.Took = time.Since(began)
	return d, nil
}

// hold opens a subscription, and waits until it stands.
func hold(ctx context.Context, up relay.Upstream, ch relay.Channel) (relay.Subscription, error) {
	woke := make(chan struct{})
	var once sync.Once
	s := up.Subscribe(relay.SubscribeRequest{Channel: ch, Subject: "bench"}, func() { once.Do(func() { close(woke) }) })
	select {
	case <-woke:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if f := s.Next(nil, 1<<10); len(f) == 0 || f[0].Kind != relay.KindOK {
		return nil, fmt.Errorf("%s: first frames %+v; want an OK", ch, f)
	}
	s.Next(nil, 0) // nothing is lent any more
	return s, nil
}

// batchBytes is how much of a history is pulled at once.
const batchBytes = 256 << 10

// readHistory reads n messages from the first on.
func readHistory(ctx context.Context, up relay.Upstream, ch relay.Channel, n uint64) (got, bytes uint64, err error) {
	woke := make(chan struct{}, 1)
	s := up.Subscribe(relay.SubscribeRequest{
		Channel: ch, Subject: "bench", From: relay.Start{Kind: relay.StartFirst}, Limit: n,
	}, func() {
		select {
		case woke <- struct{}{}:
		default:
		}
	})
	defer s.Close()
	var frames []relay.Frame
	for {
		select {
		case <-woke:
		case <-ctx.Done():
			return got, bytes, ctx.Err()
		}
		for more := true; more; {
			frames = s.Next(frames[:0], batchBytes)
			size := 0
			for _, f := range frames {
				switch f.Kind {
				case relay.KindMessage:
					got++
					size += len(f.Body)
				case relay.KindGap:
					return got, bytes, errors.New("the history has a gap")
				case relay.KindEnd:
					bytes += uint64(size)
					if f.End.Code != relay.Done || got != n {
						return got, bytes, fmt.Errorf("%d of %d messages, then %w", got, n, f.End.Err())
					}
					return got, bytes, nil
				}
			}
			bytes += uint64(size)
			more = size >= batchBytes
		}
	}
}

// diskUse is what a node has on disk, and what it wrote.
type diskUse struct {
	Size    uint64 // bytes that all files take, but what only keeps room
	Written uint64 // by this process, since it began
	Syncs   uint64 // of all files, since the node was opened
}

func (s *nodeServer) disk() (*diskUse, error) {
	if s.node == nil {
		return nil, errors.New("no node runs here")
	}
	size, err := folderSize(s.dir)
	if err != nil {
		return nil, err
	}
	m := s.node.Disk()
	return &diskUse{Size: size, Written: m.WAL + m.Flush + m.Compaction + m.Rewrite + m.Other, Syncs: m.AllSyncs}, nil
}

// folderSize returns what the files of a folder take, but what only keeps room.
func folderSize(dir string) (size uint64, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && (e.IsDir() || e.Name() == "BALLAST") {
			return nil
		}
		if err != nil {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // compacted meanwhile
		}
		if err == nil {
			size += taken(info)
		}
		return err
	})
	return size, err
}

// cold lets the system forget what it keeps in memory of the files below dir.
func cold(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(dropCache(f), f.Close())
	})
}

func poolOf(pem []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in the node's authority")
	}
	return pool, nil
}
