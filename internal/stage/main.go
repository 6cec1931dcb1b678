// Command stage is a relay for end-to-end tests in other languages: a home, edges that are real
// processes, and a network between them and their clients that can be cut and slowed. It takes
// commands as JSON lines on standard input, each with an id, and answers each with one line of the
// same id, not always in order. When its input ends, everything that it started ends too.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "stage:", err)
		os.Exit(1)
	}
}

// An answer is what a command gets: exactly one of Error and OK.
type answer struct {
	ID    int    `json:"id"`
	Error string `json:"error,omitempty"`
	OK    any    `json:"ok,omitempty"`
}

// run carries out commands until in ends or ctx does.
func run(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	lines := make(chan []byte)
	go func() { // ends with the input; the process ends with it
		defer close(lines)
		for s := bufio.NewScanner(in); s.Scan(); {
			select {
			case lines <- append([]byte(nil), s.Bytes()...):
			case <-ctx.Done():
				return
			}
		}
	}()

	s := newStage(ctx)
	var mu sync.Mutex
	say := func(a answer) {
		mu.Lock()
		defer mu.Unlock()
		_ = json.NewEncoder(out).Encode(a) // who does not listen has closed the input too
	}
	var group sync.WaitGroup
	defer s.close()
	defer group.Wait()
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return nil
		case line, more := <-lines:
			if !more {
				return nil
			}
			var c command
			if err := json.Unmarshal(line, &c); err != nil {
				return fmt.Errorf("command %q: %w", line, err)
			}
			group.Go(func() {
				a := answer{ID: c.ID}
				ok, err := s.do(ctx, c)
				if err != nil {
					a.Error = err.Error()
				} else if a.OK = ok; ok == nil {
					a.OK = struct{}{}
				}
				say(a)
			})
		}
	}
}
