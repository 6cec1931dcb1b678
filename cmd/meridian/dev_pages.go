package main

import (
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	js "github.com/meridian-relay/meridian/client/js"
	"github.com/meridian-relay/meridian/internal/fleet"
)

// guestTokenLife is short: a page asks for a new token before one runs out.
const guestTokenLife = 15 * time.Minute

// devPages are the examples, whose guests come to world.
func devPages(world *fleet.World) (http.Handler, error) {
	urls := world.URLs()
	connect := []string{urls.Relay}
	if urls.HTTP != "" {
		connect = append(connect, urls.HTTP, "ws"+strings.TrimPrefix(urls.HTTP, "http"))
	}
	return js.NewPages(js.Config{
		Connect: connect,
		Session: func(subject string) (js.Session, error) {
			token, err := world.Token(subject, guestTokenLife, js.Capabilities())
			return js.Session{URL: urls.Relay, WebSocketURL: urls.HTTP, CertHashes: certHashes(world), Token: token}, err
		},
	})
}

// certHashes are those of world's certificate in use and of the next, in hexadecimal.
func certHashes(world *fleet.World) []string {
	hashes := world.CertHashes()
	return []string{hex.EncodeToString(hashes[0][:]), hex.EncodeToString(hashes[1][:])}
}
