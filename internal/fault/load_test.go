package fault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/client"
	"github.com/meridian-relay/meridian/internal/check"
	"github.com/meridian-relay/meridian/relay"
)

// A load is publishers that repeat, and subscribers, on channels of its own, all of it recorded.
type load struct {
	t        *testing.T
	f        *fleet
	channels []relay.Channel
	clock    check.Clock
	logs     []*check.Recorder
	subs     []*subscriber
	clients  []*client.Client

	stopSend context.CancelFunc
	stopRead context.CancelFunc
	senders  sync.WaitGroup
	readers  sync.WaitGroup

	mu     sync.Mutex
	acked  map[relay.Channel]relay.Position // the highest acknowledged
	count  int                              // acknowledged
	lastAt time.Time
	worst  time.Duration // the longest time without an acknowledgement
}

// A loadConfig says how much; the zero value is what a test of seconds bears.
type loadConfig struct {
	channels   int  // 0: 4
	publishers int  // 0: 2, each to all channels
	rate       int  // messages a second of each publisher; 0: 150
	bytes      int  // of a payload; 0: 200
	mixed      bool // classes global and ephemeral have channels too
}

// newLoad starts a load. name makes its channels its own.
func newLoad(t *testing.T, f *fleet, name string, cfg loadConfig) *load {
	t.Helper()
	set := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	set(&cfg.channels, 4)
	set(&cfg.publishers, 2)
	set(&cfg.rate, 150)
	set(&cfg.bytes, 200)
	l := &load{t: t, f: f, clock: check.NewClock(), acked: make(map[relay.Channel]relay.Position), lastAt: time.Now()}
	for i := range cfg.channels {
		ns := "demo"
		if cfg.mixed {
			ns = [...]string{"demo", "wide", brief}[i%3]
		}
		l.channels = append(l.channels, relay.Channel(fmt.Sprintf("%s:%s-%d", ns, name, i)))
	}
	var sending, reading context.Context
	sending, l.stopSend = context.WithCancel(context.Background())
	reading, l.stopRead = context.WithCancel(context.Background())
	readers := l.client("reader")
	r := l.recorder("subscribers")
	for i, ch := range l.channels {
		l.read(reading, readers, r, ch, client.SubscribeOptions{From: relay.Start{Kind: relay.StartFirst}})
		l.read(reading, readers, r, ch, client.SubscribeOptions{Barrier: i%2 == 0, Own: i%2 == 1})
	}
	l.readers.Go(func() { l.probe(reading, readers, l.recorder("probes")) })
	for i := range cfg.publishers {
		who := fmt.Sprintf("publisher-%d", i)
		c, r := l.client(who), l.recorder(who)
		l.senders.Go(func() { l.send(sending, c, r, who, cfg) })
	}
	t.Cleanup(l.close)
	return l
}

func (l *load) recorder(name string) *check.Recorder {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := check.NewRecorder(check.RecorderConfig{Name: name, Clock: l.clock})
	l.logs = append(l.logs, r)
	return r
}

func (l *load) client(subject string) *client.Client {
	c := l.f.client(subject)
	l.clients = append(l.clients, c)
	return c
}

func (l *load) close() {
	l.stopSend()
	l.stopRead()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, c := range l.clients {
		_ = c.Close(ctx)
	}
	l.senders.Wait()
	l.readers.Wait()
}

// send publishes to all channels in turn until ctx ends, and then waits for what is unanswered.
func (l *load) send(ctx context.Context, c *client.Client, r *check.Recorder, who string, cfg loadConfig) {
	var open sync.WaitGroup
	defer open.Wait()
	tick := time.NewTicker(time.Second / time.Duration(cfg.rate))
	defer tick.Stop()
	for n := 0; ctx.Err() == nil; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		ch := l.channels[n%len(l.channels)]
		text := fmt.Sprintf("%s %s %d ", ch, who, n)
		payload := []byte(text + strings.Repeat("x", max(0, cfg.bytes-len(text))))
		op := r.Publish(check.Publish{
			Channel: ch, Producer: who, N: uint64(n/len(l.channels)) + 1, Payload: payload,
		})
		open.Add(1)
		err := c.PublishAsync(ctx, ch, client.Message{Payload: payload}, func(at relay.Position, err error) {
			defer open.Done()
			r.Answer(op, at, codeOf(err))
			if err == nil {
				l.acknowledged(ch, at)
			}
		})
		if err != nil {
			r.Answer(op, relay.Position{}, codeOf(err))
			open.Done()
		}
	}
}

