package token

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

// fetchWithin bounds one fetch of a key set.
const fetchWithin = 5 * time.Second

// A source loads an issuer's keys.
type source interface {
	load(ctx context.Context) ([]key, error)
}

var (
	_ source = fileSource("")
	_ source = (*urlSource)(nil)
)

type fileSource string

func (path fileSource) load(context.Context) ([]key, error) {
	f, err := os.Open(string(path))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxJWKS+1))
	if err != nil {
		return nil, err
	}
	keys, err := parseJWKS(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", string(path), err)
	}
	return keys, nil
}

type urlSource struct {
	url    string
	client *http.Client
}

func newURLSource(raw string, transport http.RoundTripper) (*urlSource, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, err
	}
	if err := checkURL(u); err != nil {
		return nil, err
	}
	return &urlSource{url: raw, client: &http.Client{
		Transport: transport,
		Timeout:   fetchWithin,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) >= 3 {
				return errors.New("more than 3 redirects")
			}
			return checkURL(r.URL)
		},
	}}, nil
}

// checkURL refuses what anyone on the way could change.
func checkURL(u *url.URL) error {
	if u.Scheme == "https" && u.Host != "" {
		return nil
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()) {
		return nil
	}
	return fmt.Errorf("key set URL %q: use https, or http on loopback", u.Redacted())
}

func (s *urlSource) load(ctx context.Context) ([]key, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := s.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: status %s", s.url, resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxJWKS+1))
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", s.url, err)
	}
	keys, err := parseJWKS(b)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", s.url, err)
	}
	return keys, nil
}
