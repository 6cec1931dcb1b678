package token

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/meridian-relay/meridian/relay"
)

// Config configures a Verifier.
type Config struct {
	Issuers []Issuer
	// Skew is how far clocks may differ. 0: 30 s; negative: not at all.
	Skew time.Duration
	// Refresh is how often key sets are loaded anew. 0: 5 min.
	Refresh time.Duration
	// CacheBytes bounds the tokens whose verification is remembered. 0: 4 MiB; negative: none.
	CacheBytes int
	// Transport fetches key sets. nil: http.DefaultTransport.
	Transport http.RoundTripper
	// Now is the clock. nil: time.Now.
	Now func() time.Time
	// Log. nil: none.
	Log *slog.Logger
}

const (
	// unknownKeyEvery is how often tokens with an unknown key may cause a load.
	unknownKeyEvery = 10 * time.Second
	// waitForKeys is how long one verification waits for such a load. It is shorter than what
	// an edge gives a client for its Hello.
	waitForKeys = 2 * time.Second
)

// A Verifier turns tokens into grants. Safe for concurrent use.
type Verifier struct {
	// Set at construction.
	issuers map[string]*issuer
	order   []*issuer
	skew    time.Duration
	every   time.Duration
	now     func() time.Time
	parser  *jwt.Parser
	cache   *cache
}

// New returns a Verifier. Keys in files are read at once, and must be there; keys at URLs come
// with Run.
func New(c Config) (*Verifier, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	v := &Verifier{
		issuers: make(map[string]*issuer),
		skew:    orDefault(c.Skew, 30*time.Second),
		every:   orDefault(c.Refresh, 5*time.Minute),
		now:     c.Now,
		cache:   newCache(orDefault(c.CacheBytes, 4<<20)),
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{algEdDSA, algES256, algRS256, algHS256}),
			jwt.WithoutClaimsValidation(), // the times and names are checked here
			jwt.WithStrictDecoding(),
		),
	}
	if v.now == nil {
		v.now = time.Now
	}
	if len(c.Issuers) == 0 {
		return nil, errors.New("no token issuer; name at least one with its audience and keys")
	}
	for _, configured := range c.Issuers {
		i, err := c.newIssuer(configured)
		if err != nil {
			return nil, err
		}
		if v.issuers[i.name] != nil {
			return nil, fmt.Errorf("token issuer %q is named twice", i.name)
		}
		i.changed = v.cache.clear
		v.issuers[i.name] = i
		v.order = append(v.order, i)
		if _, file := i.source.(fileSource); file {
			if err := i.refresh(context.Background(), v.now(), 0); err != nil {
				return nil, fmt.Errorf("token issuer %q: %w", i.name, err)
			}
		}
	}
	return v, nil
}

func orDefault[T time.Duration | int](v, zero T) T {
	switch {
	case v == 0:
		return zero
	case v < 0:
		return 0
	}
	return v
}

// Run keeps the keys fresh until ctx ends.
func (v *Verifier) Run(ctx context.Context) error {
	var group sync.WaitGroup
	for _, i := range v.order {
		if i.source != nil {
			group.Go(func() { v.keepFresh(ctx, i) })
		}
	}
	group.Wait()
	<-ctx.Done()
	return nil
}