func (l *load) acknowledged(ch relay.Channel, at relay.Position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.acked[ch].Before(at) {
		l.acked[ch] = at
	}
	now := time.Now()
	l.worst = max(l.worst, now.Sub(l.lastAt))
	l.lastAt = now
	l.count++
}

// acknowledgements is how many there were.
func (l *load) acknowledgements() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// codeOf says how a publish ended.
func codeOf(err error) relay.Code {
	var refused *relay.Error
	switch {
	case err == nil:
		return relay.Done
	case errors.Is(err, client.ErrUnknownOutcome):
		return relay.Unknown
	case errors.As(err, &refused):
		return refused.End.Code
	}
	return relay.Cancelled
}

// A subscriber is one subscription, through all that happens to it.
type subscriber struct {
	channel relay.Channel
	rec     *check.Subscriber
	at      atomic.Pointer[relay.Position] // of the last message, or where it stands
	failed  atomic.Pointer[error]
	last    atomic.Pointer[string] // what came last besides messages
}

func (l *load) read(ctx context.Context, c *client.Client, r *check.Recorder, ch relay.Channel, o client.SubscribeOptions) {
	s := &subscriber{channel: ch, rec: r.Subscribe(relay.SubscribeRequest{Channel: ch, From: o.From, Barrier: o.Barrier})}
	l.subs = append(l.subs, s)
	l.readers.Go(func() {
		for e, err := range c.Subscribe(ctx, ch, o) {
			if err != nil {
				if ctx.Err() == nil && !errors.Is(err, client.ErrClosed) {
					s.rec.Frame(relay.Frame{Kind: relay.KindEnd, End: &relay.End{Code: codeOf(err)}}, nil)
					s.failed.Store(&err)
				}
				return
			}
			s.take(e)
		}
	})
}

func (s *subscriber) take(e client.Event) {
	if _, ok := e.(*client.Message); !ok {
		text := fmt.Sprintf("%T %+v", e, e)
		s.last.Store(&text)
	}
	switch e := e.(type) {
	case *client.Subscribed:
		s.rec.Frame(relay.Frame{Kind: relay.KindOK, At: e.At, Next: e.Head}, nil)
		s.at.Store(&e.At)
	case *client.Message:
		s.rec.Frame(relay.Frame{Kind: relay.KindMessage, At: e.Position}, e.Payload)
		s.at.Store(&e.Position)
	case *client.Gap:
		s.rec.Frame(relay.Frame{Kind: relay.KindGap, At: e.After, Next: e.Next, Reason: e.Reason}, nil)
	case *client.Status:
		s.rec.Frame(relay.Frame{Kind: relay.KindStatus, State: e.State}, nil)
	}
}

// probe asks again and again for a subscription with a barrier, for where it begins.
func (l *load) probe(ctx context.Context, c *client.Client, r *check.Recorder) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		ch := l.channels[i%len(l.channels)]
		within, cancel := context.WithTimeout(ctx, 5*time.Second)
		s := &subscriber{rec: r.Subscribe(relay.SubscribeRequest{Channel: ch, Barrier: true})}
		for e, err := range c.Subscribe(within, ch, client.SubscribeOptions{Barrier: true}) {
			if err != nil {
				break // not now
			}
			s.take(e)
			if _, ok := e.(*client.Message); ok {
				break
			}
		}
		cancel()
	}
}
