package hub

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// Run moves messages until ctx is done; then it ends every subscription with going_away, closes
// what it opened upstream and returns nil. Call it once.
func (h *Hub) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for range h.cfg.Workers {
		wg.Go(func() {
			w := &worker{h: h}
			for t := h.runq.pop(); t != nil; t = h.runq.pop() {
				h.runq.done(t, w.turn(t))
			}
		})
	}
	wg.Go(func() { h.alarms.run(ctx, &h.runq) })
	<-ctx.Done()
	h.runq.close()
	wg.Wait()
	h.stop()
	return nil
}

// stop ends every topic. Nothing else runs any more but subscribers' calls.
func (h *Hub) stop() {
	w := &worker{h: h}
	for i := range h.topics {
		sh := &h.topics[i]
		sh.mu.Lock()
		sh.stopped = true
		topics := make([]*topic, 0, len(sh.topics))
		for _, t := range sh.topics {
			topics = append(topics, t)
		}
		sh.mu.Unlock()
		for _, t := range topics {
			w.finish(t, relay.End{Code: relay.GoingAway, Detail: "this relay is shutting down; use another"})
			for w.wake(t) {
			}
		}
	}
	for t := h.runq.take(); t != nil; t = h.runq.take() {
		for w.wake(t) { // the refused, who are in no map
		}
	}
}

// A runq holds the topics that have something to do, each once, first come, first served.
type runq struct {
	mu         sync.Mutex
	ready      sync.Cond
	head, tail *topic
	closed     bool
}

const (
	idle uint8 = iota
	queued
	running
	rerun
)

// schedule makes t runnable. It may be called under any lock but runq's. It returns false when
// no worker is left.
func (q *runq) schedule(t *topic) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch t.state {
	case idle:
		q.push(t)
	case running:
		t.state = rerun
	}
	return !q.closed
}

func (q *runq) push(t *topic) {
	t.state = queued
	if q.tail != nil {
		q.tail.after = t
	} else {
		q.head = t
	}
	q.tail = t
	q.ready.Signal()
}

// pop waits for a topic; nil: the queue is closed.
func (q *runq) pop() *topic {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.head == nil && !q.closed {
		q.ready.Wait()
	}
	if q.closed {
		return nil
	}
	return q.shift()
}

// take is pop for after the end: it does not wait.
func (q *runq) take() *topic {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.head == nil {
		return nil
	}
	return q.shift()
}

func (q *runq) shift() *topic {
	t := q.head
	q.head, t.after = t.after, nil
	if q.head == nil {
		q.tail = nil
	}
	t.state = running
	return t
}

// done ends a turn of t.
func (q *runq) done(t *topic, again bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if again || t.state == rerun {
		q.push(t)
	} else {
		t.state = idle
	}
}

func (q *runq) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.ready.Broadcast()
}

// alarms make topics runnable at a time. A topic has one alarm at most.
type alarms struct {
	mu   sync.Mutex
	heap alarmHeap
	kick chan struct{}
}

// set replaces t's alarm; the zero time takes it away.
func (a *alarms) set(t *topic, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at.Equal(t.alarm) {
		return
	}
	switch {
	case t.alarm.IsZero():
		t.alarm = at
		heap.Push(&a.heap, t)
	case at.IsZero():
		heap.Remove(&a.heap, t.alarmAt)
		t.alarm = at
		return
	default:
		t.alarm = at
		heap.Fix(&a.heap, t.alarmAt)
	}
	if a.heap[0] == t {
		select {
		case a.kick <- struct{}{}:
		default:
		}
	}
}

func (a *alarms) run(ctx context.Context, q *runq) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		a.mu.Lock()
		wait := time.Hour
		for now := time.Now(); len(a.heap) > 0; {
			t := a.heap[0]
			if wait = t.alarm.Sub(now); wait > 0 {
				break
			}
			heap.Pop(&a.heap)
			t.alarm = time.Time{}
			q.schedule(t)
			wait = time.Hour
		}
		a.mu.Unlock()
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-a.kick:
		}
	}
}

type alarmHeap []*topic

func (h alarmHeap) Len() int           { return len(h) }
func (h alarmHeap) Less(i, j int) bool { return h[i].alarm.Before(h[j].alarm) }
func (h alarmHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].alarmAt, h[j].alarmAt = i, j
}
func (h *alarmHeap) Push(x any) {
	t := x.(*topic)
	t.alarmAt = len(*h)
	*h = append(*h, t)
}
func (h *alarmHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return t
}
