package stack

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

func TestStopsFromTheTop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		note := func(s string) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, s)
		}
		mk := func(name string) Part {
			return Part{name, func(ctx context.Context) error {
				<-ctx.Done()
				note(name)
				return ctx.Err()
			}}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- Run(ctx, func() { note("drain") }, mk("home"), mk("hub"), mk("edge")) }()
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if want := []string{"drain", "edge", "hub", "home"}; !slices.Equal(order, want) {
			t.Errorf("order %q, want %q", order, want)
		}
	})
}

func TestEndsWithItsParts(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"error":   {errors.New("broken"), "hub: broken"},
		"nothing": {nil, "hub: ended by itself"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wait := func(ctx context.Context) error { <-ctx.Done(); return nil }
				err := Run(t.Context(), func() { t.Error("drained") },
					Part{"home", wait}, Part{"hub", func(context.Context) error { return tc.err }}, Part{"edge", wait})
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error %v, want %q", err, tc.want)
				}
			})
		})
	}
}
