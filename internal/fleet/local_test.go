package fleet

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain is also the program whose processes a Local runs: it says that it is there, again and
// again, until it is told to end.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != "serve" {
		os.Exit(m.Run())
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	fmt.Println("runs", strings.Join(os.Args[2:], " "))
	for {
		select {
		case <-end:
			if _, err := os.Stat("stuck"); err == nil {
				continue // the test says so
			}
			fmt.Println("drained")
			os.Exit(0)
		case <-time.After(10 * time.Millisecond):
			fmt.Println("beat")
		}
	}
}

// A transcript is what processes wrote.
type transcript struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

// count returns how many lines a process wrote that begin so.
func (s *transcript) count(name, line string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.b.String(), fmt.Sprintf("%-3s| %s", name, line))
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for late := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal("waited for: " + what)
		}
	}
}

// Processes of a fleet are started, stopped, killed, frozen and thawed from another process, and
// all end with it.
func TestLocalControl(t *testing.T) {
	var said transcript
	l, err := NewLocal(LocalConfig{Binary: os.Args[0], Dir: t.TempDir(), Nodes: 2, Edges: 1, Out: &said})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "fleet.json")
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		if err := l.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	group.Go(func() {
		if err := l.Control(ctx, file); err != nil {
			t.Error(err)
		}
	})
	defer func() { stop(); group.Wait() }()
	for _, name := range []string{"n1", "n2", "e1"} {
		eventually(t, name+" runs", func() bool { return said.count(name, "runs") == 1 })
	}
	eventually(t, "control", func() bool { _, err := os.Stat(file); return err == nil })
	ask := func(what, name string) {
		t.Helper()
		if err := Ask(t.Context(), file, what, name); err != nil {
			t.Fatalf("%s %s: %v", what, name, err)
		}
	}
	refused := func(what, name, why string) {
		t.Helper()
		if err := Ask(t.Context(), file, what, name); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s %s: %v; want %q", what, name, err, why)
		}
	}
	refused("start", "n1", "runs already")
	refused("kill", "n3", "there are n1, n2, e1")
	refused("paint", "n1", "what can be done is")

	ask("kill", "n1")
	eventually(t, "n1 to be gone", func() bool { return said.count("n1", "ended: signal: killed") == 1 })
	refused("freeze", "n1", "does not run")
	ask("start", "n1")
	eventually(t, "n1 to run again", func() bool { return said.count("n1", "runs") == 2 })

	ask("freeze", "n2")
	beats := -1
	eventually(t, "n2 to stand still", func() bool {
		before := said.count("n2", "beat")
		time.Sleep(300 * time.Millisecond)
		beats = said.count("n2", "beat")
		return beats == before
	})
	ask("thaw", "n2")
	eventually(t, "n2 to go on", func() bool { return said.count("n2", "beat") > beats })

	ask("freeze", "n2")
	ask("stop", "n2")
	eventually(t, "n2 to drain though it was frozen", func() bool { return said.count("n2", "drained") == 1 })

	ask("freeze", "e1")
	stop()
	group.Wait()
	if said.count("n1", "drained") != 1 || said.count("e1", "drained") != 1 {
		t.Errorf("not all ended in good order:\n%s", said.b.String())
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the file that says how to reach it is left")
	}
}

// A process that does not end is killed.
func TestLocalKillsWhatHangs(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("stuck", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var said transcript
	l, err := NewLocal(LocalConfig{Binary: os.Args[0], Dir: t.TempDir(), Nodes: 1, Out: &said, Grace: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	eventually(t, "n1 runs", func() bool { return said.count("n1", "runs") == 1 })
	stop()
	eventually(t, "an end", func() bool { return len(ended) == 1 })
}

// A beginning that was cut short begins once more, and a node that lost its disk joins.
func TestLocalBeginsAgain(t *testing.T) {
	l, err := NewLocal(LocalConfig{Binary: os.Args[0], Dir: t.TempDir(), Nodes: 2, Out: &transcript{}})
	if err != nil {
		t.Fatal(err)
	}
	n1, n2 := l.list[0], l.list[1]
	put := func(p *process, name, text string) {
		t.Helper()
		if err := os.MkdirAll(p.data, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(p.data, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := func(p *process, how string) {
		t.Helper()
		if got := strings.Join(l.how(p), " "); got != how {
			t.Errorf("%s starts with %q, want %q", p.name, got, how)
		}
	}
	want(n1, "--bootstrap")
	put(n1, "IDENTITY", "")
	put(n1, "NODE", `"begun": false`)
	want(n1, "--bootstrap")
	put(n1, "NODE", `"begun": true`)
	want(n2, "--join")
	put(n2, "IDENTITY", "")
	put(n2, "NODE", `"begun": false`)
	want(n2, "--bootstrap")
}
