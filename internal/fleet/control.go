package fleet

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
)

// A control is how another process on this machine reaches a Local: an address on loopback, and
// a secret that only the file's owner can read.
type control struct {
	Address string `json:"address"`
	Secret  string `json:"secret"`
}

// Control lets Ask start and end processes, until ctx ends; file says how.
func (l *Local) Control(ctx context.Context, file string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	c := control{Address: listener.Addr().String(), Secret: rand.Text()}
	raw, err := json.Marshal(c)
	if err == nil {
		err = os.WriteFile(file, raw, 0o600)
	}
	if err != nil {
		listener.Close()
		return err
	}
	defer os.Remove(file)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{what}/{name}", func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte(c.Secret)) != 1 {
			http.Error(w, "the secret is another one", http.StatusForbidden)
			return
		}
		if err := l.do(r.PathValue("what"), r.PathValue("name")); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
		}
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (l *Local) do(what, name string) error {
	switch what {
	case "start":
		return l.Start(name)
	case "stop": // one that is frozen would not hear of it
		return errors.Join(l.Signal(name, syscall.SIGTERM), l.Signal(name, syscall.SIGCONT))
	case "kill":
		return l.Signal(name, syscall.SIGKILL)
	case "freeze":
		return l.Signal(name, syscall.SIGSTOP)
	case "thaw":
		return l.Signal(name, syscall.SIGCONT)
	}
	return fmt.Errorf("%q: what can be done is start, stop, kill, freeze and thaw", what)
}

// Ask has a running Local start, stop, kill, freeze or thaw a process.
func Ask(ctx context.Context, file, what, name string) error {
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("no fleet runs on this machine; start one with: meridian fleet")
	}
	var c control
	if err == nil {
		err = json.Unmarshal(raw, &c)
	}
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.Address+"/"+url.PathEscape(what)+"/"+url.PathEscape(name), nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", c.Secret)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("the fleet does not answer: %w; if it was killed, remove %s", err, file)
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 4096))
	if answer.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(text)))
	}
	return nil
}
