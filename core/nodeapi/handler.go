package nodeapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/web"
	"github.com/meridian-relay/meridian/relay"
)

const (
	pageDefault = 100
	pageMost    = 1000
	bodyMost    = 4 << 10
)

// A page is a list's answer.
type page[T any] struct {
	Node shard.Node `json:"node"`
	List []T        `json:"list"`
	Next string     `json:"next,omitempty"` // the after of the next page; empty: that is all
}

// NewHandler serves a node's routes under /v1/; name is the node's.
func NewHandler(name shard.Node, node Node) http.Handler {
	a := &api{name, node}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/shards", a.shards)
	mux.HandleFunc("GET /v1/shards/{shard}", a.shard)
	mux.HandleFunc("POST /v1/shards/{shard}/transfer", a.transfer)
	mux.HandleFunc("GET /v1/channels", a.channels)
	mux.HandleFunc("GET /v1/channels/{channel}", a.channel)
	mux.HandleFunc("POST /v1/nodes/{node}/replace", a.replace)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, "no_route", fmt.Sprintf("no route %s %s; docs/nodes.md lists them", r.Method, r.URL.Path))
	})
	return guard(mux)
}

type api struct {
	name shard.Node
	node Node
}

// guard refuses what a page in a browser on this machine could send: under a name that was made
// to resolve to loopback, and changes that are not JSON, which need no preflight. Changes come
// over loopback only: there is nobody's token to look at.
func guard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		foreign := web.CheckHost(r)
		kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		switch {
		case foreign != nil:
			refuse(w, http.StatusForbidden, "forbidden", foreign.Error())
		case r.Method == http.MethodGet:
			h.ServeHTTP(w, r)
		case !web.OnLoopback(r):
			refuse(w, http.StatusForbidden, "forbidden", "changes are taken on loopback only; ask on the node's own machine")
		case kind != "application/json":
			refuse(w, http.StatusUnsupportedMediaType, "bad_request", fmt.Sprintf("content type %q: send application/json", kind))
		default:
			h.ServeHTTP(w, r)
		}
	})
}

func (a *api) shards(w http.ResponseWriter, r *http.Request) {
	q, limit, ok := query(w, r, "after")
	if !ok {
		return
	}
	var after shard.ID
	if s := q.Get("after"); s != "" {
		var err error
		if after, err = shard.ParseID(s); err != nil {
			bad(w, err)
			return
		}
	}
	list, err := a.node.Shards(after, limit+1)
	answerPage(w, a.name, list, err, limit, func(s Shard) string { return s.Shard })
}

func (a *api) channels(w http.ResponseWriter, r *http.Request) {
	q, limit, ok := query(w, r, "after", "prefix")
	if !ok {
		return
	}
	list, err := a.node.Channels(q.Get("prefix"), relay.Channel(q.Get("after")), limit+1)
	answerPage(w, a.name, list, err, limit, func(c Channel) string { return string(c.Channel) })
}

// answerPage answers with a list that has one more than the page if there is another page.
func answerPage[T any](w http.ResponseWriter, node shard.Node, list []T, err error, limit int, name func(T) string) {
	if err != nil {
		fail(w, err)
		return
	}
	p := page[T]{Node: node, List: list}
	if len(list) > limit {
		p.List = list[:limit]
		p.Next = name(p.List[limit-1])
	}
	if p.List == nil {
		p.List = []T{}
	}
	web.Reply(w, http.StatusOK, web.TypeJSON, p)
}

func (a *api) shard(w http.ResponseWriter, r *http.Request) {
	id, ok := shardOf(w, r)
	if !ok {
		return
	}
	s, err := a.node.Shard(id)
	answer(w, s, err)
}

func (a *api) channel(w http.ResponseWriter, r *http.Request) {
	name, err := relay.ParseChannel(r.PathValue("channel"))
	if err != nil {
		bad(w, err)
		return
	}
	c, err := a.node.Channel(name)
	answer(w, c, err)
}

func (a *api) transfer(w http.ResponseWriter, r *http.Request) {
	id, ok := shardOf(w, r)
	if !ok {
		return
	}
	var body struct {
		To shard.Node `json:"to"`
	}
	if !read(w, r, &body) {
		return
	}
	if body.To == "" {
		bad(w, errors.New(`which node? write {"to": "node-2"}`))
		return
	}
	if err := a.node.Transfer(r.Context(), id, body.To); err != nil {
		fail(w, err)
		return
	}
	s, err := a.node.Shard(id)
	answer(w, s, err)
}

func (a *api) replace(w http.ResponseWriter, r *http.Request) {
	if !read(w, r, &struct{}{}) {
		return
	}
	list, err := a.node.Replace(shard.Node(r.PathValue("node")))
	answerPage(w, a.name, list, err, len(list), nil)
}

func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		fail(w, err)
		return
	}
	web.Reply(w, http.StatusOK, web.TypeJSON, v)
}

func bad(w http.ResponseWriter, err error) {
	refuse(w, http.StatusBadRequest, "bad_request", err.Error())
}

func shardOf(w http.ResponseWriter, r *http.Request) (shard.ID, bool) {
	id, err := shard.ParseID(r.PathValue("shard"))
	if err != nil {
		bad(w, err)
	}
	return id, err == nil
}

// query reads the parameters of a list, of which it must know every one.
func query(w http.ResponseWriter, r *http.Request, known ...string) (url.Values, int, bool) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		bad(w, fmt.Errorf("query: %w", err))
		return nil, 0, false
	}
	limit := pageDefault
	for name, values := range q {
		switch {
		case len(values) > 1:
			err = fmt.Errorf("parameter %q is given %d times; give it once", name, len(values))
		case name == "limit":
			limit, err = strconv.Atoi(values[0])
			if err != nil || limit < 1 || limit > pageMost {
				err = fmt.Errorf("limit %q: write a whole number from 1 to %d", values[0], pageMost)
			}
		default:
			found := false
			for _, k := range known {
				found = found || k == name
			}
			if !found {
				err = fmt.Errorf("parameter %q is not known; there are limit, %s", name, strings.Join(known, ", "))
			}
		}
		if err != nil {
			bad(w, err)
			return nil, 0, false
		}
	}
	return q, limit, true
}

// read reads a request's body into v, of which it must know every field.
func read(w http.ResponseWriter, r *http.Request, v any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyMost))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		bad(w, fmt.Errorf("body: %w; write a JSON object", err))
		return false
	}
	if _, err := d.Token(); err != io.EOF {
		bad(w, errors.New("body: more than one JSON value; write one object"))
		return false
	}
	return true
}
