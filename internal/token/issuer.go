package token

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"
)

// An Issuer is one whose tokens are accepted. Exactly one of JWKSFile, JWKSURL and Secret is
// set.
type Issuer struct {
	Name     string // the claim iss, exactly
	Audience string // must be among the claim aud
	JWKSFile string // path of a key set
	JWKSURL  string // URL of a key set: https, or http on loopback
	// Secret, of at least 32 bytes, verifies HS256: who can check tokens can make them. For
	// development.
	Secret []byte
}

// errTooSoon: the keys were loaded a short while ago.
var errTooSoon = errors.New("the keys were loaded a short while ago")

// issuer is an Issuer with its keys.
type issuer struct {
	// Set at construction.
	name     string
	audience string
	source   source // nil: a secret, which never changes
	changed  func() // called when the keys have changed
	log      *slog.Logger

	keys atomic.Pointer[[]key] // nil: never loaded

	mu      sync.Mutex
	tried   time.Time     // when the last load began
	loading chan struct{} // closed when the running load has ended; nil: none runs
	err     error         // of the last load
}

func (c *Config) newIssuer(i Issuer) (*issuer, error) {
	if i.Name == "" || i.Audience == "" {
		return nil, fmt.Errorf("token issuer %q, audience %q: set both", i.Name, i.Audience)
	}
	made := &issuer{name: i.Name, audience: i.Audience, log: c.Log}
	ways := 0
	if i.JWKSFile != "" {
		ways++
		made.source = fileSource(i.JWKSFile)
	}
	if i.JWKSURL != "" {
		ways++
		s, err := newURLSource(i.JWKSURL, c.Transport)
		if err != nil {
			return nil, fmt.Errorf("token issuer %q: %w", i.Name, err)
		}
		made.source = s
	}
	if i.Secret != nil {
		ways++
		if len(i.Secret) < minSecretBytes {
			return nil, fmt.Errorf("token issuer %q: the secret has %d bytes; at least %d", i.Name, len(i.Secret), minSecretBytes)
		}
		made.keys.Store(&[]key{{alg: algHS256, public: i.Secret}})
	}
	if ways != 1 {
		return nil, fmt.Errorf("token issuer %q: set one of key set file, key set URL and secret", i.Name)
	}
	return made, nil
}

// refresh loads the keys anew, unless a load began less than minAge ago: then it returns
// errTooSoon. Calls at the same time share one load. A failure leaves the keys as they are.
func (i *issuer) refresh(ctx context.Context, now time.Time, minAge time.Duration) error {
	if i.source == nil {
		return errTooSoon
	}
	i.mu.Lock()
	if running := i.loading; running != nil {
		i.mu.Unlock()
		select {
		case <-running:
		case <-ctx.Done():
			return ctx.Err()
		}
		i.mu.Lock()
		defer i.mu.Unlock()
		return i.err
	}
	if !i.tried.IsZero() && now.Sub(i.tried) < minAge {
		i.mu.Unlock()
		return errTooSoon
	}
	done := make(chan struct{})
	i.loading, i.tried = done, now
	i.mu.Unlock()

	keys, err := i.source.load(ctx)
	if err == nil {
		if old := i.keys.Swap(&keys); old == nil || !reflect.DeepEqual(*old, keys) {
			i.changed()
			i.log.Info("token keys loaded", "issuer", i.name, "keys", len(keys))
		}
	} else {
		i.log.Warn("token keys not loaded; those from before stay", "issuer", i.name, "error", err)
	}

	i.mu.Lock()
	defer i.mu.Unlock()
	i.loading, i.err = nil, err
	close(done)
	return err
}

// find returns the key for a token. A token without a key id is for the only key of its
// algorithm.
func (i *issuer) find(id, alg string) (k key, ok bool) {
	keys := i.keys.Load()
	if keys == nil {
		return k, false
	}
	n := 0
	for _, have := range *keys {
		if id == "" && have.alg == alg || id != "" && have.id == id {
			k = have
			n++
		}
	}
	return k, n == 1
}
