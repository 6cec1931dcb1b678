package edge

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/meridian-relay/meridian/internal/web"
	"github.com/meridian-relay/meridian/relay"
)

// The HTTP API, for back-ends:
//
//	POST /v1/channels/{channel}/messages              publish (api_publish.go)
//	GET  /v1/channels/{channel}/messages?from=&limit= history (api_history.go)
//
// {channel} is percent-encoded: "demo:a/b" is demo:a%2Fb. The token stands in the header
// Authorization: Bearer. Everything that fails is a problem document.
type api struct {
	edge   *Edge
	memory memory
}

// Bounds of the API.
const (
	apiMemory      = 256 << 20        // bytes that all requests hold together
	maxBody        = 8 << 20          // bytes of one request
	transferWithin = 30 * time.Second // for reading a request, and again for writing its answer
)

func newAPI(e *Edge) *api { return &api{edge: e, memory: memory{free: apiMemory}} }

// ServeHTTP serves everything but sessions.
func (e *Edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/v1" || strings.HasPrefix(r.URL.Path, "/v1/"):
		recorder := &recorder{ResponseWriter: w, status: http.StatusOK}
		route := e.api.serve(recorder, r)
		e.count.request(route, recorder.status)
	case e.cfg.Pages != nil:
		e.cfg.Pages.ServeHTTP(w, r)
	default:
		failStatus(w, http.StatusNotFound, relay.End{Code: relay.BadRequest, Detail: "nothing is here; the API is under /v1/"})
	}
}

// A recorder remembers a response's status.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// A call is an admitted request.
type call struct {
	api     *api
	w       http.ResponseWriter
	r       *http.Request
	channel relay.Channel
	grant   *relay.Grant
	subject *entry
	address *entry
	held    int // bytes of api.memory
}

// serve answers a request under /v1 and returns its route, for the metrics.
func (a *api) serve(w http.ResponseWriter, r *http.Request) (route string) {
	if !a.cors(w, r) {
		return "cors"
	}
	name, ok := channelOf(r.URL)
	if !ok {
		failStatus(w, http.StatusNotFound, relay.End{Code: relay.BadRequest,
			Detail: "no such resource; there is /v1/channels/{channel}/messages, with the channel percent-encoded, and /v1/session for sessions"})
		return "none"
	}
	handle, route := a.publish, "publish"
	switch r.Method {
	case http.MethodPost:
	case http.MethodGet, http.MethodHead:
		handle, route = a.history, "history"
	default:
		w.Header().Set("Allow", "GET, HEAD, OPTIONS, POST")
		failStatus(w, http.StatusMethodNotAllowed, relay.End{Code: relay.BadRequest,
			Detail: fmt.Sprintf("method %.16q; use POST to publish, GET for history", r.Method)})
		return "none"
	}
	channel, err := relay.ParseChannel(name)
	if err != nil {
		fail(w, relay.End{Code: relay.BadChannel, Detail: err.Error()})
		return route
	}
	grant, ok := a.authorize(w, r)
	if !ok {
		return route
	}
	c := &call{
		api: a, w: w, r: r, channel: channel, grant: grant,
		subject: a.edge.subjects.open(string(grant.Subject)),
		address: a.edge.addresses.open(remoteKey(r)),
	}
	defer func() {
		a.edge.subjects.release(c.subject)
		a.edge.addresses.release(c.address)
		a.memory.give(c.held)
	}()
	// A request that trickles, or a reader that has stopped, holds memory only so long. An
	// error: this HTTP version has its own bound.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(transferWithin))
	if end := handle(c); end.Code != relay.Done {
		fail(w, end)
	}
	return route
}

// finish is called before an answer is written.
func (c *call) finish() {
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Now().Add(transferWithin))
}

// channelOf returns the channel that a path names, decoded but not checked.
func channelOf(u *url.URL) (string, bool) {
	path, ok := strings.CutPrefix(u.EscapedPath(), "/v1/channels/")
	if !ok {
		return "", false
	}
	segment, ok := strings.CutSuffix(path, "/messages")
	if !ok || strings.Contains(segment, "/") {
		return "", false
	}
	name, err := url.PathUnescape(segment)
	return name, err == nil
}

// authorize verifies the request's token, or answers that it is not right.
func (a *api) authorize(w http.ResponseWriter, r *http.Request) (*relay.Grant, bool) {
	query := r.URL.Query()
	for _, name := range []string{"token", "access_token"} {
		if query.Has(name) {
			fail(w, relay.End{Code: relay.BadRequest, Detail: fmt.Sprintf(
				"a token in the query (%s=) ends up in logs: withdraw it, and send another in the header Authorization: Bearer", name)})
			return nil, false
		}
	}
	header := r.Header.Values("Authorization")
	if len(header) == 0 {
		w.Header().Set("WWW-Authenticate", `Bearer realm="meridian"`)
		web.Reply(w, http.StatusUnauthorized, web.TypeProblem, problem{
			Type: problemTypes + relay.Unauthorized.String(), Title: http.StatusText(http.StatusUnauthorized),
			Status: http.StatusUnauthorized, Detail: "no token; send it in the header Authorization: Bearer",
			failure: failureOf(relay.End{Code: relay.Unauthorized}),
		})
		return nil, false
	}
	scheme, token, _ := strings.Cut(header[0], " ")
	if len(header) > 1 || !strings.EqualFold(scheme, "Bearer") {
		fail(w, relay.End{Code: relay.Unauthorized, Detail: "the header Authorization must be one, of the form: Bearer TOKEN"})
		return nil, false
	}
	grant, end := a.edge.cfg.Tokens.Verify(strings.TrimSpace(token))
	if end.Code != relay.Done {
		a.edge.count.refusedHello(end.Code)
		fail(w, end)
		return nil, false
	}
	return grant, true
}

// allowed refuses what the token does not allow.
func (c *call) allowed(actions relay.Action) relay.End {
	for _, action := range []relay.Action{relay.ActPublish, relay.ActSubscribe, relay.ActHistory} {
		if actions&action != 0 && !c.grant.Allows(action, c.channel) {
			return relay.End{Code: relay.Forbidden, Detail: fmt.Sprintf(
				"the token has no capability to %s on %q", action, c.channel)}
		}
	}
	return relay.End{}
}

// cors lets pages of the allowed origins use the API, and answers those of others and
// preflights itself: then it reports false.
func (a *api) cors(w http.ResponseWriter, r *http.Request) bool {
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin != "" {
		if !a.edge.origins.allow(origin) {
			fail(w, relay.End{Code: relay.OriginRefused, Detail: fmt.Sprintf("the origin %.200q is not on this relay's list", origin)})
			return false
		}
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Expose-Headers", "Retry-After")
	}
	if r.Method != http.MethodOptions {
		return true
	}
	h.Set("Allow", "GET, HEAD, OPTIONS, POST")
	if origin != "" {
		h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST")
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key")
		h.Set("Access-Control-Max-Age", "600")
	}
	w.WriteHeader(http.StatusNoContent)
	return false
}

// remoteKey returns whom limits per address count a request to.
func remoteKey(r *http.Request) string {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return "unknown"
	}
	return addressKey(addr.Addr())
}

// onlyQuery refuses misspelt parameters, so that they are not passed over.
func (c *call) onlyQuery(known ...string) relay.End {
	for name := range c.r.URL.Query() {
		if !slices.Contains(known, name) {
			return relay.End{Code: relay.BadRequest, Detail: fmt.Sprintf(
				"query parameter %.64q is unknown; parameters: %s", name, strings.Join(known, ", "))}
		}
	}
	return relay.End{}
}
