package relay

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
)

// Bounds of names, in bytes.
const (
	MaxNamespace   = 32
	MaxChannelName = 192
)

// Slots is the number of slots of a namespace. It never changes.
const Slots = 4096

// A Channel is a named, ordered stream of messages: "namespace:name". The namespace matches
// [a-z][a-z0-9-]{0,31}; the name is 1 to 192 bytes of UTF-8 without control characters.
type Channel string

// A Namespace is channels under one policy.
type Namespace string

// A Region is where nodes run.
type Region string

// A Subject is whom a token speaks for.
type Subject string

// A Slot is a part of a namespace, the unit of ownership.
type Slot uint16

// ParseChannel checks s and returns it as a Channel. The error says which part is wrong and how
// to mend it.
func ParseChannel(s string) (Channel, error) {
	ns, name, ok := strings.Cut(s, ":")
	if !ok {
		return "", fmt.Errorf("channel %q: no namespace; write namespace:name", clip(s))
	}
	if err := checkNamespace(ns); err != nil {
		return "", fmt.Errorf("channel %q: %w", clip(s), err)
	}
	switch {
	case name == "":
		return "", fmt.Errorf("channel %q: the name is empty", clip(s))
	case len(name) > MaxChannelName:
		return "", fmt.Errorf("channel %q: the name has %d bytes; at most %d", clip(s), len(name), MaxChannelName)
	case !utf8.ValidString(name):
		return "", fmt.Errorf("channel %q: the name is not UTF-8", clip(s))
	}
	if i := strings.IndexFunc(name, unicode.IsControl); i >= 0 {
		return "", fmt.Errorf("channel %q: control character at byte %d of the name", clip(s), i)
	}
	return Channel(s), nil
}

// ParseNamespace checks s and returns it as a Namespace.
func ParseNamespace(s string) (Namespace, error) {
	if err := checkNamespace(s); err != nil {
		return "", fmt.Errorf("namespace %q: %w", clip(s), err)
	}
	return Namespace(s), nil
}

func checkNamespace(ns string) error {
	if ns == "" {
		return fmt.Errorf("the namespace is empty; write namespace:name")
	}
	if len(ns) > MaxNamespace {
		return fmt.Errorf("the namespace has %d bytes; at most %d", len(ns), MaxNamespace)
	}
	for i := range len(ns) {
		c := ns[i]
		switch {
		case c >= 'a' && c <= 'z':
		case i > 0 && (c >= '0' && c <= '9' || c == '-'):
		default:
			return fmt.Errorf("byte %d of the namespace is %q; allowed are a to z, and after the first 0 to 9 and -", i, c)
		}
	}
	return nil
}

// clip shortens hostile input for an error message.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

// Namespace returns the part before the colon.
func (c Channel) Namespace() Namespace {
	ns, _, _ := strings.Cut(string(c), ":")
	return Namespace(ns)
}

// Slot returns the channel's slot: xxhash64(channel) mod 4096.
func (c Channel) Slot() Slot { return Slot(xxhash.Sum64String(string(c)) % Slots) }

// A Pattern names channels: one exactly, or, ending in *, all with a prefix. The namespace is
// exact or, in the pattern "*", every one.
type Pattern string

// ParsePattern checks s and returns it as a Pattern.
func ParsePattern(s string) (Pattern, error) {
	if s == "*" {
		return Pattern(s), nil
	}
	prefix, wild := strings.CutSuffix(s, "*")
	if strings.Contains(prefix, "*") {
		return "", fmt.Errorf("pattern %q: * stands only at the end", clip(s))
	}
	if wild {
		if !strings.Contains(prefix, ":") {
			return "", fmt.Errorf("pattern %q: no namespace; write namespace:prefix* or *", clip(s))
		}
		prefix += "x" // any name will do
	}
	if _, err := ParseChannel(prefix); err != nil {
		return "", fmt.Errorf("pattern %q: %w", clip(s), err)
	}
	return Pattern(s), nil
}

// Match reports whether p names c.
func (p Pattern) Match(c Channel) bool {
	if prefix, wild := strings.CutSuffix(string(p), "*"); wild {
		return strings.HasPrefix(string(c), prefix)
	}
	return string(p) == string(c)
}
