package fleet

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

func TestStackStopsFromTheTop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		note := func(s string) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, s)
		}
		mk := func(name string) part {
			return part{name, func(ctx context.Context) error {
				<-ctx.Done()
				note(name)
				return ctx.Err()
			}}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- runStack(ctx, func() { note("drain") }, mk("home"), mk("hub"), mk("edge")) }()
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

func TestStackEndsWithItsParts(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"error":   {errors.New("broken"), "hub: broken"},
		"nothing": {nil, "hub ended by itself"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				wait := func(ctx context.Context) error { <-ctx.Done(); return nil }
				err := runStack(t.Context(), func() { t.Error("drained") },
					part{"home", wait}, part{"hub", func(context.Context) error { return tc.err }}, part{"edge", wait})
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error %v, want %q", err, tc.want)
				}
			})
		})
	}
}
