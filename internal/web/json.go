package web

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// Content types.
const (
	TypeJSON    = "application/json"
	TypeProblem = "application/problem+json" // RFC 9457
)

// Reply answers with v as JSON, and a line's end. v is made of what JSON has: else it is a 500
// without a word.
func Reply(w http.ResponseWriter, status int, contentType string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"status":500}`)
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(b)+1))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // who asked has gone: nobody to tell
}
