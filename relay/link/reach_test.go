package link

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// places are addresses of a test: how long each takes, and what it says.
type places map[string]struct {
	after time.Duration
	err   error
}

// late is how long connecting takes where it cannot be given up.
const late = 260 * time.Millisecond

// connect opens a link to a place of the farm, unless it fails or stays silent.
func (p places) connect(f *farm) func(context.Context, string) (*Link, error) {
	return func(ctx context.Context, address string) (*Link, error) {
		at := p[address]
		if at.after == late {
			ctx = context.WithoutCancel(ctx)
		}
		select {
		case <-time.After(at.after):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if at.err != nil {
			return nil, at.err
		}
		return f.dial(ctx)
	}
}

func TestReach(t *testing.T) {
	const silent = time.Minute
	refused := errors.New("refused")
	for name, c := range map[string]struct {
		places places
		want   time.Duration // until there is a link; 0: none
		links  int           // that were opened
	}{
		"the first answers":           {places{"a": {50 * time.Millisecond, nil}, "b": {0, refused}}, 50 * time.Millisecond, 1},
		"the first refuses":           {places{"a": {20 * time.Millisecond, refused}, "b": {30 * time.Millisecond, nil}}, 50 * time.Millisecond, 1},
		"the first is silent":         {places{"a": {silent, nil}, "b": {10 * time.Millisecond, nil}}, 260 * time.Millisecond, 1},
		"two are silent":              {places{"a": {silent, nil}, "b": {silent, nil}, "c": {10 * time.Millisecond, nil}}, 510 * time.Millisecond, 1},
		"the first is slow":           {places{"a": {300 * time.Millisecond, nil}, "b": {silent, nil}}, 300 * time.Millisecond, 1},
		"a late one is closed":        {places{"a": {late, nil}, "b": {5 * time.Millisecond, nil}}, 255 * time.Millisecond, 2},
		"a silent and a refusing one": {places{"a": {silent, nil}, "b": {0, refused}}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &farm{home: newFakeHome()}
				addresses := []string{"a", "b", "c"}[:len(c.places)]
				began := time.Now()
				l, err := Reach(t.Context(), addresses, c.places.connect(f))
				took := time.Since(began)
				if c.want == 0 {
					if err == nil || !errors.Is(err, refused) || !strings.Contains(err.Error(), "a: ") || !strings.Contains(err.Error(), "no answer within 2s") {
						t.Errorf("error %v; want that b refused and a is silent", err)
					}
					if took != reachWithin {
						t.Errorf("gave up after %v", took)
					}
					return
				}
				if err != nil || took != c.want {
					t.Fatalf("after %v: %v; want a link after %v", took, err, c.want)
				}
				time.Sleep(silent)
				synctest.Wait()
				if l.Err() != nil {
					t.Errorf("the link that won was closed: %v", l.Err())
				}
				if len(f.clients) < c.links {
					t.Errorf("%d links were opened; want %d", len(f.clients), c.links)
				}
				l.Close(relay.Done, "")
				<-l.Done()
				for i, s := range f.clients {
					if s.Context().Err() == nil {
						t.Errorf("link %d was left open", i)
					}
				}
				synctest.Wait()
			})
		})
	}
}

func TestReachEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, errors.New("enough"))
		defer cancel()
		if _, err := Reach(ctx, []string{"a"}, places{"a": {time.Hour, nil}}.connect(nil)); err == nil || !strings.Contains(err.Error(), "enough") {
			t.Errorf("error %v", err)
		}
		if _, err := Reach(t.Context(), nil, nil); err == nil {
			t.Error("no addresses: no error")
		}
		synctest.Wait()
	})
}

// A way that is back is used again within about a second, however long it was gone.
func TestLinksComeBackSoon(t *testing.T) {
	for _, gone := range []time.Duration{100 * time.Millisecond, 2 * time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			f := &farm{home: newFakeHome()}
			l, stop := runLinks(t, f, 1)
			time.Sleep(time.Minute)
			f.down.Store(true)
			f.clients[0].Close(relay.Internal, "cut")
			time.Sleep(gone)
			f.down.Store(false)
			time.Sleep(time.Second)
			synctest.Wait()
			if l.pick("chat:a") == nil {
				t.Errorf("no link %v after a loss of %v", backoffTo, gone)
			}
			stop()
		})
	}
}
