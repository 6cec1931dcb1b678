package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/meridian-relay/meridian/relay"
)

// A drive is publishers on an Upstream, each with a producer and a channel of its own.
type drive struct {
	Publishers int
	First      int // number of the first one, of which its channel and its payloads come
	Unanswered int // publishes of each
	Size       int // of a payload, bytes
	For        time.Duration
	Cold       bool    // all counts; otherwise a tenth of For goes by before
	Rate       float64 // publishes a second of all; 0: as fast as they are answered
	Prefix     string  // of the channels; empty: bench:p
	Plain      bool    // without a producer
	Spread     int     // channels of each publisher, in turn; 0: 1
	Most       uint64  // publishes of each, all of them counted; 0: as many as there is time for
}

// A driven is what a drive measured.
type driven struct {
	Messages      uint64 // acknowledged
	Took          time.Duration
	P50, P99, Max time.Duration // from publish to acknowledgement
	Stall         time.Duration // the longest time in which nothing was acknowledged
	Busy          uint64        // publishes that were refused at once, and repeated
	Times         []byte        // from publish to acknowledgement, all of them: a histogram of µs, encoded
}

// share is what one of several processes has of a drive.
func (d drive) share(i, of int) *drive {
	first, all := d.Publishers*i/of, d.Publishers
	d.First += first
	d.Publishers = all*(i+1)/of - first
	d.Rate = d.Rate * float64(d.Publishers) / float64(all)
	return &d
}

// together is what processes measured that drove at the same time. Its stall is the longest of
// theirs: in that time nothing was acknowledged to the publishers of one.
func together(list []driven) (sum driven, err error) {
	hist := newTimes()
	for _, d := range list {
		h, err := hdrhistogram.Decode(d.Times)
		if err != nil {
			return sum, fmt.Errorf("times of a drive: %w", err)
		}
		hist.Merge(h)
		sum.Took, sum.Stall, sum.Busy = max(sum.Took, d.Took), max(sum.Stall, d.Stall), sum.Busy+d.Busy
	}
	return sum, sum.fill(hist)
}

// newTimes is for times from publish to acknowledgement, up to ten minutes.
func newTimes() *hdrhistogram.Histogram { return hdrhistogram.New(1, 600_000_000, 3) }

// fill takes what a histogram says.
func (d *driven) fill(h *hdrhistogram.Histogram) (err error) {
	us := func(v int64) time.Duration { return time.Duration(v) * time.Microsecond }
	d.Messages = uint64(h.TotalCount())
	d.P50, d.P99, d.Max = us(h.ValueAtQuantile(50)), us(h.ValueAtQuantile(99)), us(h.Max())
	d.Times, err = h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	return err
}

// errRefused: the home answered otherwise than a benchmark expects.
var errRefused = errors.New("a publish was refused")

// A driver is a drive that runs.
type driver struct {
	drive
	up    relay.Upstream
	from  time.Time // what began before is not counted
	until time.Time

	mu    sync.Mutex
	hist  *hdrhistogram.Histogram // µs
	last  time.Time               // of the last acknowledgement
	stall time.Duration
	busy  uint64
	err   error
}

// run drives an Upstream.
func (d drive) run(ctx context.Context, up relay.Upstream) (driven, error) {
	if d.Prefix == "" {
		d.Prefix = "bench:p"
	}
	d.Spread = max(d.Spread, 1)
	began := time.Now()
	r := &driver{drive: d, up: up, hist: newTimes(), last: began}
	r.from = began
	if !d.Cold {
		r.from = began.Add(d.For / 10)
	}
	r.until = r.from.Add(d.For)
	if d.Most > 0 {
		r.from, r.until = began, began.Add(time.Hour)
	}
	var wg sync.WaitGroup
	for i := range d.Publishers {
		wg.Go(func() { r.publisher(ctx, d.First+i) })
	}
	wg.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	done := driven{Took: d.For, Stall: r.stall, Busy: r.busy}
	if d.Most > 0 {
		done.Took = time.Since(began)
	}
	return done, errors.Join(done.fill(r.hist), r.err, ctx.Err())
}

// distinct is how many payloads a publisher has in turn: what stands in one block of a store is
// not to be made smaller by compression, which finds nothing else in them.
const distinct = 64

// publisher publishes until the time is over, or something fails, and waits for all answers.
func (r *driver) publisher(ctx context.Context, i int) {
	var bodies [distinct][]byte
	for k := range bodies {
		bodies[k] = publishBody(r.Size, i*distinct+k)
	}
	var producer relay.Producer
	binary.BigEndian.PutUint64(producer[:], rand.Uint64())
	binary.BigEndian.PutUint64(producer[8:], rand.Uint64())
	room := make(chan struct{}, r.Unanswered)
	// What was held up is made up for: a rate is one of the whole run.
	var every time.Duration
	if r.Rate > 0 {
		every = time.Duration(float64(time.Second) * float64(r.Publishers) / r.Rate)
	}
	next := time.Now().Add(every * time.Duration(i%r.Publishers) / time.Duration(r.Publishers))
	spread := uint64(r.Spread)
	for n := uint64(0); r.goesOn(ctx, n); n++ {
		if every > 0 {
			next = next.Add(every)
			time.Sleep(time.Until(next))
		}
		p := relay.Publication{
			Channel: relay.Channel(fmt.Sprintf("%s%d", r.Prefix, uint64(i)*spread+n%spread)),
			Subject: "bench", Producer: producer, N: 1 + n/spread, Body: bodies[n/spread%distinct],
		}
		if r.Plain {
			p.Producer, p.N = relay.Producer{}, 0
		}
		room <- struct{}{}
		for began := time.Now(); ; time.Sleep(time.Millisecond) {
			err := r.up.Publish(p, func(_ relay.Position, end relay.End) {
				r.answered(began, end)
				<-room
			})
			if err == nil {
				break
			}
			r.mu.Lock()
			r.busy++
			r.mu.Unlock()
			if ctx.Err() != nil {
				<-room
				break
			}
		}
	}
	for range cap(room) {
		room <- struct{}{}
	}
}

func (r *driver) goesOn(ctx context.Context, n uint64) bool {
	if ctx.Err() != nil || r.Most > 0 && n >= r.Most || !time.Now().Before(r.until) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err == nil
}

func (r *driver) answered(began time.Time, end relay.End) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if end.Code != relay.Done {
		if r.err == nil {
			r.err = fmt.Errorf("%w: %w", errRefused, end.Err())
		}
		return
	}
	if now.After(r.from) && !now.After(r.until) {
		_ = r.hist.RecordValue(min(now.Sub(began).Microseconds(), r.hist.HighestTrackableValue()))
		if r.last.After(r.from) {
			r.stall = max(r.stall, now.Sub(r.last))
		}
	}
	r.last = now
}

// publishBody is the body of a message with a payload of so many random bytes.
func publishBody(size, seed int) []byte {
	payload := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)}).Read(payload)
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), payload)
}
