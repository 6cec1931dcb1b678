package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

const sourceTimeout = 10 * time.Second // of one call of Config.TokenSource

// tokens keeps the token in use.
type tokens struct {
	// Set at construction.
	static string
	source func(context.Context) (string, error)

	mu      sync.Mutex
	cached  string    // empty: fetch one
	renewAt time.Time // of cached; zero: never
	proven  bool      // the relay took cached before
	refused int       // in a row, of tokens fresh from the source
}

// get returns the token to present now.
func (t *tokens) get(ctx context.Context) (string, error) {
	if t.source == nil {
		return t.static, nil
	}
	t.mu.Lock()
	cached, renewAt := t.cached, t.renewAt
	t.mu.Unlock()
	if cached != "" && (renewAt.IsZero() || time.Now().Before(renewAt)) {
		return cached, nil
	}
	return t.fetch(ctx)
}

// fetch asks the source.
func (t *tokens) fetch(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, sourceTimeout, errors.New("no answer within 10 s"))
	defer cancel()
	token, err := t.source(ctx)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = fmt.Errorf("%w (%w)", err, cause)
		}
		return "", fmt.Errorf("token source: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cached, t.renewAt, t.proven = token, time.Time{}, false
	return token, nil
}

// accepted says that the relay took the token, for so long (0: for ever).
func (t *tokens) accepted(expiresIn time.Duration) (renewAt time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refused, t.proven = 0, true
	t.renewAt = time.Time{}
	if expiresIn > 0 {
		// A fifth of its life before the end, at most a minute.
		t.renewAt = time.Now().Add(expiresIn - min(expiresIn/5, time.Minute))
	}
	return t.renewAt
}

// reject says that the relay refused the token, and reports whether another may do better.
func (t *tokens) reject() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cached = ""
	if !t.proven {
		t.refused++
	}
	t.proven = false
	return t.source != nil && t.refused < 2
}

// expire says that a session ended because its token did. A newer one may have been fetched.
func (t *tokens) expire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.proven {
		t.cached, t.proven = "", false
	}
}

// subject reads whom a token speaks for, without verifying it: the relay does.
func subject(token string) (relay.Subject, error) {
	var claims struct {
		Sub string `json:"sub"`
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", errors.New("a message with an ID needs a token that is a JWT: the ID is bound to its subject")
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(b, &claims)
	}
	if err != nil || claims.Sub == "" {
		return "", errors.New("a message with an ID needs a token with a subject (sub): the ID is bound to it")
	}
	return relay.Subject(claims.Sub), nil
}
