package relay_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/meridian-relay/meridian/relay"
)

func TestParseChannel(t *testing.T) {
	good := []string{
		"a:b", "chat:lobby", "a1-2:x", "chat:größe", "chat:a:b", "chat:a*b", "chat: ", "chat:\u202e", "chat:*",
		strings.Repeat("n", relay.MaxNamespace) + ":" + strings.Repeat("é", relay.MaxChannelName/2),
	}
	for _, s := range good {
		if ch, err := relay.ParseChannel(s); err != nil || string(ch) != s {
			t.Errorf("%q: %v", s, err)
		}
	}
	bad := []struct{ in, says string }{
		{"", "no namespace"},
		{"lobby", "no namespace"},
		{":lobby", "namespace is empty"},
		{"chat:", "name is empty"},
		{"Chat:x", `byte 0 of the namespace is 'C'`},
		{"1chat:x", `byte 0 of the namespace is '1'`},
		{"-chat:x", `byte 0 of the namespace is '-'`},
		{"ch_at:x", `byte 2 of the namespace is '_'`},
		{"chät:x", "byte 2 of the namespace"},
		{strings.Repeat("n", relay.MaxNamespace+1) + ":x", "33 bytes; at most 32"},
		{"chat:" + strings.Repeat("x", relay.MaxChannelName+1), "193 bytes; at most 192"},
		{"chat:\xff", "not UTF-8"},
		{"chat:\xed\xa0\x80", "not UTF-8"},
		{"chat:a\x00", "control character at byte 1"},
		{"chat:\n", "control character at byte 0"},
		{"chat:ab\x7f", "control character at byte 2"},
		{"chat:\u0085", "control character at byte 0"},
	}
	for _, c := range bad {
		_, err := relay.ParseChannel(c.in)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v; want an error that says %q", c.in, err, c.says)
		}
	}
	if _, err := relay.ParseChannel(strings.Repeat("\xff", 1<<20)); err == nil || len(err.Error()) > 1000 {
		t.Errorf("the error for 1 MiB of bytes is itself %d bytes", len(err.Error()))
	}
}

func TestParseNamespace(t *testing.T) {
	if ns, err := relay.ParseNamespace("chat-2"); err != nil || ns != "chat-2" {
		t.Error(ns, err)
	}
	for _, s := range []string{"", "A", "a:b", "a b", strings.Repeat("a", 33)} {
		if _, err := relay.ParseNamespace(s); err == nil {
			t.Errorf("%q passed", s)
		}
	}
}

func TestChannelParts(t *testing.T) {
	if ns := relay.Channel("chat:a:b").Namespace(); ns != "chat" {
		t.Errorf("namespace %q", ns)
	}
}

// TestSlots: slots never change, or channels lose their home. The values were computed
// apart, from the XXH64 specification.
func TestSlots(t *testing.T) {
	for _, c := range []struct {
		channel relay.Channel
		slot    relay.Slot
	}{
		{"demo:numbers", 1361}, {"chat:lobby", 2286}, {"chat:größe", 3906}, {"a:b", 534},
		{relay.Channel("n:" + strings.Repeat("x", 192)), 3132},
	} {
		if got := c.channel.Slot(); got != c.slot {
			t.Errorf("%s: slot %d, want %d", c.channel, got, c.slot)
		}
	}
	seen := map[relay.Slot]bool{}
	for i := range 100_000 {
		seen[relay.Channel(fmt.Sprintf("n:%d", i)).Slot()] = true
	}
	if len(seen) != relay.Slots {
		t.Errorf("100,000 channels use %d of %d slots", len(seen), relay.Slots)
	}
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern  relay.Pattern
		yes, no  []relay.Channel
		mustFail bool
	}{
		{pattern: "*", yes: []relay.Channel{"a:b", "chat:x"}},
		{pattern: "chat:*", yes: []relay.Channel{"chat:x", "chat:*"}, no: []relay.Channel{"chat2:x", "cha:t", "x:chat:"}},
		{pattern: "chat:room-*", yes: []relay.Channel{"chat:room-", "chat:room-1"}, no: []relay.Channel{"chat:room", "chat:Room-1"}},
		{pattern: "chat:lobby", yes: []relay.Channel{"chat:lobby"}, no: []relay.Channel{"chat:lobby2", "chat:lobb", "chat:Lobby"}},
		{pattern: "", mustFail: true},
		{pattern: "chat", mustFail: true},
		{pattern: "chat*", mustFail: true},
		{pattern: "chat:", mustFail: true},
		{pattern: "*:x", mustFail: true},
		{pattern: "chat:a*b", mustFail: true},
		{pattern: "chat:**", mustFail: true},
		{pattern: "Chat:*", mustFail: true},
		{pattern: "chat:\x00*", mustFail: true},
		{pattern: "chat:\xc3*", mustFail: true}, // cut within a rune
		{pattern: relay.Pattern("chat:" + strings.Repeat("x", 193) + "*"), mustFail: true},
	} {
		p, err := relay.ParsePattern(string(c.pattern))
		if (err != nil) != c.mustFail {
			t.Errorf("%q: %v", c.pattern, err)
			continue
		}
		for _, ch := range c.yes {
			if !p.Match(ch) {
				t.Errorf("%q does not match %q", p, ch)
			}
		}
		for _, ch := range c.no {
			if p.Match(ch) {
				t.Errorf("%q matches %q", p, ch)
			}
		}
	}
}

func TestPatternErrorsSayWhatToWrite(t *testing.T) {
	for s, says := range map[string]string{
		"chat*": "write namespace:prefix* or *", "chat": "write namespace:name", "a:*b": "* stands only at the end",
	} {
		if _, err := relay.ParsePattern(s); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v; want an error that says %q", s, err, says)
		}
	}
}

// FuzzParseChannel: what passes keeps its bounds, matches the patterns that it should, and no
// other namespace's.
func FuzzParseChannel(f *testing.F) {
	for _, s := range []string{"a:b", "chat:größe", "chat:\x00", ":", "::", "a:\xff", "a-:*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ch, err := relay.ParseChannel(s)
		if err != nil {
			return
		}
		ns, err := relay.ParseNamespace(string(ch.Namespace()))
		if err != nil || len(s) > relay.MaxNamespace+1+relay.MaxChannelName || ch.Slot() >= relay.Slots {
			t.Fatalf("%q: namespace %q, %v", s, ns, err)
		}
		if !relay.Pattern("*").Match(ch) || !relay.Pattern(string(ns)+":*").Match(ch) || relay.Pattern(string(ns)+"x:*").Match(ch) {
			t.Fatalf("%q: patterns", s)
		}
	})
}

// FuzzParsePattern: what passes either is one channel's name, or has a namespace and ends in *.
func FuzzParsePattern(f *testing.F) {
	for _, s := range []string{"*", "a:*", "a:b", "a:b*", "a*", "**", "a:b*c*", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := relay.ParsePattern(s)
		if err != nil || s == "*" {
			return
		}
		prefix, wild := strings.CutSuffix(s, "*")
		if wild {
			prefix += "z"
		}
		ch, err := relay.ParseChannel(prefix)
		if err != nil || !p.Match(ch) || strings.Contains(prefix, "*") {
			t.Fatalf("%q: %v", s, err)
		}
	})
}
