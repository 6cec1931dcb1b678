package wan

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestLineKeepsOrderAndDueTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		l := newLine(1 << 10)
		start := time.Now()
		var got []byte
		var at []time.Duration
		go l.run(ctx, func(b item) bool {
			got = append(got, b.data...)
			at = append(at, time.Since(start))
			return true
		})
		l.add([]byte("a"), start.Add(100*time.Millisecond), false)
		l.add([]byte("b"), start.Add(10*time.Millisecond), false) // a shorter delay overtakes nothing
		l.add([]byte("c"), start.Add(150*time.Millisecond), false)
		time.Sleep(time.Second)
		synctest.Wait()
		if string(got) != "abc" {
			t.Fatalf("order %q, want abc", got)
		}
		want := []time.Duration{100 * time.Millisecond, 100 * time.Millisecond, 150 * time.Millisecond}
		for i := range want {
			if at[i] != want[i] {
				t.Errorf("item %d sent after %v, want %v", i, at[i], want[i])
			}
		}
		if !l.empty() {
			t.Error("not empty after everything was sent")
		}
	})
}

func TestLineRefusesPastItsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		l := newLine(10)
		due := time.Now().Add(time.Second)
		if !l.add(make([]byte, 8), due, false) {
			t.Fatal("8 of 10 bytes refused")
		}
		if l.add(make([]byte, 3), due, false) {
			t.Fatal("11 of 10 bytes taken")
		}
		sent := 0
		go l.run(ctx, func(b item) bool { sent += len(b.data); return true })
		if !l.addWait(ctx, make([]byte, 3), due) { // waits until the first has left
			t.Fatal("no room after the first left")
		}
		if waited := time.Until(due); waited > 0 {
			t.Errorf("room %v before anything was due", waited)
		}
		synctest.Wait()
		if sent != 11 {
			t.Errorf("sent %d bytes, want 11", sent)
		}
	})
}
