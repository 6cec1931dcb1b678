package peer

import (
	"bytes"
	"cmp"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/pki"
)

// A book is a log to look into.
type book struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *book) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

// Whoever is not the node it should be gets nowhere: both sides name the reason, in words and in
// numbers that a person can act on, and there is no storm of attempts.
func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		b         setup  // who dials a; a dials nobody
		says      string // what both logs have
		other     string // what the log of a has; "": the same
		unnoticed bool   // by a: b refuses
	}{
		"another fleet": {b: setup{fleet: "other"}, says: "other", unnoticed: true},
		"a fleet of another name, with our certificates": {
			b: setup{edit: func(c *Config) { c.Fleet = "other" }}, says: "spiffe://test/node/a", unnoticed: true},
		"a certificate of another node": {b: setup{subject: "c"}, says: "spiffe://test/node/c"},
		"an edge's certificate":         {b: setup{role: pki.Edge}, says: "spiffe://test/edge/b"},
		"a store that is not expected": {
			b: setup{edit: func(c *Config) { c.Store = storeOf("old") }}, says: "membership has store 62000000"},
		"a store that the dialler does not expect": {
			b: setup{edit: func(c *Config) {
				c.Expect = func(shard.Node, shard.StoreID) error { return errors.New("its disk is another one") }
			}}, says: "its disk is another one", unnoticed: true},
		"an authority that is not ours": {
			b: setup{edit: func(c *Config) {
				stranger, err := pki.NewAuthority("test", time.Now())
				if err != nil {
					t.Fatal(err)
				}
				c.TLS.RootCAs = stranger.Pool()
			}}, says: "unknown authority", other: "bad certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, s *stage) {
				var la, lb book
				a := s.play("a", setup{edit: func(c *Config) {
					c.Log = la.logger()
					c.Expect = func(n shard.Node, st shard.StoreID) error {
						if want := storeOf(n); st != want {
							return errors.New("membership has store " + want.String())
						}
						return nil
					}
				}})
				c.b.edit = withLog(c.b.edit, &lb)
				b := s.play("b", c.b)
				b.peers.Follow([]shard.Node{"a"})
				time.Sleep(time.Minute)
				if len(a.events) > 0 || len(b.events) > 0 || b.connected("a") {
					t.Error("they connected")
				}
				if !strings.Contains(lb.String(), c.says) {
					t.Errorf("the dialler's log lacks %q:\n%s", c.says, lb.String())
				}
				if other := cmp.Or(c.other, c.says); !c.unnoticed && !strings.Contains(la.String(), other) {
					t.Errorf("the other's log lacks %q:\n%s", other, la.String())
				}
				if n := b.peers.Stats().Dials; n < 20 || n > 80 {
					t.Errorf("%d attempts in a minute", n)
				}
				if n := strings.Count(la.String()+lb.String(), "\n"); n > 20 {
					t.Errorf("%d lines of log in a minute:\n%s", n, lb.String())
				}
			})
		})
	}
}

func withLog(edit func(*Config), b *book) func(*Config) {
	return func(c *Config) {
		c.Log = b.logger()
		if edit != nil {
			edit(c)
		}
	}
}

// A node that is reached at another's address is not taken for it.
func TestAnotherNodeReached(t *testing.T) {
	simulate(t, func(t *testing.T, s *stage) {
		s.play("a", setup{})
		s.mu.Lock()
		s.addresses["c"] = s.addresses["a"]
		s.mu.Unlock()
		var l book
		b := s.play("b", setup{edit: withLog(nil, &l)})
		b.peers.Follow([]shard.Node{"c"})
		time.Sleep(5 * time.Second)
		if len(b.events) > 0 {
			t.Error("they connected")
		}
		if want := "spiffe://test/node/a"; !strings.Contains(l.String(), want) {
			t.Errorf("log lacks %q:\n%s", want, l.String())
		}
	})
}

// judge is what a node says of a Hello.
func TestJudge(t *testing.T) {
	c, err := Config{
		Node: "a", Fleet: "test", Addresses: func(shard.Node) string { return "" },
		Receive: func(shard.Node, []shard.Message) {},
		TLS:     newStage(t).tls("test", pki.Node, "a"),
	}.complete()
	if err != nil {
		t.Fatal(err)
	}
	c.Plan = func() string { return "own" }
	names := []string{"spiffe://test/node/b"}
	good := hello{low: 1, high: 9, fleet: "test", node: "b", dialled: "a"}
	if err := c.judge(&good, names); err != nil {
		t.Errorf("refused: %v", err)
	}
	for want, edit := range map[error]func(h *hello){
		ErrFleet:   func(h *hello) { h.fleet = "other" },
		ErrVersion: func(h *hello) { h.low = highest + 1 },
		ErrName:    func(h *hello) { h.dialled = "c" },
		ErrPlan:    func(h *hello) { h.plan = "other" },
	} {
		h := good
		edit(&h)
		if err := c.judge(&h, names); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	for _, h := range []hello{
		{low: 1, high: 1, fleet: "test", node: "c", dialled: "a"},
		{low: 1, high: 1, fleet: "test", node: "a", dialled: "a"},
	} {
		if err := c.judge(&h, []string{"spiffe://test/node/b"}); !errors.Is(err, ErrName) {
			t.Errorf("node %q: %v, want %v", h.node, err, ErrName)
		}
	}
}

// Versions and incarnations reach the other side with the handshake.
func TestHandshakeTells(t *testing.T) {
	simulate(t, func(t *testing.T, s *stage) {
		shown := make(chan []Incarnation, 8)
		a := s.play("a", setup{edit: func(c *Config) {
			c.Shown = func(from shard.Node, list []Incarnation) {
				if from != "b" {
					t.Errorf("shown by %q", from)
				}
				shown <- list
			}
		}})
		b := s.play("b", setup{edit: func(c *Config) {
			c.Version = 12
			c.Incarnations = func() []Incarnation { return []Incarnation{{5, 3}, {1 << 40, 9}} }
		}})
		a.peers.Follow([]shard.Node{"b"})
		b.peers.Follow([]shard.Node{"a"})
		for range 2 { // as dialler, and as who is dialled
			list := receive(t, shown, "incarnations")
			if len(list) != 2 || list[0] != (Incarnation{5, 3}) || list[1] != (Incarnation{1 << 40, 9}) {
				t.Errorf("incarnations %v", list)
			}
		}
		until(t, "the version is known", func() bool { return a.peers.Version("b") == 12 })
	})
}
