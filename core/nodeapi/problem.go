package nodeapi

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/meridian-relay/meridian/internal/web"
)

// A Problem is why a request was refused (RFC 9457).
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Code   string `json:"code"`
}

func (p *Problem) Error() string {
	if p.Detail != "" {
		return p.Detail
	}
	return fmt.Sprintf("status %d: %s", p.Status, p.Title)
}

// Unwrap returns the Node's error that it stands for.
func (p *Problem) Unwrap() error {
	for _, k := range kinds {
		if k.code == p.Code {
			return k.err
		}
	}
	return nil
}

// kinds are the errors that have a code.
var kinds = []struct {
	err    error
	status int
	code   string
}{
	{ErrNotFound, http.StatusNotFound, "not_found"},
	{ErrNotLeader, http.StatusConflict, "not_leader"},
	{ErrConflict, http.StatusConflict, "conflict"},
	{ErrUnavailable, http.StatusServiceUnavailable, "unavailable"},
}

const problemTypes = "https://github.com/meridian-relay/meridian/blob/main/docs/nodes.md#"

// fail answers with the problem that err is.
func fail(w http.ResponseWriter, err error) {
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			refuse(w, k.status, k.code, err.Error())
			return
		}
	}
	refuse(w, http.StatusInternalServerError, "internal", err.Error())
}

func refuse(w http.ResponseWriter, status int, code, detail string) {
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	web.Reply(w, status, web.TypeProblem, &Problem{
		Type: problemTypes + code, Title: http.StatusText(status), Status: status, Detail: detail, Code: code,
	})
}
