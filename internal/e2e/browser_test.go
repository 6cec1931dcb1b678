package e2e

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/internal/fleet"
)

// browsers are the names of the browser that speaks WebTransport, the Debian package's first.
var browsers = []string{"chromium", "chromium-browser", "google-chrome-stable", "google-chrome"}

// A task is what the page is to do.
type task struct {
	URL      string   `json:"url"`
	Hash     string   `json:"hash"`
	Token    string   `json:"token"`
	Channel  string   `json:"channel"`
	Payloads []string `json:"payloads"`
}

// A seen is a message as the page got it.
type seen struct {
	Epoch, Seq uint64
	Payload    string
}

// A verdict is what the page reports.
type verdict struct {
	Error     string
	Got       []seen
	OwnGot    []seen
	Positions []int
	Agent     string
}

// TestBrowser has a real browser open a session with the hash of the certificate, subscribe on
// the stream of its requests and on one of its own, publish, and get its messages back on both.
func TestBrowser(t *testing.T) {
	browser := findBrowser(t)
	w, err := fleet.NewWorld(fleet.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	run(t, func(ctx context.Context) error { return w.Run(ctx) })
	t.Cleanup(cancel)
	token, err := w.Token("browser", time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	hash := w.CertHashes()[0]
	job := task{
		URL: w.URLs().Relay + "/v1/session", Hash: hex.EncodeToString(hash[:]), Token: token,
		Channel: "demo:browser",
	}
	for i := range 100 {
		job.Payloads = append(job.Payloads, fmt.Sprintf("message %d, with a snowman ☃", i))
	}
	v := visit(ctx, t, browser, job)
	if v.Error != "" {
		t.Fatalf("the page: %s", v.Error)
	}
	t.Logf("browser: %s", v.Agent)
	for name, got := range map[string][]seen{"first stream": v.Got, "own stream": v.OwnGot} {
		if len(got) != len(job.Payloads) {
			t.Fatalf("%s: %d messages, want %d", name, len(got), len(job.Payloads))
		}
		for i, m := range got {
			if m.Payload != job.Payloads[i] || m.Seq != uint64(i)+1 || m.Epoch == 0 {
				t.Errorf("%s: message %d is %+v, want seq %d with %q", name, i, m, i+1, job.Payloads[i])
			}
		}
	}
	slices.Sort(v.Positions)
	if len(v.Positions) != len(job.Payloads) || v.Positions[0] != 0 || len(slices.Compact(v.Positions)) != len(job.Payloads) {
		t.Errorf("publishes answered: %v, want each of %d once", v.Positions, len(job.Payloads))
	}
}

func findBrowser(t *testing.T) string {
	t.Helper()
	for _, name := range browsers {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("left out: no browser; `apt-get install chromium` (make test does where it may)")
	return ""
}

// visit opens the page in a headless browser and waits for what it reports.
func visit(ctx context.Context, t *testing.T, browser string, job task) verdict {
	t.Helper()
	verdicts := make(chan verdict, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, "testdata/browser.html")
	})
	mux.HandleFunc("GET /task", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(job)
	})
	mux.HandleFunc("POST /result", func(_ http.ResponseWriter, r *http.Request) {
		var v verdict
		if err := json.NewDecoder(r.Body).Decode(&v); err != nil {
			v.Error = err.Error()
		}
		select {
		case verdicts <- v:
		default:
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })

	args := []string{
		"--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--user-data-dir=" + t.TempDir(),
	}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox") // it refuses root otherwise
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, browser, append(args, "http://"+l.Addr().String()+"/")...)
	ownGroup(cmd)
	out := &tail{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() { cancel(); <-ended }()
	select {
	case v := <-verdicts:
		return v
	case err := <-ended:
		ended <- errors.New("seen")
		t.Fatalf("%s ended before the page reported: %v\n%s", browser, err, out)
	case <-ctx.Done():
		t.Fatalf("the page did not report: %v\n%s", context.Cause(ctx), out)
	}
	return verdict{}
}
