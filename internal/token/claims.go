package token

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode"

	"github.com/golang-jwt/jwt/v5"

	"github.com/meridian-relay/meridian/relay"
)

// Bounds of a token.
const (
	MaxToken        = 16 << 10 // bytes
	MaxSubject      = 256      // bytes
	MaxCapabilities = 64
	maxActions      = 16 // of one capability
)

// tokenClaims is what a token says.
type tokenClaims struct {
	jwt.RegisteredClaims
	Cap map[string][]string `json:"cap"`
}

// grant checks what every issuer's tokens must have and returns the grant. Times are not its
// concern but for expires.
func (c *tokenClaims) grant(expires time.Time) (*relay.Grant, error) {
	switch {
	case c.Subject == "":
		return nil, errors.New("no subject; set the claim sub")
	case len(c.Subject) > MaxSubject:
		return nil, fmt.Errorf("the claim sub has %d bytes; at most %d", len(c.Subject), MaxSubject)
	case hasControl(c.Subject):
		return nil, errors.New("the claim sub has a control character")
	case len(c.Cap) > MaxCapabilities:
		return nil, fmt.Errorf("%d capabilities; at most %d, use patterns", len(c.Cap), MaxCapabilities)
	}
	g := &relay.Grant{Subject: relay.Subject(c.Subject), Expires: expires}
	for _, pattern := range slices.Sorted(maps.Keys(c.Cap)) {
		p, err := relay.ParsePattern(pattern)
		if err != nil {
			return nil, fmt.Errorf("the claim cap: %w", err)
		}
		names := c.Cap[pattern]
		if len(names) > maxActions {
			return nil, fmt.Errorf("the claim cap: pattern %q has %d actions; at most %d", p, len(names), maxActions)
		}
		var allowed relay.Action
		for _, name := range names {
			allowed |= relay.Actions[name]
		}
		g.Capabilities = append(g.Capabilities, relay.Capability{Pattern: p, Actions: allowed})
	}
	return g, nil
}

func hasControl(s string) bool { return slices.ContainsFunc([]rune(s), unicode.IsControl) }

// checkTimes holds a token's times against now. It returns when the token ceases to be valid,
// the skew included.
func (c *tokenClaims) checkTimes(now time.Time, skew time.Duration) (expires time.Time, code relay.Code, err error) {
	for _, t := range []struct {
		name string
		at   *jwt.NumericDate
	}{{"exp", c.ExpiresAt}, {"nbf", c.NotBefore}} {
		if t.at != nil && (t.at.Unix() < 0 || t.at.Year() > 9999) {
			return expires, relay.Unauthorized, fmt.Errorf("the claim %s is no time between 1970 and 9999", t.name)
		}
	}
	if c.ExpiresAt == nil {
		return expires, relay.Unauthorized, errors.New("no expiry; set the claim exp")
	}
	expires = c.ExpiresAt.Add(skew)
	if !now.Before(expires) {
		return expires, relay.TokenExpired, fmt.Errorf("expired at %s; get a new one", c.ExpiresAt.UTC().Format(time.RFC3339))
	}
	if c.NotBefore != nil && now.Before(c.NotBefore.Add(-skew)) {
		return expires, relay.Unauthorized, fmt.Errorf("not valid before %s; compare the clocks",
			c.NotBefore.UTC().Format(time.RFC3339))
	}
	return expires, relay.Done, nil
}
