package js

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"
)

// Capabilities are what an example may do: patterns of channels to actions.
func Capabilities() map[string][]string {
	return map[string][]string{
		"demo:chat":    {"subscribe", "publish", "history"},
		"demo:cursors": {"subscribe", "publish"},
	}
}

// A Session is what a page connects with. The SDK's options have these names.
type Session struct {
	URL          string   `json:"url"`
	WebSocketURL string   `json:"webSocketURL,omitempty"` // where WebSocket needs no certificate; empty: at URL
	CertHashes   []string `json:"certHashes"`             // SHA-256, hexadecimal: the one in use, the next
	Subject      string   `json:"subject"`
	Token        string   `json:"token"`
}

// Config configures Pages. Session is needed.
type Config struct {
	// Session returns what a guest connects with. It may be called at the same time.
	Session func(subject string) (Session, error)
	// Connect are the origins that pages may connect to beside their own. None: none.
	Connect []string
}

// Pages serves the examples, the bundle, and sessions for guests, to browsers of this machine.
//
//	/                    what there is
//	/chat/, /cursors/    the examples
//	/meridian.min.js     the bundle; pages of other origins may have it too
//	/session.json        a Session; ?subject= goes on as the guest of an earlier one
type Pages struct {
	// Set at construction.
	cfg    Config
	policy string
	assets map[string]asset
}

var _ http.Handler = (*Pages)(nil)

// An asset is a file as it is served.
type asset struct {
	body []byte
	kind string // media type
	tag  string // entity tag
}

// kinds are the media types of assets by their file's extension. Others are not served.
var kinds = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

// The bundle in files, and its path.
const (
	bundleFile = "bundle/meridian.min.js"
	bundlePath = "/meridian.min.js"
)

// NewPages returns Pages.
func NewPages(c Config) (*Pages, error) {
	p := &Pages{cfg: c, assets: make(map[string]asset)}
	p.policy = strings.Join([]string{
		"default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'",
		strings.Join(append([]string{"connect-src 'self'"}, c.Connect...), " "),
		"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
	}, "; ")
	err := fs.WalkDir(files, "examples", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return p.add(strings.TrimSuffix(strings.TrimPrefix(name, "examples"), "index.html"), name)
	})
	if err != nil {
		return nil, err
	}
	return p, p.add(bundlePath, bundleFile)
}

func (p *Pages) add(at, name string) error {
	kind := kinds[path.Ext(name)]
	if kind == "" {
		return nil
	}
	body, err := files.ReadFile(name)
	if err != nil {
		return fmt.Errorf("page %s: %w", at, err)
	}
	sum := sha256.Sum256(body)
	p.assets[at] = asset{body, kind, `"` + hex.EncodeToString(sum[:8]) + `"`}
	return nil
}

// ServeHTTP implements http.Handler.
func (p *Pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", p.policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache")
	switch a, ok := p.assets[r.URL.Path]; {
	case !loopback(r.Host):
		// A name that someone let point here, to read as if it were theirs what is for this machine.
		http.Error(w, "these pages are for this machine: open them as http://127.0.0.1 or http://localhost", http.StatusForbidden)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
	case r.URL.Path == "/session.json":
		p.session(w, r)
	case ok:
		if r.URL.Path == bundlePath {
			h.Set("Cross-Origin-Resource-Policy", "cross-origin")
		}
		h.Set("Content-Type", a.kind)
		h.Set("ETag", a.tag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.body))
	case p.isPage(r.URL.Path + "/"):
		h.Set("Location", r.URL.Path+"/")
		w.WriteHeader(http.StatusPermanentRedirect)
	default:
		http.Error(w, "nothing is here; / lists what there is", http.StatusNotFound)
	}
}

func (p *Pages) isPage(at string) bool {
	_, ok := p.assets[at]
	return ok
}

// session answers with a Session, to this machine's own pages only: what other sites ask for, a
// browser marks.
func (p *Pages) session(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
	if site != "" && site != "same-origin" && site != "none" || origin != "" && !sameHost(origin, r.Host) {
		http.Error(w, "sessions are for the pages of this address", http.StatusForbidden)
		return
	}
	subject := r.URL.Query().Get("subject")
	if subject == "" {
		subject = guest + strings.ToLower(rand.Text()[:guestLength])
	}
	if !isGuest(subject) {
		http.Error(w, "the subject is no guest of an earlier answer; leave it out for a new one", http.StatusBadRequest)
		return
	}
	s, err := p.cfg.Session(subject)
	if err != nil {
		http.Error(w, "no session: "+err.Error(), http.StatusInternalServerError)
		return
	}
	s.Subject = subject
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s) // who went away needs no answer
}

// A guest's subject is this and random letters.
const (
	guest       = "guest-"
	guestLength = 12
)

func isGuest(subject string) bool {
	rest, ok := strings.CutPrefix(subject, guest)
	return ok && len(rest) == guestLength && strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

// loopback reports whether the host of a request names this machine by itself.
func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

func sameHost(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, host)
}