func (v *Verifier) keepFresh(ctx context.Context, i *issuer) {
	const firstRetry = time.Second
	retry := firstRetry
	for {
		wait := v.every
		if err := i.refresh(ctx, v.now(), 0); err != nil {
			wait = min(retry, v.every)
			retry = min(2*retry, v.every)
		} else {
			retry = firstRetry
		}
		// Jitter, so that a fleet does not fetch in step.
		wait = wait/2 + rand.N(wait/2+1)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// Reload loads all keys anew; where that fails, those from before stay.
func (v *Verifier) Reload(ctx context.Context) error {
	var errs []error
	for _, i := range v.order {
		if i.source == nil {
			continue
		}
		if err := i.refresh(ctx, v.now(), 0); err != nil {
			errs = append(errs, fmt.Errorf("token issuer %q: %w", i.name, err))
		}
	}
	return errors.Join(errs...)
}

// Ready returns nil once every issuer's keys have been loaded, else an error that names the one
// whose keys are missing.
func (v *Verifier) Ready() error {
	for _, i := range v.order {
		if i.keys.Load() == nil {
			return fmt.Errorf("the keys of token issuer %q are not loaded yet", i.name)
		}
	}
	return nil
}

// Verify returns what a token grants. If the End's code is not Done, there is no grant: the code
// is Unauthorized, TokenExpired, or Unavailable while the keys are missing. It waits at most 2 s,
// when the token names a key that may be new. A grant lasts until its token's expiry and the skew.
func (v *Verifier) Verify(token string) (*relay.Grant, relay.End) {
	switch {
	case token == "":
		return nil, refuse(relay.Unauthorized, "no token; get one from the application")
	case len(token) > MaxToken:
		return nil, refuse(relay.Unauthorized, "the token has %d bytes; at most %d", len(token), MaxToken)
	}
	now := v.now()
	sum := sha256.Sum256([]byte(token))
	g, cleared := v.cache.get(sum)
	if g != nil && now.Before(g.Expires) {
		return g, relay.End{}
	}
	claims, end := v.verified(token)
	if end.Code != relay.Done {
		return nil, end
	}
	expires, code, err := claims.checkTimes(now, v.skew)
	if err != nil {
		return nil, refuse(code, "token: %w", err)
	}
	grant, err := claims.grant(expires)
	if err != nil {
		return nil, refuse(relay.Unauthorized, "token: %w", err)
	}
	v.cache.put(sum, grant, len(token), cleared)
	return grant, relay.End{}
}

// verified returns the claims of a token whose signature, issuer and audience are right.
func (v *Verifier) verified(token string) (*tokenClaims, relay.End) {
	var claims tokenClaims
	end := refuse(relay.Unauthorized, "the token is not a JSON Web Token of EdDSA, ES256, RS256 or HS256")
	_, err := v.parser.ParseWithClaims(token, &claims, func(t *jwt.Token) (any, error) {
		k, refusal := v.keyFor(t, &claims)
		if end = refusal; end.Code != relay.Done {
			return nil, end.Err()
		}
		end = refuse(relay.Unauthorized, "the token's signature is not right")
		return k.public, nil
	})
	if err != nil {
		return nil, end
	}
	i := v.issuers[claims.Issuer]
	if !slices.Contains(claims.Audience, i.audience) {
		return nil, refuse(relay.Unauthorized, "token: the claim aud is %s; this relay is %q",
			clip(strings.Join(claims.Audience, ", ")), i.audience)
	}
	return &claims, relay.End{}
}

// keyFor returns the key that must have signed t.
func (v *Verifier) keyFor(t *jwt.Token, claims *tokenClaims) (k key, end relay.End) {
	if _, critical := t.Header["crit"]; critical { // RFC 7515, section 4.1.11
		return k, refuse(relay.Unauthorized, "token: critical header parameters are not supported")
	}
	i := v.issuers[claims.Issuer]
	if i == nil {
		return k, refuse(relay.Unauthorized, "token: the issuer %s is not one of this relay's; check the claim iss", clip(claims.Issuer))
	}
	id, _ := t.Header["kid"].(string)
	alg := t.Method.Alg()
	k, ok := i.find(id, alg)
	if !ok {
		ctx, cancel := context.WithTimeout(context.Background(), waitForKeys)
		defer cancel()
		// Whether it failed shows in what is found.
		_ = i.refresh(ctx, v.now(), unknownKeyEvery)
		k, ok = i.find(id, alg)
	}
	switch {
	case !ok && i.keys.Load() == nil:
		end = refuse(relay.Unavailable, "the keys of the token's issuer are not loaded yet")
		end.RetryAfter = time.Second
		return k, end
	case !ok && id == "":
		return k, refuse(relay.Unauthorized, "token: no key id, and not exactly one %s key at its issuer; set kid", alg)
	case !ok:
		return k, refuse(relay.Unauthorized, "token: its issuer has no key with the id %s", clip(id))
	case k.alg != alg:
		return k, refuse(relay.Unauthorized, "token: signed as %s; its key is for %s", alg, k.alg)
	}
	return k, relay.End{}
}

func refuse(code relay.Code, format string, args ...any) relay.End {
	return relay.End{Code: code, Detail: fmt.Errorf(format, args...).Error()}
}

// clip quotes a part of a token for a message, shortened.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		s = s[:most] + "…"
	}
	return fmt.Sprintf("%q", s)
}
