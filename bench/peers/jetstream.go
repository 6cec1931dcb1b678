package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A way is how publishers use JetStream.
type way struct {
	batch  int
	atomic bool // a batch is one atomic publish; otherwise so many are unanswered at once
}

func (w way) String() string {
	if w.atomic {
		return fmt.Sprintf("atomic batches of %d", w.batch)
	}
	return fmt.Sprintf("async, %d unanswered", w.batch)
}

// runJetStream has publishers publish for d, each to a stream of its own.
func runJetStream(ctx context.Context, dir string, w way, publishers, size int, d time.Duration) (f figures, err error) {
	store, err := os.MkdirTemp(dir, "jetstream")
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(store)) }()
	s, err := server.NewServer(&server.Options{
		ServerName: "bench", DontListen: true, JetStream: true, StoreDir: store, SyncAlways: true,
		JetStreamMaxMemory: 1 << 30, JetStreamMaxStore: 1 << 40, NoLog: true, NoSigs: true,
		MaxPending: 256 << 20, MaxPayload: 1 << 20,
	})
	if err != nil {
		return f, err
	}
	go s.Start()
	defer func() { s.Shutdown(); s.WaitForShutdown() }()
	if !s.ReadyForConnections(20 * time.Second) {
		return f, errors.New("the server is not ready after 20 s")
	}
	list := make([]*publisher, publishers)
	for i := range list {
		if list[i], err = newPublisher(ctx, s, i, w, size); err != nil {
			return f, err
		}
		defer list[i].conn.Close()
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	began := time.Now()
	var wg sync.WaitGroup
	errs := make([]error, publishers)
	for i, p := range list {
		wg.Go(func() { errs[i] = p.run(ctx) })
	}
	wg.Wait()
	f.took = time.Since(began)
	for _, p := range list {
		f.latencies = append(f.latencies, p.latencies...)
	}
	return f, errors.Join(errs...)
}

// A publisher has a connection and a stream of its own.
type publisher struct {
	conn      *nats.Conn
	js        jetstream.JetStream
	subject   string
	way       way
	payload   []byte
	latencies []time.Duration
}

func newPublisher(ctx context.Context, s *server.Server, i int, w way, size int) (*publisher, error) {
	conn, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(w.batch))
	if err != nil {
		return nil, err
	}
	p := &publisher{conn: conn, js: js, subject: "bench." + strconv.Itoa(i), way: w, payload: randomPayload(size, i)}
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{
		Name: "bench" + strconv.Itoa(i), Subjects: []string{p.subject},
		Storage: jetstream.FileStorage, Replicas: 1, AllowAtomicPublish: w.atomic,
	})
	return p, err
}

func (p *publisher) run(ctx context.Context) error {
	if p.way.atomic {
		return p.batches(ctx)
	}
	return p.window(ctx)
}

// window keeps so many publishes unanswered.
func (p *publisher) window(ctx context.Context) error {
	type sent struct {
		at     time.Time
		future jetstream.PubAckFuture
	}
	flight := make(chan sent, p.way.batch)
	done := make(chan error, 1)
	go func() {
		var err error
		for s := range flight {
			select {
			case <-s.future.Ok():
				p.latencies = append(p.latencies, time.Since(s.at))
			case e := <-s.future.Err():
				err = errors.Join(err, e)
			}
		}
		done <- err
	}()
	var err error
	for ctx.Err() == nil && err == nil {
		at := time.Now()
		var f jetstream.PubAckFuture
		if f, err = p.js.PublishAsync(p.subject, p.payload, jetstream.WithStallWait(30*time.Second)); err == nil {
			flight <- sent{at, f}
		}
	}
	close(flight)
	return errors.Join(err, <-done)
}

// batches publishes atomic batches, one after the other: its last message is answered when all
// stand.
func (p *publisher) batches(ctx context.Context) error {
	for n := 0; ctx.Err() == nil; n++ {
		began := time.Now()
		id := p.subject + "-" + strconv.Itoa(n)
		for i := 1; i <= p.way.batch; i++ {
			m := nats.NewMsg(p.subject)
			m.Data = p.payload
			m.Header.Set("Nats-Batch-Id", id)
			m.Header.Set("Nats-Batch-Sequence", strconv.Itoa(i))
			if i < p.way.batch {
				if err := p.conn.PublishMsg(m); err != nil {
					return err
				}
				continue
			}
			m.Header.Set("Nats-Batch-Commit", "1")
			answer, err := p.conn.RequestMsg(m, 30*time.Second)
			if err != nil {
				return err
			}
			if err := committed(answer.Data, p.way.batch); err != nil {
				return err
			}
		}
		took := time.Since(began)
		for range p.way.batch {
			p.latencies = append(p.latencies, took)
		}
	}
	return nil
}
